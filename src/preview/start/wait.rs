//! Waits until an environment is ready, and shows what it waits for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Event;
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::cluster::{Change, Cluster, Deadline, SILENCE};
use crate::output::{Reporter, Step};
use crate::preview::features::{self, Failed, Readiness};
use crate::preview::plan::Request;
use crate::preview::progress::{Crash, Observed, is_being_created, is_pulling, last_warning};
use crate::problem::Problem;
use crate::session::Session;

/// How often time limits are checked. Changes in the cluster are seen at once.
const TICK: Duration = Duration::from_secs(1);
/// How often a warning names the reason of a long wait, in seconds.
const WARNING_SECONDS: u64 = 60;
/// How often the events are read to see whether an image is being pulled, in seconds.
const EVENTS_SECONDS: u64 = 2;

/// A ready environment.
pub(super) struct Ready {
    /// The names of its pods.
    pub(super) pods: Vec<String>,
    /// The instant of readiness, by the cluster's clock.
    pub(super) at: Timestamp,
    /// Notes of its features for the user.
    pub(super) notes: Vec<String>,
}

/// Waits until every condition of the environment is met.
///
/// # Errors
///
/// Where a condition fails or takes too long, somebody removes the
/// environment, or the cluster does not answer.
pub(super) async fn until_ready(
    cluster: &Cluster,
    request: &Request,
    root: &str,
    step: &Step,
    reporter: &Reporter,
) -> Result<Ready> {
    let namespace = &request.namespace;
    let mut changes = cluster.watch_session(namespace, request.identity.id.as_str())?;
    let mut observed = Observed::default();
    let mut ticks = interval(TICK);
    let mut elapsed = Elapsed::begin();
    let mut lost: Option<(Instant, String)> = None;
    let mut pulling = false;
    let mut waiting_for = None;
    // Not a multiple of the interval: a late tick must not skip a warning.
    let mut next_warning = WARNING_SECONDS;
    loop {
        let mut ticked = false;
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Lost(error)) => {
                    let since = lost.take().map_or_else(Instant::now, |(since, _)| since);
                    lost = Some((since, error));
                }
                Some(Change::Forbidden(error)) => {
                    return Err(error.into_problem("could not watch the preview become ready").into());
                }
                // These come before the API server has answered.
                Some(change @ (Change::RootAnew | Change::PodsAnew)) => observed.apply(change),
                Some(change) => {
                    lost = None;
                    observed.apply(change);
                }
                None => {}
            },
            _ = ticks.tick() => ticked = true,
        }
        if ticked {
            elapsed.tick(pulling, waiting_for);
            check_silence(cluster, request, root, &mut lost).await?;
        }
        if observed.is_gone() {
            return Err(Problem::new(format!(
                "`{root}` in namespace `{namespace}` was ended while it started"
            ))
            .hint("somebody stopped this key, or started it again")
            .into());
        }
        let now = cluster.clock(Timestamp::now());
        let (name, why, patience) = match features::readiness(&observed, request, now) {
            Readiness::Ready { since, notes } => {
                return Ok(Ready { pods: observed.ready_pods(), at: since, notes });
            }
            Readiness::Failed { why, failed } => {
                return Err(with_log(cluster, namespace, why, failed).await.into());
            }
            Readiness::Waiting { name, why, patience } => (name, why, patience),
        };
        waiting_for = Some(name);
        if ticked && elapsed.seconds.is_multiple_of(EVENTS_SECONDS) {
            pulling = observed.pods().any(is_being_created)
                && is_pulling(&events(cluster, namespace, observed.pod_names()).await);
            if pulling {
                prolong(cluster, request, root, elapsed.seconds).await;
            }
        }
        let why = if pulling { "the image is being pulled".to_owned() } else { why };
        step.update(&why);
        if ticked && elapsed.seconds >= next_warning {
            next_warning = elapsed.seconds + WARNING_SECONDS;
            reporter.warning(&format!("waiting for {} s: {why}", elapsed.seconds));
        }
        let is_over = match patience.limit {
            Some((limit, _)) => elapsed.waited_for(name) >= limit,
            None => elapsed.counted >= request.creation_timeout,
        };
        if is_over {
            let warning = last_warning(&events(cluster, namespace, patience.explained_by.clone()).await);
            return Err(patience.timed_out(request, why, warning).into());
        }
    }
}

/// Fails when the cluster has not answered for too long. A proxy may have closed an
/// idle watch, so the cluster is asked first.
async fn check_silence(
    cluster: &Cluster,
    request: &Request,
    root: &str,
    lost: &mut Option<(Instant, String)>,
) -> Result<()> {
    let Some((since, words)) = lost else { return Ok(()) };
    if since.elapsed() < SILENCE {
        return Ok(());
    }
    if cluster.root(&request.namespace, root).await.is_ok() {
        *lost = None;
        return Ok(());
    }
    Err(Problem::new(format!("the cluster has not answered for {} s", SILENCE.as_secs()))
        .because_of(words.clone())
        .hint(
            "the objects that were created end by themselves; check the cluster, then run the command again",
        )
        .into())
}

/// The time that has passed.
struct Elapsed {
    began: Instant,
    seconds: u64,
    /// Without the time during which an image was pulled.
    counted: Duration,
    /// The time during which each condition, by name, was waited for.
    by_condition: BTreeMap<&'static str, Duration>,
    last: Instant,
}

// === impl Elapsed ===

impl Elapsed {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, seconds: 0, counted: Duration::ZERO, by_condition: BTreeMap::new(), last: now }
    }

    fn tick(&mut self, pulling: bool, waiting_for: Option<&'static str>) {
        self.seconds = self.began.elapsed().as_secs();
        if !pulling {
            self.counted += self.last.elapsed();
        }
        if let Some(name) = waiting_for {
            *self.by_condition.entry(name).or_default() += self.last.elapsed();
        }
        self.last = Instant::now();
    }

    fn waited_for(&self, name: &str) -> Duration {
        self.by_condition.get(name).copied().unwrap_or_default()
    }
}

/// The events of several objects, each object's oldest first.
async fn events(cluster: &Cluster, namespace: &str, objects: Vec<String>) -> Vec<Event> {
    let mut events = Vec::new();
    for object in objects {
        events.extend(cluster.events(namespace, &object).await);
    }
    events
}

/// Extends the root's deadline while an image is being pulled.
async fn prolong(cluster: &Cluster, request: &Request, root: &str, waited: u64) {
    let Some(seconds) = request.lifetime().while_pulling(Duration::from_secs(waited)) else { return };
    let change = |_: &Job, session: &Session| {
        (!session.ending).then(|| Deadline { seconds: Some(seconds), metadata: json!({}) })
    };
    // A failure shows when the cluster is asked next.
    let _ = cluster.change_deadline(&request.namespace, root, change).await;
}

/// The error of a condition that failed, with the last lines of the log where a
/// container crashed.
pub(super) async fn with_log(cluster: &Cluster, namespace: &str, why: String, failed: Failed) -> Problem {
    let Failed { problem, crash } = failed;
    let Some(Crash { pod, container, brief }) = crash else { return problem };
    match cluster.last_log_lines(namespace, &pod, &container).await {
        Some(log) => {
            let log = Problem::new(format!("the last lines of its log:\n{log}")).stored_as("");
            problem.because(Problem::new(why).stored_as(brief).because(log))
        }
        None => problem,
    }
}
