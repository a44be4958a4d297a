//! The proof that an agent's rules work: canaries through each port, tried again until
//! they come to the right sides.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

use super::canary::{self, Unproven};
use super::conversation::{AgentEvent, AgentId, AgentPeer};
use super::pace::Pace;
use crate::traffic::Rules;

/// The pause between two looks for the address of a new pod, which the watch shows.
const ADDRESS_PAUSE: Duration = Duration::from_millis(50);
/// The pause before an unproven route is tried again.
const PROVES_EVERY: Duration = Duration::from_secs(1);

/// The proof of one generation of rules at one agent, under way or done. The task ends
/// with this value.
pub(super) struct Proof {
    generation: u64,
    not_listening: Vec<u16>,
    _task: AbortOnDropHandle<()>,
}

// === impl Proof ===

impl Proof {
    /// Whether it proves this generation, with these ports not listening.
    pub(super) fn is_of(&self, generation: u64, not_listening: &[u16]) -> bool {
        self.generation == generation && self.not_listening == not_listening
    }

    /// Begins a proof of `rules`. `reads_canary_request`: as the agent said in its hello.
    pub(super) fn begin(
        peer: &AgentPeer,
        reads_canary_request: bool,
        rules: Arc<Rules>,
        not_listening: Vec<u16>,
        pace: &Arc<Pace>,
        events: mpsc::UnboundedSender<(AgentId, AgentEvent)>,
    ) -> Self {
        let generation = rules.generation;
        let (peer, pace) = (peer.clone(), Arc::clone(pace));
        let task =
            tokio::spawn(prove(peer, reads_canary_request, rules, not_listening.clone(), pace, events));
        Self { generation, not_listening, _task: AbortOnDropHandle::new(task) }
    }
}

/// Sends canaries until all routes are proven.
async fn prove(
    peer: AgentPeer,
    reads_canary_request: bool,
    rules: Arc<Rules>,
    not_listening: Vec<u16>,
    pace: Arc<Pace>,
    events: mpsc::UnboundedSender<(AgentId, AgentEvent)>,
) {
    let emit = |event| drop(events.send((peer.agent.clone(), event)));
    let (mut ports, mut notes) = (Vec::new(), Vec::new());
    for port in rules.ports.iter().map(|port| port.port) {
        if not_listening.contains(&port) {
            notes.push(format!("nothing listens on port {port} of `{}` now", peer.target));
        } else if peer.encrypted.contains(&port) {
            notes.push(format!(
                "port {port} speaks TLS: its requests cannot be read, so none of them goes to the preview"
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
        return emit(AgentEvent::Unproven(Unproven {
            why: notes.join("; "),
            hint: Some("name the ports of the application in `feature.network.incoming.ports`".to_owned()),
        }));
    }
    loop {
        let turn = pace.proofs().acquire().await;
        let of_target = (peer.namespace.as_str(), peer.target.as_str());
        let result =
            canary::prove(address, &ports, &rules, of_target, peer.yields, reads_canary_request).await;
        drop(turn);
        match result {
            Ok(more) => {
                notes.extend(more);
                return emit(AgentEvent::Proven { generation: rules.generation, notes });
            }
            Err(unproven) => emit(AgentEvent::Unproven(unproven)),
        }
        sleep(PROVES_EVERY).await;
    }
}
