//! The keeper: the pod of an environment's root. It watches the preview pods and
//! the target's pods, attaches an agent to each pod of the target, sends the
//! agents their rules, and writes a report.
//!
//! Observe, decide, act. The keeper stores no state of its own: objects, agents and
//! its own pod's environment hold all that it needs, so that another keeper can
//! take over at any time. It does not read the configuration file.

mod actor;
mod canary;
mod conversation;
mod decide;
mod link;
mod ownership;
mod pace;
mod pods;
mod proof;
mod report;
mod status_writer;

use std::future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Error, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use actor::Actor;

use crate::cluster::{Change, Cluster};
use crate::contract::assignment::{Assignment, Pods};
use crate::logging::{self, Log, TERMINATION_LOG};
use crate::problem::{ErrorReport, Explain as _, Problem};
use crate::session::{ASSIGNMENT, Role, SESSION, Session};

/// How often pauses are checked for their end. No request is made for that.
const TICK: Duration = Duration::from_secs(1);
/// How long an API server may take to learn of rights: one that has just started
/// refuses everybody until it has read the roles.
const RIGHTS_KNOWN_WITHIN: Duration = Duration::from_secs(30);

/// Keeps the environment that `assignment` describes, until told to end. Writes the
/// reason into the log, and where Kubernetes reads it.
///
/// It never returns `Ok`: a pod that exits 0 would complete the Job, and end the
/// environment.
pub async fn run(assignment: Option<String>) -> Result<()> {
    let assignment: Result<Assignment> = assignment
        .ok_or_else(|| Error::msg(format!("`{ASSIGNMENT}` is not set")))
        .and_then(|text| Ok(serde_json::from_str(&text)?))
        .explain(|| Problem::new("could not read the keeper's assignment"));
    let level = assignment.as_ref().ok().and_then(|assignment| assignment.agent.log_level.clone());
    let log = Log::start(level.as_deref());
    let result = match assignment {
        Ok(assignment) => keep(assignment, &log).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        let why = ErrorReport::of(error).to_string();
        tracing::error!(why, "ended");
        logging::write_termination_message(Path::new(TERMINATION_LOG), &why);
    }
    result
}

async fn keep(assignment: Assignment, log: &Log) -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let cluster = Cluster::in_cluster().await?;
    let root = root(&cluster, &assignment).await?;
    let session = root
        .as_ref()
        .and_then(Session::of)
        .ok_or_else(|| Problem::new(format!("there is no environment `{}`", assignment.root)))?;
    let (labels, fields) = match &assignment.pods {
        Pods::Labelled(labels) => (format!("{labels},!{SESSION}"), None),
        Pods::Named(name) => (format!("!{SESSION}"), Some(format!("metadata.name={name}"))),
    };
    let previews = Role::preview_pods(&assignment.session);
    let (namespace, owners) = (assignment.namespace.clone(), assignment.owners.clone());
    let mut targets = cluster.watch_pods(&namespace, Some(&labels), fields.as_deref())?;
    let previews = cluster.watch_pods(&namespace, Some(&previews), None)?;
    let mut previews = previews.filter(|change| future::ready(concerns_previews(change)));
    let mut ticks = interval(TICK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let failed = root.as_ref().and_then(|root| root.status.as_ref()?.failed).unwrap_or(0);
    let mut actor = Actor::new(cluster, assignment, &session, conversation::lease(failed));
    let (mut targets_rights, mut previews_rights) = (Rights::default(), Rights::default());
    loop {
        tokio::select! {
            change = targets.next() => {
                let change = ownership::of_target(targets_rights.checked(change)?, &owners);
                actor.observed.targets.apply(change);
            }
            change = previews.next() => actor.observed.previews.apply(previews_rights.checked(change)?),
            () = actor.receive() => {}
            _ = ticks.tick() => log.note_dropped(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        actor.act(Timestamp::now());
    }
    // Either the environment ends, or another keeper replaces this one within the
    // rules' lease.
    if actor.is_over().await {
        actor.withdraw().await;
        return Err(Problem::new("the environment has ended, and the rules are withdrawn").into());
    }
    Err(Problem::new("told to end; the rules stay in force for the next keeper").into())
}

/// The root, as soon as the API server knows of the keeper's right to read it.
async fn root(cluster: &Cluster, assignment: &Assignment) -> Result<Option<Job>> {
    let began = Instant::now();
    loop {
        match cluster.root(&assignment.namespace, &assignment.root).await {
            Err(_) if began.elapsed() < RIGHTS_KNOWN_WITHIN => sleep(TICK).await,
            result => return result,
        }
    }
}

/// Whether a change to the session's pods is one to its preview pods.
fn concerns_previews(change: &Change) -> bool {
    !matches!(change, Change::Pod(pod) if Role::of(&pod.metadata) != Some(Role::Preview))
}

/// Refusals of a watch.
#[derive(Default)]
struct Rights {
    refused_since: Option<Instant>,
}

// === impl Rights ===

impl Rights {
    /// The change; an error once the watch is refused for good.
    fn checked(&mut self, change: Option<Change>) -> Result<Change> {
        match change {
            Some(Change::Forbidden(error)) => {
                let since = *self.refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() < RIGHTS_KNOWN_WITHIN {
                    return Ok(Change::Lost(error.to_string()));
                }
                Err(error.into_problem("could not watch the pods").into())
            }
            // The watch is tried again, and has not been allowed yet.
            Some(change @ (Change::PodsAnew | Change::Lost(_))) => Ok(change),
            Some(change) => {
                self.refused_since = None;
                Ok(change)
            }
            None => Err(Error::msg("the watch of the pods has ended")),
        }
    }
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::cluster;
    use crate::session::ROLE;

    #[tokio::test(start_paused = true)]
    async fn rights_that_an_api_server_does_not_know_yet_are_waited_for() {
        let refusal = || {
            let words = "pods is forbidden".to_owned();
            Some(Change::Forbidden(Box::new(cluster::Error::Forbidden { words, right: None })))
        };
        let mut rights = Rights::default();
        for _ in 0..3 {
            assert!(matches!(rights.checked(refusal()), Ok(Change::Lost(_))));
            tokio::time::advance(RIGHTS_KNOWN_WITHIN / 2).await;
            // Listed: the next refusal is another one.
            assert!(rights.checked(Some(Change::PodsListed)).is_ok());
        }
        assert!(rights.checked(refusal()).is_ok());
        assert!(rights.checked(Some(Change::PodsAnew)).is_ok());
        tokio::time::advance(RIGHTS_KNOWN_WITHIN).await;
        assert!(rights.checked(refusal()).is_err());
    }

    #[test]
    fn only_preview_pods_are_previews_to_the_keeper() {
        let change = |role: Option<&str>| {
            let mut pod = Box::<Pod>::default();
            pod.metadata.labels = role.map(|role| [(ROLE.to_owned(), role.to_owned())].into());
            Change::Pod(pod)
        };
        for (role, concerns) in [
            (None, true),
            (Some("preview"), true),
            (Some("keeper"), false),
            (Some("branch"), false),
            (Some("splitter"), false),
            (Some("later"), false),
        ] {
            assert_eq!(concerns_previews(&change(role)), concerns, "{role:?}");
        }
        assert!(concerns_previews(&Change::PodsListed));
        assert!(concerns_previews(&Change::PodGone("preview".to_owned())));
    }
}
