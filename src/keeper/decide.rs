//! The next actions, from the observed state. Pure: the time comes in.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::link::{LONG_PAUSE, Link, SHORT_PAUSE, later};
use super::pods::{AGENT, AgentSeen, AgentState, Life, Seen, Watched};
use crate::contract::report::Obstacle;
use crate::traffic::Counts;

/// The longest pause before another agent is attached to a pod where earlier agents
/// failed: each stays in the pod's specification for good.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How many agents may fail in a row in one pod: a further one would fail, too, and
/// the size of the pod's specification is limited.
pub(super) const MAX_FAILURES: usize = 12;
/// How many agents a pod may have had. Kubernetes keeps each in the pod's specification
/// and status, and on the node, for as long as the pod lives.
pub(super) const MAX_AGENTS: usize = 50;

/// The observed state.
#[derive(Debug, Default)]
pub(crate) struct Observations {
    /// The target's pods.
    pub(crate) targets: Watched,
    /// The preview pods.
    pub(crate) previews: Watched,
    /// The agents, by their pods' identifiers.
    pub(crate) links: BTreeMap<String, Link>,
    /// Refused attachments, by their pods' identifiers.
    pub(crate) refused: BTreeMap<String, Refused>,
    /// The agents' image.
    pub(crate) image: String,
    /// The start of this keeper: the cause of an earlier failure may be gone.
    pub(crate) began: Timestamp,
    /// The counters of agents that are gone.
    pub(crate) gone: Counts,
    /// Whether a preview pod was ever ready: no rules are sent before.
    pub(crate) has_begun: bool,
}

/// An attachment that the API server refused.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) obstacle: Obstacle,
    /// Whether another try may succeed.
    pub(crate) is_passing: bool,
    /// The time of the next try.
    pub(crate) again: Timestamp,
}

/// The next actions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// The addresses of the preview for the rules; `None` as long as it was never ready.
    pub(crate) preview: Option<Vec<IpAddr>>,
    /// Pods that need an agent, and the name of its container.
    pub(crate) attach: Vec<(Seen, String)>,
    /// Pods with an agent to converse with, and the name of its container.
    pub(crate) open: Vec<(Seen, String)>,
    /// Identifiers of pods that are gone.
    pub(crate) forget: Vec<String>,
}

// === impl Observations ===

impl Observations {
    /// The next actions at `now`.
    pub(crate) fn decide(&self, now: Timestamp) -> Decision {
        let mut decision = Decision::default();
        if !self.targets.is_known || !self.previews.is_known {
            return decision;
        }
        let preview = self.addresses();
        if self.has_begun || !preview.is_empty() {
            decision.preview = Some(preview);
        }
        for pod in self.targets.iter().filter(|pod| pod.life != Life::Over) {
            match pod.agent(&self.image) {
                // A pod that ends takes no new container.
                None if pod.life == Life::Ending || self.is_paused(pod, now) => {}
                // The last agent left because it had no rules. There are none yet, so another
                // one would leave, too, and each stays in the pod's specification for good.
                None if decision.preview.is_none() && has_left(pod) => {}
                None => decision.attach.push((pod.clone(), format!("{AGENT}-{}", pod.agents.len() + 1))),
                // Also before the kubelet reports that it runs, which takes a while.
                Some(AgentSeen { name, state: AgentState::Running | AgentState::Waiting(None), .. }) => {
                    // A conversation with an earlier agent may go on trying to reach it for a while.
                    let is_free = |link: &Link| link.container != *name || link.is_free(now);
                    if pod.is_scheduled && self.links.get(&pod.uid).is_none_or(is_free) {
                        decision.open.push((pod.clone(), name.clone()));
                    }
                }
                Some(_) => {}
            }
        }
        let is_there =
            |uid: &String| self.targets.iter().any(|pod| pod.uid == *uid && pod.life != Life::Over);
        decision.forget =
            self.links.keys().chain(self.refused.keys()).filter(|uid| !is_there(uid)).cloned().collect();
        decision.forget.dedup();
        decision
    }

    /// The addresses of the preview pods that are ready.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let serving = self.previews.iter().filter(|pod| pod.has_ready_containers && pod.life == Life::Live);
        serving.filter_map(|pod| pod.address).collect()
    }

    /// Whether it is too early to attach another agent.
    fn is_paused(&self, pod: &Seen, now: Timestamp) -> bool {
        if self.refused.get(&pod.uid).is_some_and(|refused| refused.again > now) {
            return true;
        }
        let failures = failures(pod);
        if failures >= MAX_FAILURES || pod.agents.len() >= MAX_AGENTS {
            return true;
        }
        let Some(AgentSeen { state: AgentState::Ended { at: Some(at), .. }, .. }) = pod.agents.last() else {
            return false;
        };
        // No pause after the first failure: an agent may be killed when memory runs out.
        let exponent = u32::try_from(failures).unwrap_or(u32::MAX).saturating_sub(1).min(8);
        let pause = SignedDuration::from_secs(2_i64.pow(exponent) - 1).min(LONGEST_PAUSE);
        failures > 0 && now.duration_since(*at) < pause
    }

    /// Notes that the API server accepted an agent for the pod `uid`.
    pub(crate) fn attached(&mut self, uid: &str) {
        self.refused.remove(uid);
    }

    /// Notes that the API server refused an agent for the pod `uid`. A first refusal for
    /// lack of rights is passing: rights that were made a moment ago may not be known to
    /// every API server yet.
    pub(crate) fn attachment_refused(
        &mut self,
        uid: String,
        obstacle: Obstacle,
        is_passing: bool,
        now: Timestamp,
    ) {
        let is_first = obstacle.is_forbidden && !self.refused.contains_key(&uid);
        let pause = if is_first { SHORT_PAUSE } else { LONG_PAUSE };
        let is_passing = is_first || is_passing;
        self.refused.insert(uid, Refused { obstacle, is_passing, again: later(now, pause) });
    }

    /// Forgets the pod `uid`, and keeps the counters of its agent.
    pub(crate) fn forget(&mut self, uid: &str) {
        self.refused.remove(uid);
        self.forget_link(uid);
    }

    /// Forgets the agent of the pod `uid`, and keeps its counters.
    pub(crate) fn forget_link(&mut self, uid: &str) {
        if let Some(link) = self.links.remove(uid) {
            self.gone = self.gone.and(link.counts);
        }
    }
}

/// Whether the last of a pod's agents has exited with 0: it had no rules.
fn has_left(pod: &Seen) -> bool {
    matches!(pod.agents.last(), Some(AgentSeen { state: AgentState::Ended { code: 0, .. }, .. }))
}

/// How many of a pod's agents have failed in a row, the last one included.
pub(super) fn failures(pod: &Seen) -> usize {
    let failed = |agent: &&AgentSeen| matches!(agent.state, AgentState::Ended { code, .. } if code != 0);
    pod.agents.iter().rev().take_while(failed).count()
}

#[cfg(test)]
mod tests;
