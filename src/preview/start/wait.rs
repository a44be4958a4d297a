//! Waits until an environment is ready, and shows what it waits for.

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
use crate::preview::features::{self, Condition, Unmet};
use crate::preview::plan::Request;
use crate::preview::progress::{Failure, Observed, State, is_being_created, is_pulling, last_warning};
use crate::problem::{Exit, Problem};
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

/// Waits until all preview pods are ready and every feature works.
///
/// # Errors
///
/// Where a pod or a feature fails, a time limit is over, somebody removes the
/// environment, or the cluster does not answer.
pub(super) async fn until_ready(
    cluster: &Cluster,
    request: &Request,
    root: &str,
    step: &Step,
    reporter: &Reporter,
) -> Result<Ready> {
    let namespace = &request.namespace;
    let wanted = usize::try_from(request.replicas).unwrap_or(usize::MAX);
    let mut changes = cluster.watch_session(namespace, request.identity.id.as_str())?;
    let mut observed = Observed::default();
    let mut ticks = interval(TICK);
    let mut elapsed = Elapsed::begin();
    let mut lost: Option<(Instant, String)> = None;
    let mut pulling = false;
    let mut are_pods_ready = false;
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
            elapsed.tick(pulling, are_pods_ready);
            check_silence(cluster, request, root, &mut lost).await?;
        }
        let mut unmet = None;
        let why = match observed.state(wanted) {
            State::Ready(pods, at) => match features::condition(&observed, request) {
                None => return Ok(Ready { pods, at, notes: Vec::new() }),
                Some(Condition::Met(notes)) => {
                    let at = at.max(cluster.clock(Timestamp::now()));
                    return Ok(Ready { pods, at, notes });
                }
                Some(Condition::Failed(problem)) => return Err(problem.into()),
                Some(Condition::Unmet(feature)) => {
                    let why = feature.why.clone();
                    unmet = Some(feature);
                    why
                }
            },
            State::Failed(failure) => return Err(failed(cluster, request, failure).await.into()),
            State::Gone => {
                return Err(Problem::new(format!(
                    "`{root}` in namespace `{namespace}` was ended while it started"
                ))
                .hint("somebody stopped this key, or started it again")
                .into());
            }
            State::Waiting(why) => why,
        };
        if ticked && elapsed.seconds.is_multiple_of(EVENTS_SECONDS) {
            pulling = observed.pods().any(is_being_created)
                && is_pulling(&events(cluster, namespace, &observed).await);
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
        are_pods_ready = unmet.is_some();
        let own = unmet.as_ref().and_then(|feature| feature.limit);
        if own.is_some_and(|(limit, _)| elapsed.features >= limit)
            || own.is_none() && elapsed.counted >= request.creation_timeout
        {
            if let Some(feature) = unmet {
                let warning = match &feature.explained_by {
                    Some(object) => last_warning(&cluster.events(namespace, object).await),
                    None => None,
                };
                return Err(Unmet { why, ..feature }.timed_out(request, warning).into());
            }
            return Err(timed_out(request, why, &events(cluster, namespace, &observed).await).into());
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

fn timed_out(request: &Request, why: String, events: &[Event]) -> Problem {
    let timeout = humantime::format_duration(request.creation_timeout);
    Problem::new(format!("the preview was not ready within {timeout}"))
        .because_of(match last_warning(events) {
            Some(warning) if !why.contains(&warning) => format!("{why}\n{warning}"),
            _ => why,
        })
        .hint("wait longer with `--timeout <seconds>`, or look at `kubectl get events`")
        .exit(Exit::TimedOut)
}

/// The time that has passed.
struct Elapsed {
    began: Instant,
    seconds: u64,
    /// Without the time during which an image was pulled.
    counted: Duration,
    /// While all pods were ready, and a feature did not work yet.
    features: Duration,
    last: Instant,
}

// === impl Elapsed ===

impl Elapsed {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, seconds: 0, counted: Duration::ZERO, features: Duration::ZERO, last: now }
    }

    fn tick(&mut self, pulling: bool, are_pods_ready: bool) {
        self.seconds = self.began.elapsed().as_secs();
        if !pulling {
            self.counted += self.last.elapsed();
        }
        if are_pods_ready {
            self.features += self.last.elapsed();
        }
        self.last = Instant::now();
    }
}

async fn events(cluster: &Cluster, namespace: &str, observed: &Observed) -> Vec<Event> {
    let mut events = Vec::new();
    for pod in observed.pods().filter_map(|pod| pod.metadata.name.as_ref()) {
        events.extend(cluster.events(namespace, pod).await);
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

/// The failure of a preview pod, with the last lines of the log where a container
/// crashed.
async fn failed(cluster: &Cluster, request: &Request, failure: Failure) -> Problem {
    let namespace = &request.namespace;
    let problem =
        Problem::new(format!("the preview pod failed in namespace `{namespace}`")).exit(Exit::PreviewFailed);
    let Failure { why, hint, crashed } = failure;
    let problem = match hint {
        Some(hint) => problem.hint(hint),
        None => problem,
    };
    match crashed {
        Some((pod, container)) => match cluster.last_log_lines(namespace, &pod, &container).await {
            Some(log) => {
                problem.because(anyhow::Error::msg(format!("the last lines of its log:\n{log}")).context(why))
            }
            None => problem.because_of(why),
        },
        None => problem.because_of(why),
    }
}
