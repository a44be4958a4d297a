//! Waiting until an environment is ready, and saying what it waits for.

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Event;
use serde_json::json;
use tokio::time::{Instant, interval};

use crate::cluster::{Change, Cluster, explain};
use crate::output::{Reporter, Step};
use crate::preview::plan::{Request, first_deadline, seconds};
use crate::preview::progress::{Failure, Observed, State, is_pulling, last_complaint};
use crate::problem::{Exit, Problem};

/// How often the clock is looked at; changes are seen when they happen.
const TICK: Duration = Duration::from_secs(1);
/// How often somebody who waits is told what for, as a warning.
const PATIENCE: u64 = 60;
/// How long the cluster may be silent before it counts as lost: longer than an
/// API server takes to restart behind a load balancer's back.
const SILENCE: Duration = Duration::from_secs(20);

/// A ready environment.
pub(super) struct Ready {
    /// The names of its pods.
    pub(super) pods: Vec<String>,
    /// Since when.
    pub(super) at: Timestamp,
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
    let mut changes = cluster.watch_session(namespace, request.identity.id.as_str());
    let mut observed = Observed::default();
    let mut ticks = interval(TICK);
    let mut elapsed = Elapsed::begin();
    let mut lost: Option<(Instant, String)> = None;
    loop {
        tokio::select! {
            change = changes.next() => match change {
                Some(Change::Lost(error)) => {
                    let since = lost.take().map_or_else(Instant::now, |(since, _)| since);
                    lost = Some((since, error));
                }
                Some(Change::Forbidden(error)) => {
                    return Err(explain::api(&error, "could not watch the preview become ready").into());
                }
                Some(change) => {
                    lost = None;
                    observed.apply(change);
                }
                None => {}
            },
            _ = ticks.tick() => elapsed.tick(),
        }
        if let Some((since, words)) = &lost
            && since.elapsed() > SILENCE
        {
            return Err(Problem::new(format!("the cluster has not answered for {} s", SILENCE.as_secs()))
                .because_of(words.clone())
                .hint("what was created ends by itself; check the cluster, then run the command again")
                .into());
        }
        let why = match observed.state(wanted) {
            State::Ready(pods, at) => return Ok(Ready { pods, at }),
            State::Failed(failure) => return Err(failed(cluster, request, failure).await.into()),
            State::Gone => {
                return Err(Problem::new(format!(
                    "`{root}` in namespace `{namespace}` was removed while it started"
                ))
                .hint("somebody stopped this key, or started it anew")
                .into());
            }
            State::Waiting(why) => why,
        };
        step.update(&why);
        if elapsed.seconds > 0
            && elapsed.seconds.is_multiple_of(PATIENCE)
            && elapsed.warned != elapsed.seconds
        {
            elapsed.warned = elapsed.seconds;
            reporter.warning(&format!("waiting for {} s: {why}", elapsed.seconds));
        }
        if elapsed.counted < request.creation_timeout {
            continue;
        }
        let events = events(cluster, namespace, &observed).await;
        if is_pulling(&events) {
            // The pull has as long as it needs; Kubernetes' own clock must not
            // run out meanwhile.
            step.update("the image is being pulled");
            elapsed.counted = elapsed.counted.saturating_sub(Duration::from_secs(5));
            prolong(cluster, request, &observed, elapsed.seconds).await;
            continue;
        }
        return Err(Problem::new(format!(
            "the preview was not ready within {}",
            humantime::format_duration(request.creation_timeout)
        ))
        .because_of(match last_complaint(&events) {
            Some(complaint) if !why.contains(&complaint) => format!("{why}\n{complaint}"),
            _ => why,
        })
        .hint("wait longer with `--timeout <seconds>`, or look at `kubectl get events`")
        .exit(Exit::TimedOut)
        .into());
    }
}

/// How long somebody has elapsed.
struct Elapsed {
    began: Instant,
    seconds: u64,
    warned: u64,
    /// Without the time in which an image was pulled.
    counted: Duration,
    last: Instant,
}

// === impl Elapsed ===

impl Elapsed {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, seconds: 0, warned: 0, counted: Duration::ZERO, last: now }
    }

    fn tick(&mut self) {
        self.seconds = self.began.elapsed().as_secs();
        self.counted += self.last.elapsed();
        self.last = Instant::now();
    }
}

async fn events(cluster: &Cluster, namespace: &str, observed: &Observed) -> Vec<Event> {
    let mut events = Vec::new();
    for pod in observed.pods.keys() {
        events.extend(cluster.events(namespace, pod).await);
    }
    events
}

/// Moves the root's deadline on while an image is being pulled.
async fn prolong(cluster: &Cluster, request: &Request, observed: &Observed, waited: u64) {
    let first = first_deadline(request.identity.ttl, request.creation_timeout, request.clock);
    if let (Some(first), Some(root)) = (first, &observed.root) {
        // A failure shows at the next look at the cluster.
        let _ =
            cluster.set_deadline(root, Some(seconds(first + Duration::from_secs(waited))), json!({})).await;
    }
}

/// The failure in full: with the last lines of the log where a container
/// crashed, and with what Kubernetes itself complained of where it did not.
async fn failed(cluster: &Cluster, request: &Request, failure: Failure) -> Problem {
    let namespace = &request.namespace;
    let problem =
        Problem::new(format!("the preview pod failed in namespace `{namespace}`")).exit(Exit::PreviewFailed);
    let Failure { why, crashed } = failure;
    match crashed {
        Some((pod, container)) => match cluster.last_words(namespace, &pod, &container).await {
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
