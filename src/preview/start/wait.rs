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
use crate::contract::Report;
use crate::output::{Reporter, Step};
use crate::preview::plan::Request;
use crate::preview::progress::{
    Failure, Observed, PodState, State, is_being_created, is_pulling, last_complaint, pod_state,
};
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
    /// What the keeper said; nothing where no requests are routed.
    pub(super) report: Option<Report>,
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
    let mut is_routing = false;
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
            elapsed.tick(pulling, is_routing);
            still_there(cluster, request, root, &mut lost).await?;
        }
        let mut routing = None;
        is_routing = false;
        let why = match observed.state(wanted) {
            State::Ready(pods, at) => match routed(&observed, request) {
                Routed::Off => return Ok(Ready { pods, at, report: None }),
                Routed::Proven(report) => {
                    let at = at.max(cluster.clock(Timestamp::now()));
                    return Ok(Ready { pods, at, report: Some(*report) });
                }
                Routed::Not(problem) => return Err(problem.into()),
                Routed::Waiting(why, hint) => {
                    routing = Some(hint);
                    is_routing = true;
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
        // Where the file says how long requests may take to come, that holds for them.
        let own = routing.as_ref().and(request.agent.startup_timeout);
        if own.is_some_and(|limit| elapsed.routing >= limit)
            || own.is_none() && elapsed.counted >= request.creation_timeout
        {
            if let Some(hint) = routing {
                let complaint = last_complaint(&cluster.events(namespace, root).await);
                let complaint = complaint.filter(|_| observed.keeper.is_none());
                let why = complaint.map_or_else(|| why.clone(), |complaint| format!("{why}\n{complaint}"));
                return Err(unproven(request, why, hint).into());
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

/// How it stands with the requests.
enum Routed {
    /// None are routed.
    Off,
    /// They come.
    Proven(Box<Report>),
    /// Not yet: why, and what may help.
    Waiting(String, Option<String>),
    /// They will not.
    Not(Problem),
}

/// Whether requests come to the preview, by the keeper's own word.
fn routed(observed: &Observed, request: &Request) -> Routed {
    if request.routing.is_none() {
        return Routed::Off;
    }
    if let Some(report) = observed.report() {
        return match report {
            Report { ready: true, .. } => Routed::Proven(Box::new(report)),
            Report { obstacle: Some(obstacle), .. } => Routed::Not(obstacle.into_problem()),
            Report { waiting, hint, .. } => Routed::Waiting(waiting.unwrap_or_default(), hint),
        };
    }
    match observed.keeper.as_ref().map(pod_state) {
        None => Routed::Waiting("the keeper's pod is being created".to_owned(), None),
        Some(PodState::Ready(_)) => Routed::Waiting("the keeper is at work".to_owned(), None),
        Some(PodState::Waiting(why)) => Routed::Waiting(format!("the keeper's pod: {why}"), None),
        Some(PodState::Failed(Failure { why, .. })) => Routed::Not(
            Problem::new("requests do not come to the preview")
                .because_of(format!("the keeper's pod failed: {why}"))
                .hint("its image must be one that this cluster can pull: `agent.image`, or `MIRRORD_AGENT_IMAGE`")
                .exit(Exit::NotRouted),
        ),
    }
}

fn unproven(request: &Request, why: String, hint: Option<String>) -> Problem {
    let (limit, longer) = match request.agent.startup_timeout {
        Some(limit) => (limit, "a larger `agent.startup_timeout`"),
        None => (request.creation_timeout, "`--timeout <seconds>`"),
    };
    let timeout = humantime::format_duration(limit);
    let problem = Problem::new(format!("no request was seen to come to the preview within {timeout}"))
        .because_of(why)
        .exit(Exit::NotRouted);
    problem.hint(hint.unwrap_or_else(|| format!("wait longer with {longer}")))
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
    /// Since all but the requests is there.
    routing: Duration,
    last: Instant,
}

// === impl Elapsed ===

impl Elapsed {
    fn begin() -> Self {
        let now = Instant::now();
        Self { began: now, seconds: 0, counted: Duration::ZERO, routing: Duration::ZERO, last: now }
    }

    fn tick(&mut self, pulling: bool, is_routing: bool) {
        self.seconds = self.began.elapsed().as_secs();
        if !pulling {
            self.counted += self.last.elapsed();
        }
        if is_routing {
            self.routing += self.last.elapsed();
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
