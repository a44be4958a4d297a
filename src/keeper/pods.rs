//! The facts about pods that a keeper needs, read from each pod once.

use std::collections::BTreeMap;

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerState, Pod};

use crate::cluster::{Change, messages};

/// The prefix of the names of agents' containers; a number follows.
pub(crate) const AGENT: &str = "mirrord-agent";

/// The grace period of a pod that names none, in seconds.
const GRACE_SECONDS: i64 = 30;

/// One pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) name: String,
    /// The identifier, which a later pod of the same name does not have.
    pub(crate) uid: String,
    pub(crate) resource_version: Option<String>,
    pub(crate) address: Option<IpAddr>,
    /// Whether it is ready, so that Services route to it.
    pub(crate) is_ready: bool,
    /// Whether all its containers are ready, regardless of its readiness gates.
    pub(crate) has_ready_containers: bool,
    pub(crate) life: Life,
    /// Whether it has a node.
    pub(crate) is_scheduled: bool,
    /// The grace period for its end, in seconds.
    pub(crate) grace_seconds: i64,
    /// All agents that were attached to it, oldest first.
    pub(crate) agents: Vec<AgentSeen>,
}

/// The phase of a pod's life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// It is to run on.
    Live,
    /// It was told to end.
    Ending,
    /// All its containers have exited for good.
    Over,
}

/// An agent's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AgentSeen {
    pub(crate) name: String,
    pub(crate) image: Option<String>,
    pub(crate) state: AgentState,
}

/// The state of an agent's container.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AgentState {
    /// It has not started; with the kubelet's reason if that is more than a delay.
    Waiting(Option<String>),
    /// It runs.
    Running,
    /// It has exited: when, with which code, and its termination message or reason.
    Ended { at: Option<Timestamp>, code: i32, why: Option<String> },
}

/// The pods of one kind, as a watch shows them.
#[derive(Debug, Default)]
pub(crate) struct Watched {
    pods: BTreeMap<String, Seen>,
    /// A list under way, which replaces `pods` once it is complete.
    listing: Option<BTreeMap<String, Seen>>,
    /// Whether a complete list was seen: from then on a pod that is not here is gone.
    pub(crate) is_known: bool,
}

// === impl Seen ===

impl Seen {
    /// Reads a pod.
    pub(crate) fn of(pod: &Pod) -> Option<Self> {
        let metadata = &pod.metadata;
        let spec = pod.spec.as_ref()?;
        let status = pod.status.clone().unwrap_or_default();
        let holds = |name: &str| {
            let conditions = status.conditions.iter().flatten();
            conditions.filter(|one| one.type_ == name).any(|one| one.status == "True")
        };
        let known: BTreeMap<&str, Option<&ContainerState>> = status
            .ephemeral_container_statuses
            .iter()
            .flatten()
            .map(|one| (one.name.as_str(), one.state.as_ref()))
            .collect();
        let agents = spec.ephemeral_containers.iter().flatten().filter(|one| one.name.starts_with(AGENT));
        Some(Self {
            name: metadata.name.clone()?,
            uid: metadata.uid.clone()?,
            resource_version: metadata.resource_version.clone(),
            address: status.pod_ip.as_ref().and_then(|address| address.parse().ok()),
            is_ready: holds("Ready"),
            has_ready_containers: holds("ContainersReady"),
            life: if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed")) {
                Life::Over
            } else if metadata.deletion_timestamp.is_some() {
                Life::Ending
            } else {
                Life::Live
            },
            is_scheduled: spec.node_name.is_some(),
            grace_seconds: spec.termination_grace_period_seconds.unwrap_or(GRACE_SECONDS),
            agents: agents
                .map(|one| AgentSeen {
                    name: one.name.clone(),
                    image: one.image.clone(),
                    state: AgentState::of(known.get(one.name.as_str()).copied().flatten()),
                })
                .collect(),
        })
    }

    /// The agent that runs, or will run. An agent with another image than `image`
    /// that cannot be started does not count: it may never start, and a container
    /// cannot be removed from a pod. If both start after all, one of them exits.
    pub(crate) fn agent(&self, image: &str) -> Option<&AgentSeen> {
        self.agents.iter().find(|agent| match agent.state {
            AgentState::Waiting(Some(_)) => agent.image.as_deref() == Some(image),
            AgentState::Waiting(None) | AgentState::Running => true,
            AgentState::Ended { .. } => false,
        })
    }
}

// === impl AgentState ===

impl AgentState {
    fn of(state: Option<&ContainerState>) -> Self {
        let Some(state) = state else { return Self::Waiting(None) };
        if let Some(ended) = &state.terminated {
            return Self::Ended {
                at: ended.finished_at.as_ref().map(|time| time.0),
                code: ended.exit_code,
                why: ended.message.clone().or_else(|| ended.reason.clone()),
            };
        }
        if state.running.is_some() {
            return Self::Running;
        }
        let waiting = state.waiting.clone().unwrap_or_default();
        let reason = waiting.reason.unwrap_or_default();
        // These reasons are no more than a delay.
        let has_trouble = !matches!(reason.as_str(), "" | "ContainerCreating" | "PodInitializing")
            && !waiting.message.as_deref().is_some_and(messages::is_passing);
        Self::Waiting(has_trouble.then(|| match waiting.message {
            Some(message) => format!("{reason}: {message}"),
            None => reason,
        }))
    }
}

// === impl Watched ===

impl Watched {
    /// Takes in one change.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::PodsAnew => self.listing = Some(BTreeMap::new()),
            Change::PodsListed => {
                if let Some(listed) = self.listing.take() {
                    self.pods = listed;
                }
                self.is_known = true;
            }
            Change::Pod(pod) => {
                if let Some(pod) = Seen::of(&pod) {
                    let pods = self.listing.as_mut().unwrap_or(&mut self.pods);
                    pods.insert(pod.name.clone(), pod);
                }
            }
            Change::PodGone(name) => {
                self.pods.remove(&name);
            }
            // A lost watch is tried again; the pods stay until then.
            _ => {}
        }
    }

    /// The pods, by name.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Seen> {
        self.pods.values()
    }
}
