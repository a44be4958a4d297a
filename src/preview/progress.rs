//! Where an environment stands, read from its objects. Pure: changes go in, a
//! state comes out.

use std::collections::BTreeMap;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{ContainerState, ContainerStatus, Event, Pod};

use crate::cluster::{Change, messages};
use crate::contract::Report;
use crate::session::{Role, Session, makes_preview_pods};

/// What has been seen of a session.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) root: Option<Job>,
    pub(super) pods: BTreeMap<String, Pod>,
    /// The keeper's pod, where requests are routed.
    pub(super) keeper: Option<Pod>,
    replica_set: Option<ReplicaSet>,
    root_seen: bool,
    root_gone: bool,
}

/// Where the whole environment stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// As many pods as wanted have all their containers ready, since then.
    Ready(Vec<String>, Timestamp),
    /// Not yet, and why.
    Waiting(String),
    /// It will not become ready.
    Failed(Failure),
    /// Somebody has removed it.
    Gone,
}

/// Where one pod stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PodState {
    /// All containers ready, since then.
    Ready(Option<Timestamp>),
    /// Not yet, and why.
    Waiting(String),
    /// It will not become ready.
    Failed(Failure),
}

/// Whether a container of the pod waits for something on its node, which may be
/// its image.
pub(super) fn is_being_created(pod: &Pod) -> bool {
    let status = pod.status.as_ref();
    let containers = status.and_then(|status| status.container_statuses.as_ref()).into_iter().flatten();
    let init = status.and_then(|status| status.init_container_statuses.as_ref()).into_iter().flatten();
    init.chain(containers).any(|container| {
        let waiting = container.state.as_ref().and_then(|state| state.waiting.as_ref());
        waiting.is_some_and(|waiting| {
            matches!(waiting.reason.as_deref(), Some("ContainerCreating" | "PodInitializing"))
        })
    })
}

/// Why a preview pod will not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Failure {
    /// In the user's words, Kubernetes' own behind them.
    pub(super) why: String,
    /// The pod and the container whose log tells more.
    pub(super) crashed: Option<(String, String)>,
}

// === impl Observed ===

impl Observed {
    /// Takes in one change; a lost connection changes nothing here.
    pub(super) fn apply(&mut self, change: Change) {
        match change {
            Change::Root(root) => {
                self.root = Some(*root);
                self.root_seen = true;
            }
            // What is still there follows; what was deleted unseen does not.
            Change::RootAnew => self.root = None,
            Change::RootListed => self.root_gone = self.root_seen && self.root.is_none(),
            Change::PodsAnew => {
                self.pods.clear();
                self.keeper = None;
            }
            Change::RootGone => self.root_gone = true,
            Change::ReplicaSet(set) if makes_preview_pods(&*set) => self.replica_set = Some(*set),
            Change::Pod(pod) => match Role::of(&pod.metadata) {
                Some(Role::Preview) => {
                    let name = pod.metadata.name.clone().expect("a pod from the API server has a name");
                    self.pods.insert(name, *pod);
                }
                Some(Role::Keeper) => self.keeper = Some(*pod),
                Some(Role::Branch | Role::Splitter) | None => {}
            },
            Change::PodGone(name) => {
                self.pods.remove(&name);
            }
            Change::ReplicaSet(_) | Change::PodsListed | Change::Lost(_) | Change::Forbidden(_) => {}
        }
    }

    /// What the keeper last said.
    pub(super) fn report(&self) -> Option<Report> {
        Report::of(&Session::of(self.root.as_ref()?)?)
    }

    /// Where the environment stands when `wanted` pods make it ready.
    pub(super) fn state(&self, wanted: usize) -> State {
        let ending = |root: &Job| Session::of(root).is_some_and(|session| session.ending);
        if self.root_gone || self.root.as_ref().is_some_and(ending) {
            return State::Gone;
        }
        let mut ready = Vec::new();
        let mut since = Timestamp::MIN;
        let mut waiting = None;
        for (name, pod) in self.pods.iter().filter(|(_, pod)| pod.metadata.deletion_timestamp.is_none()) {
            match pod_state(pod) {
                PodState::Failed(failure) => return State::Failed(failure),
                PodState::Waiting(why) => waiting = waiting.or(Some(why)),
                PodState::Ready(at) => {
                    ready.push(name.clone());
                    since = since.max(at.unwrap_or(Timestamp::MIN));
                }
            }
        }
        if ready.len() >= wanted {
            return State::Ready(ready, since);
        }
        if let Some((why, certain)) = self.refusal() {
            return if certain { State::Failed(Failure { why, crashed: None }) } else { State::Waiting(why) };
        }
        State::Waiting(waiting.unwrap_or_else(|| "the pod is being created".to_owned()))
    }

    fn refusal(&self) -> Option<(String, bool)> {
        refusal(self.replica_set.as_ref()?)
    }
}

/// The preview pods among a session's pods, and its keeper; of two keepers the
/// one that lives on.
pub(super) fn by_role(pods: Vec<Pod>) -> (Vec<Pod>, Option<Pod>) {
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

/// Why a ReplicaSet cannot make its pods, and whether trying again will not
/// help.
pub(super) fn refusal(set: &ReplicaSet) -> Option<(String, bool)> {
    let conditions = set.status.as_ref()?.conditions.as_ref()?;
    let failure = conditions
        .iter()
        .find(|condition| condition.type_ == "ReplicaFailure" && condition.status == "True")?;
    let message = failure.message.clone().unwrap_or_default();
    Some((uncreated(&message), messages::is_final(&message)))
}

/// That a pod cannot come to be, in the words that `start` has for it.
pub(super) fn uncreated(message: &str) -> String {
    format!("Kubernetes does not create the pod: {message}")
}

/// Where one pod stands.
pub(super) fn pod_state(pod: &Pod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let pod_name = pod.metadata.name.clone().unwrap_or_default();
    let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    if status.phase.as_deref() == Some("Failed") {
        let words = [status.reason.clone(), status.message.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        return PodState::Waiting(format!(
            "pod `{pod_name}` was ended by Kubernetes ({words}), another takes its place"
        ));
    }
    if let Some(ready) = condition("ContainersReady").filter(|condition| condition.status == "True") {
        return PodState::Ready(ready.last_transition_time.as_ref().map(|time| time.0));
    }
    if let Some(unscheduled) = condition("PodScheduled").filter(|condition| condition.status == "False") {
        return PodState::Waiting(format!(
            "no node takes the pod: {}",
            unscheduled.message.clone().unwrap_or_default()
        ));
    }
    let containers =
        status.init_container_statuses.iter().flatten().chain(status.container_statuses.iter().flatten());
    let mut waiting = None;
    for container in containers {
        match container_state(&pod_name, container) {
            Some(PodState::Failed(failure)) => return PodState::Failed(failure),
            Some(PodState::Waiting(why)) => waiting = waiting.or(Some(why)),
            Some(PodState::Ready(_)) | None => {}
        }
    }
    PodState::Waiting(waiting.unwrap_or_else(|| "the pod is being set up on its node".to_owned()))
}

fn container_state(pod: &str, status: &ContainerStatus) -> Option<PodState> {
    let name = &status.name;
    let state = status.state.clone().unwrap_or_default();
    if let Some(waiting) = &state.waiting {
        let reason = waiting.reason.as_deref().unwrap_or_default();
        let message = waiting.message.clone().unwrap_or_default();
        let failed = |why: String| Some(PodState::Failed(Failure { why, crashed: None }));
        return match reason {
            "CrashLoopBackOff" => Some(PodState::Failed(Failure {
                why: format!("container `{name}` crashes: {}", exit(status.last_state.as_ref())),
                crashed: Some((pod.to_owned(), name.clone())),
            })),
            "ErrImagePull" | "ImagePullBackOff" | "RegistryUnavailable" if messages::is_passing(&message) => {
                Some(PodState::Waiting(format!(
                    "image `{}` cannot be pulled for now: {message}",
                    status.image
                )))
            }
            "ErrImagePull"
            | "ImagePullBackOff"
            | "RegistryUnavailable"
            | "InvalidImageName"
            | "ErrImageNeverPull"
            | "ImageInspectError"
            | "SignatureValidationFailed" => {
                failed(format!("image `{}` cannot be pulled: {}", status.image, or_reason(&message, reason)))
            }
            "CreateContainerConfigError" | "CreateContainerError" if messages::is_passing(&message) => {
                Some(PodState::Waiting(format!("container `{name}` cannot be started for now: {message}")))
            }
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PostStartHookError" => {
                failed(format!("container `{name}` cannot be started: {}", or_reason(&message, reason)))
            }
            "PodInitializing" => None,
            _ => Some(PodState::Waiting(format!("container `{name}` is being created"))),
        };
    }
    if state.terminated.as_ref().is_some_and(|terminated| terminated.exit_code != 0) {
        return Some(PodState::Waiting(format!(
            "container `{name}` is started again: {}",
            exit(status.state.as_ref())
        )));
    }
    if state.running.is_some() && !status.ready {
        let restarts = if status.restart_count > 0 {
            format!(", after {} restarts", status.restart_count)
        } else {
            String::new()
        };
        return Some(PodState::Waiting(format!("container `{name}` runs but is not ready{restarts}")));
    }
    None
}

fn exit(state: Option<&ContainerState>) -> String {
    let Some(terminated) = state.and_then(|state| state.terminated.as_ref()) else {
        return "it ended".to_owned();
    };
    let reason = terminated.reason.as_deref().filter(|reason| !matches!(*reason, "Error" | "Completed"));
    let mut words = format!("it ended with exit code {}", terminated.exit_code);
    for more in [reason, terminated.message.as_deref()].into_iter().flatten() {
        words.push_str(&format!(", {}", more.trim()));
    }
    words
}

fn or_reason<'a>(message: &'a str, reason: &'a str) -> &'a str {
    if message.is_empty() { reason } else { message }
}

/// Whether, by its events, an image of any container is being pulled right now.
/// Each container of each pod has its own story, told in whole seconds.
pub(super) fn is_pulling(events: &[Event]) -> bool {
    /// When a pull last began, and when one last was over.
    #[derive(Default)]
    struct Story {
        pulling: Option<Timestamp>,
        over: Option<Timestamp>,
    }
    let mut stories: BTreeMap<_, Story> = BTreeMap::new();
    for event in events {
        let object = &event.involved_object;
        let story = stories.entry((&object.uid, &object.field_path)).or_default();
        let at = event.last_timestamp.as_ref().map(|time| time.0);
        match event.reason.as_deref() {
            Some("Pulling") => story.pulling = story.pulling.max(at),
            Some("Pulled" | "Failed" | "BackOff") => story.over = story.over.max(at),
            _ => {}
        }
    }
    stories.values().any(|story| story.pulling > story.over)
}

/// The last thing Kubernetes complained of.
pub(super) fn last_complaint(events: &[Event]) -> Option<String> {
    let event = events.iter().rev().find(|event| event.type_.as_deref() == Some("Warning"))?;
    event.message.as_deref().map(|message| message.trim().to_owned())
}

#[cfg(test)]
mod tests;
