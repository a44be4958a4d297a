//! The state of one pod, from its status. Pure.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStateTerminated, ContainerStatus, Pod};

use crate::cluster::messages;

/// What to check where an image cannot be pulled.
const IMAGE_HINT: &str = "check the image's name, and that the target's pull secrets reach its registry";

/// The state of one pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PodState {
    /// All its containers are ready, since this instant where it is known.
    Ready(Option<Timestamp>),
    /// It is not ready yet, for this reason.
    Waiting(String),
    /// It will not become ready.
    Failed(Failure),
}

/// Why a pod will not become ready.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The reason, with Kubernetes' own words at the end.
    pub(crate) why: String,
    /// One thing to check.
    pub(crate) hint: Option<&'static str>,
    /// The crash, if a container crashed.
    pub(crate) crash: Option<Crash>,
}

/// A container that crashed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Crash {
    /// The pod.
    pub(crate) pod: String,
    /// The container, whose log tells more.
    pub(crate) container: String,
    /// The reason without the container's own message, which may be the end of its log.
    pub(crate) brief: String,
}

/// Whether a container of the pod waits for something on its node, which may be
/// its image.
pub(crate) fn is_being_created(pod: &Pod) -> bool {
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

/// The state of one pod, with Kubernetes' words behind ours.
pub(crate) fn pod_state(pod: &Pod) -> PodState {
    let status = pod.status.clone().unwrap_or_default();
    let pod_name = pod.metadata.name.clone().expect("a pod from the API server has a name");
    let condition = |name: &str| status.conditions.iter().flatten().find(|condition| condition.type_ == name);
    if status.phase.as_deref() == Some("Failed") {
        let words = [status.reason.clone(), status.message.clone()]
            .into_iter()
            .flatten()
            .collect::<Vec<_>>()
            .join(": ");
        return PodState::Waiting(format!(
            "pod `{pod_name}` was ended by Kubernetes ({words}), and will be replaced"
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
        let failed = |why: String, hint| Some(PodState::Failed(Failure { why, hint, crash: None }));
        return match reason {
            "CrashLoopBackOff" => {
                let last = status.last_state.as_ref().and_then(|state| state.terminated.as_ref());
                let brief = format!("container `{name}` crashes: {}", exit(last));
                Some(PodState::Failed(Failure {
                    why: brief.clone() + &message_of(last),
                    hint: None,
                    crash: Some(Crash { pod: pod.to_owned(), container: name.clone(), brief }),
                }))
            }
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
                let why =
                    format!("image `{}` cannot be pulled: {}", status.image, or_reason(&message, reason));
                failed(why, Some(IMAGE_HINT))
            }
            "CreateContainerConfigError" | "CreateContainerError" if messages::is_passing(&message) => {
                Some(PodState::Waiting(format!("container `{name}` cannot be started for now: {message}")))
            }
            "CreateContainerConfigError"
            | "CreateContainerError"
            | "RunContainerError"
            | "PostStartHookError" => {
                failed(format!("container `{name}` cannot be started: {}", or_reason(&message, reason)), None)
            }
            "PodInitializing" => None,
            _ => Some(PodState::Waiting(format!("container `{name}` is being created"))),
        };
    }
    if let Some(terminated) = state.terminated.as_ref().filter(|terminated| terminated.exit_code != 0) {
        return Some(PodState::Waiting(format!(
            "container `{name}` is started again: {}{}",
            exit(Some(terminated)),
            message_of(Some(terminated))
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

fn exit(terminated: Option<&ContainerStateTerminated>) -> String {
    let Some(terminated) = terminated else { return "it ended".to_owned() };
    let mut words = format!("it ended with exit code {}", terminated.exit_code);
    if let Some(reason) = terminated.reason.as_deref()
        && !matches!(reason, "Error" | "Completed")
    {
        words.push_str(&format!(", {}", reason.trim()));
    }
    words
}

/// The message that a container left, behind a comma.
fn message_of(terminated: Option<&ContainerStateTerminated>) -> String {
    let message = terminated.and_then(|terminated| terminated.message.as_deref());
    message.map(|message| format!(", {}", message.trim())).unwrap_or_default()
}

fn or_reason<'a>(message: &'a str, reason: &'a str) -> &'a str {
    if message.is_empty() { reason } else { message }
}
