//! The state of an environment that starts, from its objects. Pure: changes come
//! in, a state goes out.

mod events;
mod pod;

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;

pub(crate) use self::events::{is_pulling, last_warning};
pub(crate) use self::pod::{Crash, Failure, PodState, is_being_created, pod_state};
use crate::cluster::{Change, messages};
use crate::session::{Role, Session, makes_preview_pods};

/// The objects of a session, as its watch has shown them.
#[derive(Debug, Default)]
pub(crate) struct Observed {
    root: Option<Job>,
    /// The pods of every role, by name.
    pods: BTreeMap<String, Pod>,
    replica_set: Option<ReplicaSet>,
    root_seen: bool,
    root_gone: bool,
}

/// The state of all preview pods.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodsState {
    /// As many as wanted have all their containers ready, since this instant.
    Ready(Timestamp),
    /// They are not ready yet, for this reason.
    Waiting(String),
    /// They will not become ready.
    Failed(Failure),
}

// === impl Observed ===

impl Observed {
    /// Takes in one change; a lost connection changes nothing.
    pub(crate) fn apply(&mut self, change: Change) {
        match change {
            Change::Root(root) => {
                self.root = Some(*root);
                self.root_seen = true;
            }
            // Objects that still exist follow; those that were deleted meanwhile do not.
            Change::RootAnew => self.root = None,
            Change::RootListed => self.root_gone = self.root_seen && self.root.is_none(),
            Change::PodsAnew => self.pods.clear(),
            Change::RootGone => self.root_gone = true,
            Change::ReplicaSet(set) if makes_preview_pods(&*set) => self.replica_set = Some(*set),
            Change::Pod(pod) => {
                let name = pod.metadata.name.clone().expect("a pod from the API server has a name");
                self.pods.insert(name, *pod);
            }
            Change::PodGone(name) => {
                self.pods.remove(&name);
            }
            Change::ReplicaSet(_) | Change::PodsListed | Change::Lost(_) | Change::Forbidden(_) => {}
        }
    }

    /// The session as its root shows it.
    pub(crate) fn session(&self) -> Option<Session> {
        Session::of(self.root.as_ref()?)
    }

    /// The pods of every role.
    pub(crate) fn pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.values()
    }

    /// The names of all of them.
    pub(crate) fn pod_names(&self) -> Vec<String> {
        self.pods.keys().cloned().collect()
    }

    /// The pods with one role.
    fn with_role(&self, role: Role) -> impl Iterator<Item = &Pod> {
        self.pods().filter(move |pod| Role::of(&pod.metadata) == Some(role))
    }

    /// The keeper's pod; of two the one that lives on.
    pub(crate) fn keeper(&self) -> Option<&Pod> {
        self.with_role(Role::Keeper).min_by_key(|pod| pod.metadata.deletion_timestamp.is_some())
    }

    /// Whether somebody has removed the environment.
    pub(crate) fn is_gone(&self) -> bool {
        self.root_gone || self.session().is_some_and(|session| session.ending)
    }

    /// The names of the preview pods that are ready.
    pub(crate) fn ready_pods(&self) -> Vec<String> {
        let ready = self.living_previews().filter(|pod| matches!(pod_state(pod), PodState::Ready(_)));
        ready.filter_map(|pod| pod.metadata.name.clone()).collect()
    }

    /// The state of the preview pods, of which `wanted` have to be ready.
    pub(crate) fn preview_pods(&self, wanted: u32) -> PodsState {
        let (mut ready, mut since) = (0, Timestamp::MIN);
        let mut waiting = None;
        for pod in self.living_previews() {
            match pod_state(pod) {
                PodState::Failed(failure) => return PodsState::Failed(failure),
                PodState::Waiting(why) => waiting = waiting.or(Some(why)),
                PodState::Ready(at) => {
                    ready += 1;
                    since = since.max(at.unwrap_or(Timestamp::MIN));
                }
            }
        }
        if ready >= wanted {
            return PodsState::Ready(since);
        }
        match self.replica_set.as_ref().and_then(refusal) {
            Some((why, true)) => PodsState::Failed(Failure { why, hint: None, crash: None }),
            Some((why, false)) => PodsState::Waiting(why),
            None => PodsState::Waiting(waiting.unwrap_or_else(|| "the pod is being created".to_owned())),
        }
    }

    fn living_previews(&self) -> impl Iterator<Item = &Pod> {
        self.with_role(Role::Preview).filter(|pod| pod.metadata.deletion_timestamp.is_none())
    }
}

/// The preview pods among a session's pods, and its keeper; of two keepers the
/// one that lives on.
pub(crate) fn by_role(pods: Vec<Pod>) -> (Vec<Pod>, Option<Pod>) {
    let (mut previews, mut keepers) = (Vec::new(), Vec::new());
    for pod in pods {
        match Role::of(&pod.metadata) {
            Some(Role::Preview) => previews.push(pod),
            Some(Role::Keeper) => keepers.push(pod),
            Some(Role::Branch | Role::Splitter) | None => {}
        }
    }
    let keeper = keepers.into_iter().min_by_key(|pod| pod.metadata.deletion_timestamp.is_some());
    (previews, keeper)
}

/// Why a ReplicaSet cannot create its pods, and whether that is final: trying again
/// will not help.
pub(crate) fn refusal(set: &ReplicaSet) -> Option<(String, bool)> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = failure.message.clone().unwrap_or_default();
    Some((uncreated(&message), messages::is_final(&message)))
}

/// The sentence for a pod that Kubernetes refuses to create.
pub(crate) fn uncreated(message: &str) -> String {
    format!("Kubernetes does not create the pod: {message}")
}

#[cfg(test)]
mod tests;
