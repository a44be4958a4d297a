//! The conversation with one agent: an exec of its control bridge, JSON lines
//! both ways, rules sent again before their lease runs out, and the proof that
//! they hold.

use std::net::IpAddr;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::{Result, anyhow};
use kube::api::AttachedProcess;
use serde_json::to_value;
use tokio::io::{AsyncBufReadExt as _, AsyncWrite, AsyncWriteExt as _, BufReader};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::canary::{self, Unproven};
use super::pace::Pace;
use crate::cluster::{Cluster, Error};
use crate::contract::control::Method;
use crate::contract::control::{PROTOCOL, Reply, Request, Status};
use crate::traffic::{Refusal, Rules};

/// How long rules hold at least without being sent again.
const LEASE: Duration = Duration::from_mins(1);
/// How long a keeper may take from its creation to its first words.
const STARTS_UP: Duration = Duration::from_secs(30);
/// The Job controller's pause before it replaces a pod that failed, and what it
/// doubles up to; it forgets no failure of a Job that lives.
const REPLACED_AFTER: (Duration, Duration) = (Duration::from_secs(10), Duration::from_mins(10));
/// How long the agent may be silent, beyond two renewals.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);
/// How often a new pod's address is looked for, which the watch brings.
const ADDRESS_PAUSE: Duration = Duration::from_millis(50);
/// How often an unproven route is tried again.
const PROVES_EVERY: Duration = Duration::from_secs(1);
/// How long a container that may be starting is reached for often.
const SOON: Duration = Duration::from_secs(5);
/// How long a node may take to let the bridge into the container.
const REACHED_WITHIN: Duration = Duration::from_secs(30);
/// How long it may take to start, its image being pulled.
const STARTS_WITHIN: Duration = Duration::from_mins(2);
/// How long the agent may take for its first word; it may be just starting.
const HELLO_WAIT: Duration = Duration::from_secs(20);

/// How long rules of a keeper hold without being sent again, once so many
/// keepers before it have failed: longer than it takes to replace it.
pub(crate) fn lease(failed: i32) -> Duration {
    let (first, longest) = REPLACED_AFTER;
    let doublings = u32::try_from(failed).unwrap_or(0).min(30);
    LEASE.max(first.saturating_mul(1 << doublings).min(longest) + STARTS_UP)
}

/// What is wanted of every agent.
#[derive(Clone, Debug, Default)]
pub(crate) enum Wanted {
    /// Nothing yet: no preview pod has been ready.
    #[default]
    Nothing,
    /// These rules.
    Rules(Arc<Rules>),
    /// No rules any more.
    Withdrawal,
}

/// What comes of it.
#[derive(Debug)]
pub(crate) enum Said {
    /// The agent is there.
    Hello(Method),
    /// It does not speak our language.
    Foreign(String),
    /// The rules of a generation are in force.
    InForce { generation: u64 },
    /// The agent takes none of the session's rules.
    Refused(Refusal),
    /// Requests were seen to go where they should, and what could not be shown.
    Proven { generation: u64, notes: Vec<String> },
    /// They were not.
    Unproven(Unproven),
    /// How things are.
    Status(Box<Status>),
    /// The session has no rules there any more.
    Withdrawn,
    /// The conversation is over.
    Over(String),
    /// There can be none.
    Forbidden(String),
}

/// Whom to talk to.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) namespace: String,
    pub(crate) pod: String,
    pub(crate) uid: String,
    /// Known once Kubernetes has said it.
    pub(crate) address: Arc<OnceLock<IpAddr>>,
    pub(crate) container: String,
    pub(crate) session: String,
    pub(crate) target: String,
    /// Ports whose requests cannot be read.
    pub(crate) encrypted: Vec<u16>,
    /// Whether another key may have the requests.
    pub(crate) yields: bool,
}

/// Talks until the conversation ends, and says why it did.
pub(crate) async fn run(
    cluster: Cluster,
    peer: Peer,
    wanted: watch::Receiver<Wanted>,
    pace: Arc<Pace>,
    said: mpsc::UnboundedSender<(String, Said)>,
) {
    let uid = peer.uid.clone();
    let over = match converse(&cluster, &peer, wanted, &pace, &said).await {
        Ok(()) => Said::Over("the agent has left".to_owned()),
        Err(error) => match Error::among(&error) {
            Some(refusal) if refusal.is_refused() => Said::Forbidden(refusal.to_string()),
            _ => Said::Over(format!("{error:#}")),
        },
    };
    // Without a listener there is nobody to tell.
    let _ = said.send((uid, over));
}

async fn converse(
    cluster: &Cluster,
    peer: &Peer,
    mut wanted: watch::Receiver<Wanted>,
    pace: &Arc<Pace>,
    said: &mpsc::UnboundedSender<(String, Said)>,
) -> Result<()> {
    let mut process = reach(cluster, peer, pace).await?;
    let (Some(stdin), Some(stdout)) = (process.stdin(), process.stdout()) else {
        return Err(anyhow!("the bridge to the agent has no streams"));
    };
    let mut stdin = Box::pin(stdin);
    let mut lines = BufReader::new(stdout).lines();
    let tell = |what: Said| drop(said.send((peer.uid.clone(), what)));

    let first = timeout(HELLO_WAIT, lines.next_line()).await??.ok_or_else(|| anyhow!("no agent answers"))?;
    match serde_json::from_str(&first)? {
        Reply::Hello { protocol: PROTOCOL, method, .. } => tell(Said::Hello(method)),
        Reply::Hello { version, .. } => {
            tell(Said::Foreign(version));
            return Ok(());
        }
        other => return Err(anyhow!("the agent began with {other:?}")),
    }
    let _talking = pace.talking();
    wanted.mark_changed();
    let mut proof: Option<Proof> = None;
    let mut renewal = Instant::now();
    let mut heard = Instant::now();
    loop {
        // A path that swallows what is sent says nothing of it for many minutes.
        let silence = heard + pace.renews_every() * 2 + ANSWERS_WITHIN;
        tokio::select! {
            changed = wanted.changed() => {
                changed?;
                renewal = Instant::now();
            }
            () = sleep_until(renewal) => {
                renewal = Instant::now() + pace.renews_every();
                let request = match &*wanted.borrow_and_update() {
                    Wanted::Nothing => Request::Status,
                    Wanted::Rules(rules) => Request::Rules { rules: to_value(&**rules)? },
                    Wanted::Withdrawal => Request::Withdraw { session: peer.session.clone() },
                };
                let renews = matches!(request, Request::Rules { .. });
                say(&mut stdin, &request).await?;
                if renews {
                    say(&mut stdin, &Request::Status).await?;
                }
            }
            () = sleep_until(silence) => return Err(anyhow!("the agent does not answer")),
            line = lines.next_line() => {
                let Some(line) = line? else { return Ok(()) };
                heard = Instant::now();
                match serde_json::from_str(&line)? {
                    Reply::Accepted { generation, not_listening, .. } => {
                        let rules = match &*wanted.borrow() {
                            Wanted::Rules(rules) if rules.generation == generation => Some(Arc::clone(rules)),
                            _ => None,
                        };
                        tell(Said::InForce { generation });
                        if let Some(rules) = rules.filter(|rules| !rules.preview.is_empty())
                            && !proof.as_ref().is_some_and(|proof| proof.is_of(generation, &not_listening))
                        {
                            proof = Some(Proof::begin(peer, rules, not_listening, pace, said.clone()));
                        }
                    }
                    Reply::Refused(refusal) => tell(Said::Refused(refusal)),
                    Reply::Status(status) => tell(Said::Status(Box::new(status))),
                    Reply::Withdrawn { .. } => tell(Said::Withdrawn),
                    Reply::Error { why } => return Err(anyhow!("the agent did not understand: {why}")),
                    // Where things stand, the next status says.
                    Reply::Event(_) | Reply::Hello { .. } => {}
                }
            }
        }
    }
}

/// Runs the bridge. The agent's container may not be there yet: Kubernetes
/// takes a second to say that it is, in which the application would serve
/// without it.
async fn reach(cluster: &Cluster, peer: &Peer, pace: &Pace) -> Result<AttachedProcess> {
    let _reaching = pace.reaching();
    let command = ["/mirrord", "agent", "control"];
    let begun = Instant::now();
    loop {
        let reached = cluster.exec(&peer.namespace, &peer.pod, &peer.container, &command);
        let error = match timeout(REACHED_WITHIN, reached).await {
            Ok(Ok(process)) => return Ok(process),
            Ok(Err(error)) => error,
            Err(_) => return Err(anyhow!("the node of pod `{}` does not answer", peer.pod)),
        };
        if begun.elapsed() >= STARTS_WITHIN || error.is_refused() {
            return Err(error.into());
        }
        let early = begun.elapsed() < SOON;
        sleep(if early { pace.reaches_every() } else { pace.reaches_every().max(PROVES_EVERY) }).await;
    }
}

async fn say(stdin: &mut (impl AsyncWrite + Unpin), request: &Request) -> Result<()> {
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    // Both ends may wait for the other to read.
    timeout(ANSWERS_WITHIN, async {
        stdin.write_all(&line).await?;
        stdin.flush().await
    })
    .await??;
    Ok(())
}

/// The proof of what is in force, under way or done.
struct Proof {
    generation: u64,
    not_listening: Vec<u16>,
    _task: AbortOnDrop,
}

/// Ends the task with its owner.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

// === impl Proof ===

impl Proof {
    /// Whether it is of just this.
    fn is_of(&self, generation: u64, not_listening: &[u16]) -> bool {
        self.generation == generation && self.not_listening == not_listening
    }

    fn begin(
        peer: &Peer,
        rules: Arc<Rules>,
        not_listening: Vec<u16>,
        pace: &Arc<Pace>,
        said: mpsc::UnboundedSender<(String, Said)>,
    ) -> Self {
        let generation = rules.generation;
        let task = tokio::spawn(prove(peer.clone(), rules, not_listening.clone(), Arc::clone(pace), said));
        Self { generation, not_listening, _task: AbortOnDrop(task) }
    }
}

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Tries until it is proven.
async fn prove(
    peer: Peer,
    rules: Arc<Rules>,
    not_listening: Vec<u16>,
    pace: Arc<Pace>,
    said: mpsc::UnboundedSender<(String, Said)>,
) {
    let tell = |what| drop(said.send((peer.uid.clone(), what)));
    let (mut ports, mut notes) = (Vec::new(), Vec::new());
    for port in rules.ports.iter().map(|port| port.port) {
        if not_listening.contains(&port) {
            notes.push(format!("nothing listens on port {port} of `{}` now", peer.target));
        } else if peer.encrypted.contains(&port) {
            notes.push(format!(
                "port {port} speaks TLS: what is inside cannot be read, so no request there goes to the preview"
            ));
        } else {
            ports.push(port);
        }
    }
    let address = loop {
        match peer.address.get() {
            Some(address) => break *address,
            None => sleep(ADDRESS_PAUSE).await,
        }
    };
    if ports.is_empty() && !not_listening.is_empty() {
        return tell(Said::Unproven(Unproven {
            why: notes.join("; "),
            hint: Some("name the ports of the application in `feature.network.incoming.ports`".to_owned()),
        }));
    }
    loop {
        let turn = pace.proofs().acquire().await;
        let result =
            canary::prove(address, &ports, &rules, (&peer.namespace, &peer.target), peer.yields).await;
        drop(turn);
        match result {
            Ok(more) => {
                notes.extend(more);
                return tell(Said::Proven { generation: rules.generation, notes });
            }
            Err(unproven) => tell(Said::Unproven(unproven)),
        }
        sleep(PROVES_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_outlast_the_pause_before_the_next_keeper() {
        let leases = [0, 1, 2, 3, 4, 6, 7, 1000].map(|failed| lease(failed).as_secs());
        assert_eq!(leases, [60, 60, 70, 110, 190, 630, 630, 630]);
    }
}
