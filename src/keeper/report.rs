//! The report, from the observed state. Pure.

use super::decide::{MAX_AGENTS, MAX_FAILURES, Observations, Refused, failures};
use super::link::Link;
use super::pods::{AgentState, Life, Seen};
use crate::contract::Report;
use crate::contract::report::Obstacle;
use crate::traffic::Mode;

/// The routing of one pod of the target.
enum PodRouting {
    /// Canaries came to the right sides; with notes on what they could not show.
    Proven(Vec<String>),
    /// The rules are in force and not proven yet: the obstacle and the reason.
    InForce(Option<Obstacle>, String),
    /// The rules are not in force yet, for this reason.
    Waiting(String),
    /// The rules will not be in force unless somebody acts.
    Blocked(Obstacle),
}

// === impl Observations ===

impl Observations {
    /// The report if the agents should have the rules of `generation`.
    pub(crate) fn report(&self, mode: Mode, generation: Option<u64>) -> Report {
        let mut report = Report::new(mode);
        let known = self.targets.is_known && self.previews.is_known;
        let mut notes = Vec::new();
        let serving: Vec<&Seen> =
            self.targets.iter().filter(|pod| pod.is_ready && pod.life == Life::Live).collect();
        report.pods = serving.len();
        for pod in &serving {
            match self.routing(pod, generation) {
                PodRouting::Proven(unproven) => {
                    report.agents += 1;
                    report.proven += 1;
                    notes.extend(unproven);
                }
                PodRouting::InForce(obstacle, words) => {
                    report.agents += 1;
                    report.waiting = report.waiting.or(Some(words));
                    report.hint = report.hint.or_else(|| obstacle.and_then(|obstacle| obstacle.hint));
                }
                PodRouting::Waiting(words) => report.waiting = report.waiting.or(Some(words)),
                PodRouting::Blocked(obstacle) => report.obstacle = report.obstacle.or(Some(obstacle)),
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
            report.waiting = Some("the keeper is listing the pods".to_owned());
        } else if generation.is_none() || self.addresses().is_empty() {
            report.waiting = Some("no preview pod is ready".to_owned());
        } else if serving.is_empty() && is_any {
            report.waiting = Some("none of the target's pods is ready".to_owned());
        } else if serving.is_empty() {
            notes.push("the target has no pods now; each new pod gets an agent".to_owned());
        }
        report.begun = self.has_begun;
        report.generation = generation;
        report.ready = known && report.waiting.is_none() && report.obstacle.is_none();
        notes.sort_unstable();
        notes.dedup();
        report.notes = notes;
        report
    }

    fn routing(&self, pod: &Seen, generation: Option<u64>) -> PodRouting {
        let name = &pod.name;
        let Some(agent) = pod.agent(&self.image) else {
            return self.routing_without(pod);
        };
        match &agent.state {
            AgentState::Waiting(Some(trouble)) => PodRouting::Blocked(
                Obstacle::new(format!("the agent in pod `{name}` cannot be started: {trouble}")).hint(
                    "its image must be one that this cluster can pull: `agent.image`, or `MIRRORD_AGENT_IMAGE`",
                ),
            ),
            AgentState::Waiting(None) => PodRouting::Waiting(format!("the agent in pod `{name}` is starting")),
            _ => match self.links.get(&pod.uid).filter(|link| link.container == agent.name) {
                None => PodRouting::Waiting(format!("the keeper is connecting to the agent in pod `{name}`")),
                Some(link) => link.routing(name, generation),
            },
        }
    }

    /// The routing of a pod without an agent.
    fn routing_without(&self, pod: &Seen) -> PodRouting {
        let name = &pod.name;
        match self.refused.get(&pod.uid) {
            Some(Refused { obstacle, is_passing: false, .. }) => {
                return PodRouting::Blocked(obstacle.clone());
            }
            Some(Refused { obstacle, .. }) => return PodRouting::Waiting(obstacle.why.clone()),
            None => {}
        }
        let replacement =
            format!("no more attempts will be made in this pod; replace it with `kubectl delete pod {name}`");
        match pod.agents.last().map(|agent| &agent.state) {
            _ if pod.agents.len() >= MAX_AGENTS => PodRouting::Blocked(
                Obstacle::new(format!(
                    "pod `{name}` has had {MAX_AGENTS} agents, and each stays in it for as long as it lives"
                ))
                .hint(&replacement),
            ),
            Some(AgentState::Ended { code, why, .. }) if failures(pod) >= MAX_FAILURES => {
                let why = why.clone().unwrap_or_else(|| format!("exit code {code}"));
                PodRouting::Blocked(
                    Obstacle::new(format!(
                        "{MAX_FAILURES} agents in a row have failed in pod `{name}`, the last one with: {why}"
                    ))
                    .hint(&replacement),
                )
            }
            Some(AgentState::Ended { at, code, why: Some(why) })
                if *code != 0 && at.is_some_and(|at| at >= self.began) =>
            {
                PodRouting::Blocked(Obstacle::new(format!("the agent in pod `{name}` has exited: {why}")))
            }
            _ => PodRouting::Waiting(format!("an agent is being attached to pod `{name}`")),
        }
    }
}

// === impl Link ===

impl Link {
    fn routing(&self, pod: &str, generation: Option<u64>) -> PodRouting {
        if let Some(obstacle) = &self.refused {
            return PodRouting::Blocked(obstacle.clone());
        }
        if let Some(obstacle) = &self.suspended {
            let why = format!("pod `{pod}`: {}", obstacle.why);
            return PodRouting::Blocked(Obstacle { why, ..obstacle.clone() });
        }
        match (&self.proven, self.in_force) {
            (Some((proven, notes)), _) if Some(*proven) == generation && generation.is_some() => {
                PodRouting::Proven(notes.clone())
            }
            (_, Some(in_force)) if Some(in_force) == generation => {
                let words = self.unproven.as_ref().map_or_else(
                    || format!("waiting for a test request through pod `{pod}`"),
                    |obstacle| obstacle.why.clone(),
                );
                PodRouting::InForce(self.unproven.clone(), words)
            }
            _ => match &self.contested {
                Some((_, obstacle)) => PodRouting::Waiting(obstacle.why.clone()),
                None => PodRouting::Waiting(format!("the agent in pod `{pod}` is waiting for its rules")),
            },
        }
    }
}
