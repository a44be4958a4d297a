//! Waiting until an environment is ready, and saying what it waits for.

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
use crate::preview::progress::{Failure, Observed, State, is_being_created, is_pulling, last_complaint};
use crate::problem::{Exit, Problem};
use crate::session::Session;

/// How often the clock is looked at; changes are seen when they happen.
const TICK: Duration = Duration::from_secs(1);
/// How often somebody who waits is told what for, as a warning.
const PATIENCE: u64 = 60;
/// How often, in seconds, it is asked whether an image is being pulled.
const EVENTS: u64 = 2;

/// A ready environment.
pub(super) struct Ready {
    /// The names of its pods.
    pub(super) pods: Vec<String>,
    /// Since when.
    pub(super) at: Timestamp,
    /// What the user should know of its features.
    pub(super) notes: Vec<String>,
}

/// Waits until as many pods as wanted are ready, or until they cannot be.
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
    // A tick that comes late must not skip it.
    let mut told_next = PATIENCE;
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
                // Said before the list is asked for: no sign of an answer.
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
            still_there(cluster, request, root, &mut lost).await?;
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
                .hint("somebody stopped this key, or started it anew")
                .into());
            }
            State::Waiting(why) => why,
        };
        if ticked && elapsed.seconds.is_multiple_of(EVENTS) {
            let waits = observed.pods.values().chain(&observed.keeper);
            pulling = waits.into_iter().any(is_being_created)
                && is_pulling(&events(cluster, namespace, &observed).await);
            if pulling {
                prolong(cluster, request, root, elapsed.seconds).await;
            }
        }
        let why = if pulling { "the image is being pulled".to_owned() } else { why };
        step.update(&why);
        if ticked && elapsed.seconds >= told_next {
            told_next = elapsed.seconds + PATIENCE;
            reporter.warning(&format!("waiting for {} s: {why}", elapsed.seconds));
        }
        are_pods_ready = unmet.is_some();
        let own = unmet.as_ref().and_then(|feature| feature.limit);
        if own.is_some_and(|(limit, _)| elapsed.features >= limit)
            || own.is_none() && elapsed.counted >= request.creation_timeout
        {
            if let Some(feature) = unmet {
                let complaint = last_complaint(&cluster.events(namespace, root).await);
                let complaint = complaint.filter(|_| observed.keeper.is_none());
                return Err(Unmet { why, ..feature }.timed_out(request, complaint).into());
            }
            return Err(timed_out(request, why, &events(cluster, namespace, &observed).await).into());
        }
    }
}

/// A watch that broke may only have been idle for too long for something on
/// its way: the cluster is asked before it counts as lost.
async fn still_there(
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
        .hint("what was created ends by itself; check the cluster, then run the command again")
        .into())
}

fn timed_out(request: &Request, why: String, events: &[Event]) -> Problem {
    let timeout = humantime::format_duration(request.creation_timeout);
    Problem::new(format!("the preview was not ready within {timeout}"))
        .because_of(match last_complaint(events) {
            Some(complaint) if !why.contains(&complaint) => format!("{why}\n{complaint}"),
            _ => why,
        })
        .hint("wait longer with `--timeout <seconds>`, or look at `kubectl get events`")
        .exit(Exit::TimedOut)
}

/// How long somebody has waited.
struct Elapsed {
    began: Instant,
    seconds: u64,
    /// Without the time in which an image was pulled.
    counted: Duration,
    /// While only features are waited for.
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
    let keeper = observed.keeper.iter().filter_map(|pod| pod.metadata.name.as_ref());
    for pod in observed.pods.keys().chain(keeper) {
        events.extend(cluster.events(namespace, pod).await);
    }
    events
}

/// Moves the root's deadline on while an image is being pulled.
async fn prolong(cluster: &Cluster, request: &Request, root: &str, waited: u64) {
    let Some(seconds) = request.lifetime().while_pulling(Duration::from_secs(waited)) else { return };
    let change = |_: &Job, session: &Session| {
        (!session.ending).then(|| Deadline { seconds: Some(seconds), metadata: json!({}) })
    };
    // A failure shows at the next look at the cluster.
    let _ = cluster.change_deadline(&request.namespace, root, change).await;
}

/// The failure in full: with the last lines of the log where a container
/// crashed, and with what Kubernetes itself complained of where it did not.
async fn failed(cluster: &Cluster, request: &Request, failure: Failure) -> Problem {
    let namespace = &request.namespace;
    let problem =
        Problem::new(format!("the preview pod failed in namespace `{namespace}`")).exit(Exit::PreviewFailed);
    let Failure { why, crashed } = failure;
    match crashed {
        Some((pod, container)) => match cluster.last_log_lines(namespace, &pod, &container).await {
            Some(log) => {
                problem.because(anyhow::Error::msg(format!("the last lines of its log:\n{log}")).context(why))
            }
            None => problem.because_of(why),
        },
        None if why.starts_with("image ") => problem
            .because_of(why)
            .hint("check the image's name, and that the target's pull secrets reach its registry"),
        None => problem.because_of(why),
    }
}
