//! States of objects as Kubernetes writes them.

use serde_json::{Value, json};

use k8s_openapi::api::core::v1::Event;

use super::*;
use crate::session::ROLE;

fn pod(status: &Value) -> Box<Pod> {
    Box::new(serde_json::from_value(json!({"metadata": {"name": "p"}, "status": status})).unwrap())
}

fn state(status: &Value) -> PodsState {
    let mut observed = Observed::default();
    observed.apply(Change::Pod(pod(status)));
    observed.preview_pods(1)
}

fn container(state: &Value) -> Value {
    json!({"containerStatuses": [{
        "name": "web", "image": "shop:1", "imageID": "", "ready": false, "restartCount": 2, "state": state,
        "lastState": {"terminated": {"exitCode": 137, "reason": "OOMKilled"}},
    }]})
}

fn waiting(reason: &str, message: &str) -> PodsState {
    state(&container(&json!({"waiting": {"reason": reason, "message": message}})))
}

#[test]
fn failures_and_delays_are_told_apart() {
    let cases: Vec<(PodsState, bool, &str)> = vec![
        (waiting("ErrImagePull", "not found"), true, "image `shop:1` cannot be pulled: not found"),
        (
            waiting("ImagePullBackOff", "Back-off: toomanyrequests: limit"),
            false,
            "image `shop:1` cannot be pulled for now: Back-off: toomanyrequests: limit",
        ),
        (
            waiting("ErrImagePull", "net/http: TLS handshake timeout"),
            false,
            "image `shop:1` cannot be pulled for now: net/http: TLS handshake timeout",
        ),
        (
            waiting("ErrImagePull", "timeout-service:pr-429: not found"),
            true,
            "image `shop:1` cannot be pulled: timeout-service:pr-429: not found",
        ),
        (
            waiting(
                "CreateContainerConfigError",
                "failed to sync configmap cache: timed out waiting for the condition",
            ),
            false,
            "container `web` cannot be started for now: failed to sync configmap cache: timed out waiting for the condition",
        ),
        (waiting("InvalidImageName", ""), true, "image `shop:1` cannot be pulled: InvalidImageName"),
        (
            waiting("CrashLoopBackOff", "back-off 10s"),
            true,
            "container `web` crashes: it ended with exit code 137, OOMKilled",
        ),
        (
            waiting("CreateContainerConfigError", "secret \"x\" not found"),
            true,
            "container `web` cannot be started: secret \"x\" not found",
        ),
        (waiting("ContainerCreating", ""), false, "container `web` is being created"),
        (
            state(&container(&json!({"terminated": {"exitCode": 1, "reason": "Error"}}))),
            false,
            "container `web` is started again: it ended with exit code 1",
        ),
        (
            state(&container(&json!({"running": {}}))),
            false,
            "container `web` runs but is not ready, after 2 restarts",
        ),
        (
            state(
                &json!({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes are available"}]}),
            ),
            false,
            "no node takes the pod: 0/3 nodes are available",
        ),
        (
            state(&json!({"phase": "Failed", "reason": "Evicted", "message": "The node was low on memory."})),
            false,
            "pod `p` was ended by Kubernetes (Evicted: The node was low on memory.), and will be replaced",
        ),
    ];
    for (state, failed, words) in cases {
        match state {
            PodsState::Failed(failure) => assert_eq!((failed, failure.why.as_str()), (true, words)),
            PodsState::Waiting(why) => assert_eq!((failed, why.as_str()), (false, words)),
            PodsState::Ready(since) => panic!("ready since {since}"),
        }
    }
}

/// A ready pod with this role.
fn ready_pod(name: &str, role: Option<Role>) -> Pod {
    let mut pod = *pod(&json!({"conditions": [{"type": "ContainersReady", "status": "True"}]}));
    pod.metadata.name = Some(name.to_owned());
    pod.metadata.labels = role.map(|role| [(ROLE.to_owned(), role.as_str().to_owned())].into());
    pod
}

#[test]
fn only_an_image_that_cannot_be_pulled_has_the_hint_about_images() {
    let hint = |state| match state {
        PodsState::Failed(failure) => failure.hint,
        other => panic!("{other:?}"),
    };
    assert!(hint(waiting("ErrImagePull", "not found")).is_some());
    // A refusal may begin with the same word.
    assert_eq!(hint(waiting("CreateContainerConfigError", "image has non-numeric user")), None);
}

#[test]
fn only_preview_pods_count_while_start_waits() {
    for role in [Role::Keeper, Role::Branch, Role::Splitter] {
        let mut observed = Observed::default();
        observed.apply(Change::Pod(Box::new(ready_pod("other", Some(role)))));
        assert!(matches!(observed.preview_pods(1), PodsState::Waiting(_)), "{role:?}");
        observed.apply(Change::PodGone("other".into()));
        let name = format!("{}-deployment-shop-1a2b3c4d", role.name_prefix());
        let refused = json!({"metadata": {"name": name}, "status": {"replicas": 0, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "exceeded quota: small"},
        ]}});
        observed.apply(Change::ReplicaSet(serde_json::from_value(refused).unwrap()));
        assert!(matches!(observed.preview_pods(1), PodsState::Waiting(_)), "{role:?}");
        observed.apply(Change::Pod(Box::new(ready_pod("preview", Some(Role::Preview)))));
        assert!(matches!(observed.preview_pods(1), PodsState::Ready(..)), "{role:?}");
    }
}

#[test]
fn status_counts_preview_pods_only_and_those_of_older_versions() {
    let roles = [None, Some(Role::Preview), Some(Role::Keeper), Some(Role::Branch), Some(Role::Splitter)];
    let mut pods: Vec<Pod> = roles.map(|role| ready_pod(&format!("{role:?}"), role)).into();
    let mut unknown = ready_pod("unknown", None);
    unknown.metadata.labels = Some([(ROLE.to_owned(), "later".to_owned())].into());
    pods.push(unknown);
    let (previews, keeper) = by_role(pods);
    let names: Vec<_> = previews.into_iter().filter_map(|pod| pod.metadata.name).collect();
    assert_eq!(names, ["None", "Some(Preview)"]);
    assert_eq!(keeper.and_then(|pod| pod.metadata.name).as_deref(), Some("Some(Keeper)"));
}

#[test]
fn an_environment_is_ready_since_its_last_pod_is_ready() {
    let ready = |name: &str, at: &str| {
        let mut pod = pod(&json!({"conditions": [
            {"type": "ContainersReady", "status": "True", "lastTransitionTime": at},
            {"type": "Ready", "status": "False"},
        ]}));
        pod.metadata.name = Some(name.to_owned());
        Change::Pod(pod)
    };
    let mut observed = Observed::default();
    observed.apply(ready("a", "2026-01-01T00:00:07Z"));
    assert!(matches!(observed.preview_pods(2), PodsState::Waiting(_)));
    observed.apply(ready("b", "2026-01-01T00:00:05Z"));
    let at = "2026-01-01T00:00:07Z".parse().unwrap();
    assert_eq!(observed.preview_pods(2), PodsState::Ready(at));
    assert_eq!(observed.ready_pods(), ["a", "b"]);
    observed.apply(Change::PodGone("a".into()));
    assert!(matches!(observed.preview_pods(2), PodsState::Waiting(_)));
    observed.apply(Change::RootGone);
    assert!(observed.is_gone());
}

#[test]
fn a_refused_pod_fails_at_once_where_trying_again_does_not_help() {
    let refused = |message: &str| {
        let mut observed = Observed::default();
        let set = json!({"metadata": {"name": "preview-session-deployment-shop-1a2b3c4d"}, "status": {"replicas": 0, "conditions": [
            {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message},
        ]}});
        observed.apply(Change::ReplicaSet(serde_json::from_value(set).unwrap()));
        matches!(observed.preview_pods(1), PodsState::Failed(_))
    };
    assert!(refused("pods \"p\" is forbidden: exceeded quota: small"));
    assert!(refused("admission webhook \"policy.test\" denied the request: no"));
    assert!(!refused(
        "pods \"p\" is forbidden: error looking up service account a/default: serviceaccount \"default\" not found"
    ));
    assert!(!refused("Internal error occurred: failed calling webhook \"w\": context deadline exceeded"));
}

#[test]
fn an_image_is_being_pulled_from_its_pulling_event_to_the_next_event_about_it() {
    let event = |reason: &str, second: u8| -> Event {
        serde_json::from_value(json!({
            "metadata": {}, "involvedObject": {}, "reason": reason, "lastTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        }))
        .unwrap()
    };
    assert!(!is_pulling(&[]));
    assert!(is_pulling(&[event("Scheduled", 1), event("Pulling", 2)]));
    assert!(!is_pulling(&[event("Pulling", 2), event("Pulled", 9)]));
    assert!(!is_pulling(&[event("Pulling", 2), event("Failed", 3)]));
    assert!(is_pulling(&[event("Pulling", 2), event("Failed", 3), event("Pulling", 14)]));
    // The sidecar's image is there already; the app's is not.
    let of = |container: &str, mut event: Event| {
        event.involved_object.field_path = Some(format!("spec.containers{{{container}}}"));
        event
    };
    assert!(is_pulling(&[of("app", event("Pulling", 2)), of("sidecar", event("Pulled", 2))]));
}

#[test]
fn objects_that_were_deleted_while_the_watch_was_lost_are_gone() {
    let ready = || pod(&json!({"conditions": [{"type": "ContainersReady", "status": "True"}]}));
    let mut observed = Observed::default();
    observed.apply(Change::Pod(ready()));
    assert!(matches!(observed.preview_pods(1), PodsState::Ready(..)));
    observed.apply(Change::PodsAnew);
    assert!(matches!(observed.preview_pods(1), PodsState::Waiting(_)));

    let root = || Change::Root(Box::default());
    observed.apply(Change::RootListed);
    assert!(!observed.is_gone(), "the root has not been seen yet");
    observed.apply(root());
    observed.apply(Change::RootAnew);
    observed.apply(root());
    observed.apply(Change::RootListed);
    assert!(!observed.is_gone());
    observed.apply(Change::RootAnew);
    observed.apply(Change::RootListed);
    assert!(observed.is_gone());
}
