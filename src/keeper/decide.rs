//! What to do next, and how things stand: functions of what was observed. No
//! clock, no cluster.

use std::collections::BTreeMap;
use std::net::IpAddr;

use jiff::{SignedDuration, Timestamp};

use super::pods::{AGENT, AgentSeen, AgentState, Life, Seen, Watched};
use crate::contract::Report;
use crate::contract::report::Obstacle;
use crate::traffic::{Counts, Mode};

/// The longest pause before another agent is tried in a pod where earlier ones
/// failed: each stays in the pod's description for ever.
const LONGEST_PAUSE: SignedDuration = SignedDuration::from_mins(5);
/// How many may fail in a row: what has failed so often will not work in this
/// pod, and its description has an end.
const MAX_FAILURES: usize = 12;

/// All that is known.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    /// The target's pods.
    pub(crate) targets: Watched,
    /// The preview pods.
    pub(crate) previews: Watched,
    /// What is known of the agents, by their pods' identifiers.
    pub(crate) links: BTreeMap<String, Link>,
    /// Why no agent could be attached, by the pods' identifiers.
    pub(crate) refused: BTreeMap<String, Refused>,
    /// The agents' image.
    pub(crate) image: String,
    /// When this keeper began: what failed before may have been mended since.
    pub(crate) began: Timestamp,
    /// What agents counted that are gone.
    pub(crate) gone: Counts,
    /// Whether a preview pod was ever ready: before, nobody's requests are taken.
    pub(crate) has_begun: bool,
}

/// An attachment that was not taken.
#[derive(Clone, Debug)]
pub(crate) struct Refused {
    pub(crate) obstacle: Obstacle,
    /// Whether another try may well go well.
    pub(crate) is_passing: bool,
    /// When it is due.
    pub(crate) again: Timestamp,
}

/// What is known of one agent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Link {
    /// The agent's container: another's is another agent.
    pub(crate) container: String,
    /// How it captures, once it has spoken.
    pub(crate) method: Option<String>,
    /// The rules in force there.
    pub(crate) in_force: Option<u64>,
    /// The rules that were proven there, and what could not be.
    pub(crate) proven: Option<(u64, Vec<String>)>,
    /// Why they are not.
    pub(crate) unproven: Option<Obstacle>,
    /// Why it takes none.
    pub(crate) refused: Option<Obstacle>,
    /// Since when another session has the requests, and which.
    pub(crate) contested: Option<(Timestamp, Obstacle)>,
    /// What it counted.
    pub(crate) counts: Counts,
    /// Connections that were there before it.
    pub(crate) predating: usize,
    /// Until when not to talk to it again, once the conversation was lost.
    pub(crate) pause: Option<Timestamp>,
    /// Since when conversations are refused for want of rights.
    pub(crate) forbidden: Option<Timestamp>,
    /// Whether the conversation is on.
    pub(crate) is_open: bool,
    /// Whether the agent has said anything in it.
    pub(crate) has_spoken: bool,
    /// Whether it has dropped the session's rules.
    pub(crate) is_withdrawn: bool,
}

/// What to do.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Decision {
    /// Where the preview answers; nothing while it never has.
    pub(crate) preview: Option<Vec<IpAddr>>,
    /// Pods that need an agent, and the name of its container.
    pub(crate) attach: Vec<(Seen, String)>,
    /// Pods whose agents are to be talked to.
    pub(crate) open: Vec<(Seen, String)>,
    /// Identifiers of pods that are gone.
    pub(crate) forget: Vec<String>,
}

// === impl Observed ===

impl Observed {
    /// What to do next.
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
                // It left because there are no rules, and there are none yet: another would, too,
                // and each stays in the pod's description for ever.
                None if decision.preview.is_none() && has_left(pod) => {}
                None => decision.attach.push((pod.clone(), format!("{AGENT}-{}", pod.agents.len() + 1))),
                // Before Kubernetes says that it runs: that takes it a while.
                Some(AgentSeen { name, state: AgentState::Running | AgentState::Waiting(None), .. }) => {
                    let link = self.links.get(&pod.uid);
                    let is_free =
                        link.is_none_or(|link| !link.is_open && link.pause.is_none_or(|until| until <= now));
                    if is_free && pod.is_scheduled {
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

    /// Where the preview answers now.
    pub(crate) fn addresses(&self) -> Vec<IpAddr> {
        let serving = self.previews.iter().filter(|pod| pod.has_ready_containers && pod.life == Life::Live);
        serving.filter_map(|pod| pod.address).collect()
    }

    /// Whether it is too early for another agent.
    fn is_paused(&self, pod: &Seen, now: Timestamp) -> bool {
        if self.refused.get(&pod.uid).is_some_and(|refused| refused.again > now) {
            return true;
        }
        let failures = failures(pod);
        if failures >= MAX_FAILURES {
            return true;
        }
        let Some(AgentSeen { state: AgentState::Ended { at: Some(at), .. }, .. }) = pod.agents.last() else {
            return false;
        };
        // The first failure costs nothing: an agent may be killed for its memory.
        let exponent = u32::try_from(failures).unwrap_or(u32::MAX).saturating_sub(1).min(8);
        let pause = SignedDuration::from_secs(2_i64.pow(exponent) - 1).min(LONGEST_PAUSE);
        failures > 0 && now.duration_since(*at) < pause
    }

    /// How things stand, when `generation` is what is wanted of the agents.
    pub(crate) fn report(&self, mode: Mode, generation: Option<u64>) -> Report {
        let mut report = Report::new(mode);
        let known = self.targets.is_known && self.previews.is_known;
        let mut notes = Vec::new();
        let serving: Vec<&Seen> =
            self.targets.iter().filter(|pod| pod.is_ready && pod.life == Life::Live).collect();
        report.pods = serving.len();
        for pod in &serving {
            match self.standing(pod, generation) {
                Standing::Proven(unproven) => {
                    report.agents += 1;
                    report.proven += 1;
                    notes.extend(unproven);
                }
                Standing::InForce(obstacle, words) => {
                    report.agents += 1;
                    report.waiting = report.waiting.or(Some(words));
                    report.hint = report.hint.or_else(|| obstacle.and_then(|obstacle| obstacle.hint));
                }
                Standing::Waiting(words) => report.waiting = report.waiting.or(Some(words)),
                Standing::Blocked(obstacle) => report.obstacle = report.obstacle.or(Some(obstacle)),
            }
        }
        report.gone = self.gone;
        report.counts = self.gone;
        for link in self.links.values() {
            report.counts = report.counts.and(link.counts);
            report.predating += link.predating;
            report.methods.extend(link.method.clone());
        }
        report.methods.sort_unstable();
        report.methods.dedup();
        let is_any = self.targets.iter().any(|pod| pod.life == Life::Live);
        if !known {
            report.waiting = Some("the keeper looks at the pods".to_owned());
        } else if generation.is_none() || self.addresses().is_empty() {
            report.waiting = Some("no preview pod is ready".to_owned());
        } else if serving.is_empty() && is_any {
            report.waiting = Some("none of the target's pods is ready".to_owned());
        } else if serving.is_empty() {
            notes.push("the target has no pods now: each gets its agent when it comes".to_owned());
        }
        report.begun = self.has_begun;
        report.ready = known && report.waiting.is_none() && report.obstacle.is_none();
        notes.sort_unstable();
        notes.dedup();
        report.notes = notes;
        report
    }

    fn standing(&self, pod: &Seen, generation: Option<u64>) -> Standing {
        let name = &pod.name;
        let Some(agent) = pod.agent(&self.image) else {
            return self.standing_without(pod);
        };
        match &agent.state {
            AgentState::Waiting(Some(trouble)) => Standing::Blocked(
                Obstacle::new(format!("the agent in pod `{name}` cannot be started: {trouble}")).hint(
                    "its image must be one that this cluster can pull: `agent.image`, or `MIRRORD_AGENT_IMAGE`",
                ),
            ),
            AgentState::Waiting(None) => Standing::Waiting(format!("the agent in pod `{name}` is being started")),
            _ => match self.links.get(&pod.uid).filter(|link| link.container == agent.name) {
                None => Standing::Waiting(format!("the agent in pod `{name}` is asked")),
                Some(link) => link.standing(name, generation),
            },
        }
    }

    /// How it stands with a pod that has no agent.
    fn standing_without(&self, pod: &Seen) -> Standing {
        let name = &pod.name;
        match self.refused.get(&pod.uid) {
            Some(Refused { obstacle, is_passing: false, .. }) => return Standing::Blocked(obstacle.clone()),
            Some(Refused { obstacle, .. }) => return Standing::Waiting(obstacle.why.clone()),
            None => {}
        }
        match pod.agents.last().map(|agent| &agent.state) {
            Some(AgentState::Ended { code, why, .. }) if failures(pod) >= MAX_FAILURES => {
                let why = why.clone().unwrap_or_else(|| format!("exit code {code}"));
                Standing::Blocked(
                    Obstacle::new(format!(
                        "{MAX_FAILURES} agents in a row have failed in pod `{name}`, the last with: {why}"
                    ))
                    .hint(&format!(
                        "it gets no more: `kubectl delete pod {name}` has another take its place"
                    )),
                )
            }
            Some(AgentState::Ended { at, code, why: Some(why) })
                if *code != 0 && at.is_some_and(|at| at >= self.began) =>
            {
                Standing::Blocked(Obstacle::new(format!("the agent in pod `{name}` has ended: {why}")))
            }
            _ => Standing::Waiting(format!("pod `{name}` gets an agent")),
        }
    }
}

/// Whether the last of a pod's agents has left of its own accord.
fn has_left(pod: &Seen) -> bool {
    matches!(pod.agents.last(), Some(AgentSeen { state: AgentState::Ended { code: 0, .. }, .. }))
}

/// How many of a pod's agents have failed in a row, the last included.
fn failures(pod: &Seen) -> usize {
    let failed = |agent: &&AgentSeen| matches!(agent.state, AgentState::Ended { code, .. } if code != 0);
    pod.agents.iter().rev().take_while(failed).count()
}

/// How it stands with one pod of the target.
enum Standing {
    /// Requests were seen to go where they should.
    Proven(Vec<String>),
    /// The rules are in force; not proven yet, and why.
    InForce(Option<Obstacle>, String),
    /// Not yet.
    Waiting(String),
    /// It will not be by itself.
    Blocked(Obstacle),
}

// === impl Link ===

impl Link {
    fn standing(&self, pod: &str, generation: Option<u64>) -> Standing {
        if let Some(obstacle) = &self.refused {
            return Standing::Blocked(obstacle.clone());
        }
        match (&self.proven, self.in_force) {
            (Some((proven, notes)), _) if Some(*proven) == generation && generation.is_some() => {
                Standing::Proven(notes.clone())
            }
            (_, Some(in_force)) if Some(in_force) == generation => {
                let words = self.unproven.as_ref().map_or_else(
                    || format!("a request through pod `{pod}` is awaited"),
                    |obstacle| obstacle.why.clone(),
                );
                Standing::InForce(self.unproven.clone(), words)
            }
            _ => match &self.contested {
                Some((_, obstacle)) => Standing::Waiting(obstacle.why.clone()),
                None => Standing::Waiting(format!("the agent in pod `{pod}` gets its rules")),
            },
        }
    }
}

#[cfg(test)]
mod tests;
