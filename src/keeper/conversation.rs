//! The conversation with one agent: an exec of its control bridge, JSON lines in both
//! directions, and renewals of the rules' lease.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use kube::api::AttachedProcess;
use serde_json::to_value;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::canary::Unproven;
use super::pace::Pace;
use super::proof::Proof;
use crate::cluster::{Cluster, Error};
use crate::contract::control::{AgentStatus, CaptureMethod, ControlRequest, PROTOCOL, Reply};
use crate::traffic::{Refusal, Rules};

/// The shortest lease of rules: they hold that long without a renewal.
const LEASE: Duration = Duration::from_mins(1);
/// How long a keeper may take from its creation to its first renewal.
const STARTS_UP: Duration = Duration::from_secs(30);
/// The Job controller's pause before it replaces a pod that failed, and the limit
/// up to which it doubles. It counts the failures for as long as the Job exists.
const REPLACED_AFTER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));
/// How long the agent may be silent, in addition to two renewals.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How long an exec into a container that may be starting is tried often, and the
/// least pause between two tries after that.
const SOON: Duration = Duration::from_secs(5);
const LATER_PAUSE: Duration = Duration::from_secs(1);
/// How long a node may take to start the bridge in the container.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// How long the container may take to start, image pull included.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
/// How long an exec into a container that has run is tried: after that it has ended, or
/// the next conversation begins with what the watch shows by then.
const REACHED_AGAIN_WITHIN: Duration = Duration::from_secs(10);
/// How long the agent may take for its first message. It may be just starting.
const HELLO_WAIT: Duration = Duration::from_secs(20);

/// The lease of a keeper's rules once `failed` keepers before it have failed: longer
/// than the Job controller takes to replace this one.
pub(crate) fn lease(failed: i32) -> Duration {
    let (first, longest) = REPLACED_AFTER;
    let doublings = u32::try_from(failed).unwrap_or(0).min(30);
    LEASE.max(first.saturating_mul(1 << doublings).min(longest) + STARTS_UP)
}

/// The rules that every agent should have.
#[derive(Clone, Debug, Default)]
pub(crate) enum Wanted {
    /// None yet: no preview pod has been ready.
    #[default]
    Nothing,
    /// These rules.
    Rules(Arc<Rules>),
    /// None any more.
    Withdrawal,
}

/// An event of one agent's conversation, or of its proof.
#[derive(Debug)]
pub(crate) enum AgentEvent {
    /// The agent has begun the conversation.
    Hello(CaptureMethod),
    /// The agent has another version of the messages.
    ForeignVersion(String),
    /// The rules of a generation are in force.
    InForce { generation: u64 },
    /// The agent has put none of the session's rules in force.
    Refused(Refusal),
    /// Canaries came to the right sides. The notes name what they could not show.
    Proven { generation: u64, notes: Vec<String> },
    /// Canaries did not come to the right sides.
    Unproven(Unproven),
    /// The agent's state.
    Status(Box<AgentStatus>),
    /// The session has no rules there any more.
    Withdrawn,
    /// The conversation is over.
    Ended(String),
    /// The API server does not allow a conversation.
    Forbidden(String),
}

/// One agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentId {
    /// The identifier of its pod.
    pub(crate) uid: String,
    /// The name of its container: a pod may have had several agents.
    pub(crate) container: String,
}

/// One agent, and the facts about its session that the conversation needs.
#[derive(Clone, Debug)]
pub(crate) struct AgentPeer {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) agent: AgentId,
    /// Whether Kubernetes has reported that the agent's container runs.
    pub(crate) has_run: bool,
    /// The pod's address, once the watch has shown it.
    pub(crate) address: Arc<OnceLock<IpAddr>>,
    pub(crate) session: String,
    pub(crate) target: String,
    /// Ports that speak TLS.
    pub(crate) encrypted: Vec<u16>,
    /// Whether another key may keep requests that both want.
    pub(crate) yields: bool,
}

/// Converses until the conversation ends, and sends why it did.
pub(crate) async fn run(
    cluster: Cluster,
    peer: AgentPeer,
    wanted: watch::Receiver<Wanted>,
    pace: Arc<Pace>,
    events: mpsc::UnboundedSender<(AgentId, AgentEvent)>,
) {
    let agent = peer.agent.clone();
    let over = match reach_and_converse(&cluster, &peer, wanted, &pace, &events).await {
        Ok(()) => AgentEvent::Ended("the agent has left".to_owned()),
        Err(error) => match Error::among(&error) {
            Some(refusal) if refusal.is_refused() => AgentEvent::Forbidden(refusal.to_string()),
            _ => AgentEvent::Ended(format!("{error:#}")),
        },
    };
    // The actor may be gone.
    let _ = events.send((agent, over));
}

async fn reach_and_converse(
    cluster: &Cluster,
    peer: &AgentPeer,
    wanted: watch::Receiver<Wanted>,
    pace: &Arc<Pace>,
    events: &mpsc::UnboundedSender<(AgentId, AgentEvent)>,
) -> Result<()> {
    let mut process = reach(cluster, peer, pace).await?;
    let (Some(stdin), Some(stdout)) = (process.stdin(), process.stdout()) else {
        return Err(anyhow!("the bridge to the agent has no streams"));
    };
    converse(Box::pin(stdin), stdout, peer, wanted, pace, events).await
}

/// The request that puts what is wanted in force, or renews it: `held` is the
/// generation that an agent which can renew has accepted last.
fn request(wanted: &Wanted, held: Option<u64>, session: &str) -> Result<ControlRequest> {
    let session = session.to_owned();
    Ok(match wanted {
        Wanted::Nothing => ControlRequest::Status { session: Some(session) },
        Wanted::Rules(rules) if held == Some(rules.generation) => {
            ControlRequest::Renew { session, generation: rules.generation }
        }
        Wanted::Rules(rules) => ControlRequest::Rules { rules: to_value(&**rules)? },
        Wanted::Withdrawal => ControlRequest::Withdraw { session },
    })
}

async fn converse(
    mut stdin: impl AsyncWrite + Unpin,
    stdout: impl AsyncRead + Unpin,
    peer: &AgentPeer,
    mut wanted: watch::Receiver<Wanted>,
    pace: &Arc<Pace>,
    events: &mpsc::UnboundedSender<(AgentId, AgentEvent)>,
) -> Result<()> {
    let mut lines = BufReader::new(stdout).lines();
    let emit = |event: AgentEvent| drop(events.send((peer.agent.clone(), event)));

    let first =
        timeout(HELLO_WAIT, lines.next_line()).await??.ok_or_else(|| anyhow!("the agent did not answer"))?;
    let (can_renew, reads_canary_request) = match serde_json::from_str(&first)? {
        Reply::Hello { protocol: PROTOCOL, method, renews, reads_canary_request, .. } => {
            emit(AgentEvent::Hello(method));
            (renews, reads_canary_request)
        }
        Reply::Hello { version, .. } => {
            emit(AgentEvent::ForeignVersion(version));
            return Ok(());
        }
        _ => return Err(anyhow!("the agent did not begin with a hello")),
    };
    let mut held = None;
    let _conversing = pace.conversing();
    wanted.mark_changed();
    let mut proof: Option<Proof> = None;
    let mut renewal = Instant::now();
    let mut last_reply = Instant::now();
    loop {
        // TCP reports a path that drops everything only after many minutes.
        let silence = last_reply + pace.renews_every() * 2 + ANSWERS_WITHIN;
        tokio::select! {
            changed = wanted.changed() => {
                changed?;
                renewal = Instant::now();
            }
            () = sleep_until(renewal) => {
                renewal = Instant::now() + pace.renews_every();
                let request = request(&wanted.borrow_and_update(), held, &peer.session)?;
                send(&mut stdin, &request).await?;
                if matches!(request, ControlRequest::Rules { .. } | ControlRequest::Renew { .. }) {
                    // The report shows counts as often as that.
                    send(&mut stdin, &ControlRequest::Status { session: Some(peer.session.clone()) }).await?;
                }
            }
            () = sleep_until(silence) => return Err(anyhow!("the agent does not answer")),
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                last_reply = Instant::now();
                match serde_json::from_str(&line)? {
                    Reply::Accepted { generation, not_listening, .. } => {
                        held = can_renew.then_some(generation);
                        let rules = match &*wanted.borrow() {
                            Wanted::Rules(rules) if rules.generation == generation => Some(Arc::clone(rules)),
                            _ => None,
                        };
                        emit(AgentEvent::InForce { generation });
                        if let Some(rules) = rules.filter(|rules| !rules.preview.is_empty())
                            && !proof.as_ref().is_some_and(|proof| proof.is_of(generation, &not_listening))
                        {
                            proof = Some(Proof::begin(
                                peer,
                                reads_canary_request,
                                rules,
                                not_listening,
                                pace,
                                events.clone(),
                            ));
                        }
                    }
                    Reply::Refused(refusal) => {
                        held = None;
                        emit(AgentEvent::Refused(refusal));
                    }
                    Reply::NotHeld { .. } => {
                        held = None;
                        renewal = Instant::now();
                    }
                    Reply::Status(status) => emit(AgentEvent::Status(Box::new(status))),
                    Reply::Withdrawn { .. } => emit(AgentEvent::Withdrawn),
                    Reply::Error { why } => return Err(anyhow!("the agent did not understand: {why}")),
                    Reply::Unknown | Reply::Hello { .. } => {}
                }
            }
        }
    }
}

/// Runs the bridge in the agent's container, which may not have started yet. The
/// kubelet reports a start up to a second late, and the rules should not wait for that.
async fn reach(cluster: &Cluster, peer: &AgentPeer, pace: &Pace) -> Result<AttachedProcess> {
    let _reaching = pace.reaching();
    let command = ["/mirrord", "agent", "control"];
    let begun = Instant::now();
    let limit = if peer.has_run { REACHED_AGAIN_WITHIN } else { STARTS_WITHIN };
    loop {
        let reached = cluster.exec(&peer.namespace, &peer.pod, &peer.agent.container, &command);
        let error = match timeout(REACHED_WITHIN, reached).await {
            Ok(Ok(process)) => return Ok(process),
            Ok(Err(error)) => error,
            Err(_) => return Err(anyhow!("the node of pod `{}` does not answer", peer.pod)),
        };
        if begun.elapsed() >= limit || error.is_refused() {
            return Err(error.into());
        }
        let early = begun.elapsed() < SOON;
        sleep(if early { pace.reaches_every() } else { pace.reaches_every().max(LATER_PAUSE) }).await;
    }
}

async fn send(stdin: &mut (impl AsyncWrite + Unpin), request: &ControlRequest) -> Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // An agent that waits for this side to read does not read itself.
    timeout(ANSWERS_WITHIN, async {
        stdin.write_all(&line).await?;
        stdin.flush().await
    })
    .await??;
    Ok(())
}

#[cfg(test)]
mod tests;
