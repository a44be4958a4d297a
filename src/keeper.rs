//! The keeper: the pod of an environment's root. It watches the preview pods
//! and the target's pods, sees to it that each of the latter has an agent,
//! hands these their rules, and says how things stand.
//!
//! Observe, decide, act. It keeps no state of its own: what it needs is on the
//! objects, in its agents and in its own pod's environment, so that another
//! takes over where it was killed. It knows no configuration file.

mod canary;
mod decide;
mod hands;
mod link;
mod pace;
mod pods;
mod scribe;

use std::future;
use std::path::Path;
use std::time::Duration;

use anyhow::{Error, Result};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::cluster::{Change, Cluster};
use crate::logging::{self, Log, TERMINATION_LOG};
use crate::problem::{Explain as _, Problem, Report};
use crate::session::{ASSIGNMENT, Role, SESSION, Session};

use crate::contract::assignment::{Assignment, Pods};
use hands::Hands;

/// How often pauses are looked at: nothing is asked of the cluster.
const LOOKS_EVERY: Duration = Duration::from_secs(1);
/// How long an API server may take to know of rights: one that has just started
/// refuses everybody until it has read the roles.
const RIGHTS_SHOW_WITHIN: Duration = Duration::from_secs(30);

/// Keeps the environment that `assignment` describes, until told to end. Writes the
/// reason into the log, and where Kubernetes reads it.
///
/// It never returns `Ok`: a pod that succeeds would complete the Job, and the
/// environment with it.
pub async fn run(assignment: Option<String>) -> Result<()> {
    let assignment: Result<Assignment> = assignment
        .ok_or_else(|| Error::msg(format!("`{ASSIGNMENT}` is not set")))
        .and_then(|text| Ok(serde_json::from_str(&text)?))
        .explain(|| Problem::new("the keeper does not know what to keep"));
    let level = assignment.as_ref().ok().and_then(|assignment| assignment.agent.log_level.clone());
    let log = Log::start(level.as_deref());
    let result = match assignment {
        Ok(assignment) => keep(assignment, &log).await,
        Err(error) => Err(error),
    };
    if let Err(error) = &result {
        let why = Report::of(error).to_string();
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
        .ok_or_else(|| Problem::new(format!("there is no environment `{}` to keep", assignment.root)))?;
    let (labels, fields) = match &assignment.pods {
        Pods::Labelled(labels) => (format!("{labels},!{SESSION}"), None),
        Pods::Named(name) => (format!("!{SESSION}"), Some(format!("metadata.name={name}"))),
    };
    let previews = Role::preview_pods(&assignment.session);
    let namespace = assignment.namespace.clone();
    let mut targets = cluster.watch_pods(&namespace, Some(&labels), fields.as_deref())?;
    let previews = cluster.watch_pods(&namespace, Some(&previews), None)?;
    let mut previews = previews.filter(|change| future::ready(concerns_previews(change)));
    let mut ticks = interval(LOOKS_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let failed = root.as_ref().and_then(|root| root.status.as_ref()?.failed).unwrap_or(0);
    let mut hands = Hands::new(cluster, assignment, &session, link::lease(failed));
    let (mut targets_seen, mut previews_seen) = (Rights::default(), Rights::default());
    loop {
        tokio::select! {
            change = targets.next() => hands.observed.targets.apply(targets_seen.seen(change)?),
            change = previews.next() => hands.observed.previews.apply(previews_seen.seen(change)?),
            () = hands.hear() => {}
            _ = ticks.tick() => log.note_dropped(),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
        hands.act(Timestamp::now());
    }
    // Told to end: with the environment, or to be replaced by another keeper,
    // until which the rules' lease holds.
    if hands.is_over().await {
        hands.withdraw().await;
        return Err(Problem::new("the environment has ended, and its rules are withdrawn").into());
    }
    Err(Problem::new("told to leave; the rules stay in force for the keeper that follows").into())
}

/// The root, as soon as the API server lets the keeper see it.
async fn root(cluster: &Cluster, assignment: &Assignment) -> Result<Option<Job>> {
    let began = Instant::now();
    loop {
        match cluster.root(&assignment.namespace, &assignment.root).await {
            Err(_) if began.elapsed() < RIGHTS_SHOW_WITHIN => sleep(LOOKS_EVERY).await,
            result => return result,
        }
    }
}

/// Whether a change to the session's pods is one to its preview pods.
fn concerns_previews(change: &Change) -> bool {
    !matches!(change, Change::Pod(pod) if Role::of(&pod.metadata) != Some(Role::Preview))
}

/// Since when the API server has refused what the keeper has a right to.
#[derive(Default)]
struct Rights {
    refused_since: Option<Instant>,
}

// === impl Rights ===

impl Rights {
    /// What was seen; an error once the watch is refused for good.
    fn seen(&mut self, change: Option<Change>) -> Result<Change> {
        match change {
            Some(Change::Forbidden(error)) => {
                let since = *self.refused_since.get_or_insert_with(Instant::now);
                if since.elapsed() < RIGHTS_SHOW_WITHIN {
                    return Ok(Change::Lost(error.to_string()));
                }
                Err(error.into_problem("the keeper may not look at the pods").into())
            }
            // The watch goes on trying, and has not been let in yet.
            Some(change @ (Change::PodsAnew | Change::Lost(_))) => Ok(change),
            Some(change) => {
                self.refused_since = None;
                Ok(change)
            }
            None => Err(Error::msg("the watch has ended")),
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
            assert!(matches!(rights.seen(refusal()), Ok(Change::Lost(_))));
            tokio::time::advance(RIGHTS_SHOW_WITHIN / 2).await;
            // Listed: the next refusal is another one.
            assert!(rights.seen(Some(Change::PodsListed)).is_ok());
        }
        assert!(rights.seen(refusal()).is_ok());
        assert!(rights.seen(Some(Change::PodsAnew)).is_ok());
        tokio::time::advance(RIGHTS_SHOW_WITHIN).await;
        assert!(rights.seen(refusal()).is_err());
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
