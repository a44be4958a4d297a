use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::*;
use crate::cluster::Change;
use crate::cluster::fake::{Answer, FakeApi};
use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET, TRAFFIC};

const ATTACHMENT: &str = "/api/v1/namespaces/shop/pods/cart-1/ephemeralcontainers";

fn root(change: &Value) -> Value {
    let mut root = json!({
        "metadata": {
            "name": "root", "namespace": "shop", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {MANAGED_BY: MIRRORD, SESSION: "s1", KEY: "k"}, "annotations": {TARGET: "deployment/cart"},
        },
        "spec": {"template": {}},
    });
    for (field, value) in change.as_object().unwrap() {
        root["spec"][field] = value.clone();
    }
    root
}

fn actor(api: &FakeApi) -> Actor {
    let assignment = serde_json::from_value(json!({
        "session": "s1", "key": "k", "namespace": "shop", "root": "root", "target": "deployment/cart",
        "pods": {"labelled": "app=cart"}, "mode": "steal", "ports": [{"port": 80}], "filter": {"baggage": "k"},
        "agent": {"image": "mirrord:1"},
    }));
    let root: Job = serde_json::from_value(root(&json!({}))).unwrap();
    let session = Session::of(&root).unwrap();
    Actor::new(api.cluster(), assignment.unwrap(), &session, Duration::from_mins(1))
}

/// One pod of the target without an agent, and no preview pod.
fn show_pod(actor: &mut Actor, version: &str) {
    let pod = json!({
        "metadata": {"name": "cart-1", "uid": "u1", "resourceVersion": version},
        "spec": {"containers": [], "nodeName": "node"},
    });
    let pod = Change::Pod(Box::new(serde_json::from_value(pod).unwrap()));
    for change in [Change::PodsAnew, pod, Change::PodsListed] {
        actor.observed.targets.apply(change);
    }
    for change in [Change::PodsAnew, Change::PodsListed] {
        actor.observed.previews.apply(change);
    }
}

/// Acts, and takes in the results of the attachment and of the report's write.
async fn act(actor: &mut Actor) {
    actor.act(Timestamp::now());
    while timeout(Duration::from_millis(100), actor.receive()).await.is_ok() {}
}

fn attachments(api: &FakeApi) -> usize {
    api.asked().iter().filter(|asked| asked.path == ATTACHMENT).count()
}

/// An API server that gives this answer to attachments, and takes everything else.
fn attaching(answer: Answer) -> FakeApi {
    FakeApi::by(move |asked| {
        Some(if asked.path == ATTACHMENT { answer.clone() } else { Answer::of(root(&json!({}))) })
    })
}

#[tokio::test(start_paused = true)]
async fn an_accepted_agent_is_waited_for_and_attached_again_only_if_the_watch_does_not_show_it() {
    let api = attaching(Answer::of(json!({"metadata": {"name": "cart-1"}})));
    let mut actor = actor(&api);
    show_pod(&mut actor, "1");
    act(&mut actor).await;
    act(&mut actor).await;
    assert_eq!(attachments(&api), 1);
    tokio::time::advance(SHOWN_WITHIN).await;
    act(&mut actor).await;
    assert_eq!(attachments(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn a_pod_that_has_changed_is_attached_to_once_the_watch_shows_the_change() {
    let api = attaching(Answer::refusal(409, "the object has been modified"));
    let mut actor = actor(&api);
    show_pod(&mut actor, "1");
    act(&mut actor).await;
    act(&mut actor).await;
    assert_eq!(attachments(&api), 1);
    assert!(actor.observed.refused.is_empty());
    show_pod(&mut actor, "2");
    act(&mut actor).await;
    assert_eq!(attachments(&api), 2);
}

#[tokio::test(start_paused = true)]
async fn a_refused_agent_is_an_obstacle_that_the_report_shows() {
    let api =
        attaching(Answer::refusal(403, "pods \"cart-1\" is forbidden: violates PodSecurity \"baseline\""));
    let mut actor = actor(&api);
    show_pod(&mut actor, "1");
    act(&mut actor).await;
    let refused = &actor.observed.refused["u1"];
    assert!(refused.is_passing, "rights may not be known yet");
    assert!(refused.obstacle.why.starts_with("no agent can be attached to pod `cart-1`"));
    let reports = api.asked().into_iter().filter_map(|asked| {
        asked.body.pointer("/metadata/annotations").and_then(|all| all[TRAFFIC].as_str()).map(str::to_owned)
    });
    assert!(reports.count() >= 1);
}

#[tokio::test]
async fn a_keeper_tells_the_end_of_its_environment_from_its_own() {
    for (answer, is_over) in [
        (Some(Answer::of(root(&json!({})))), false),
        (Some(Answer::of(root(&json!({"activeDeadlineSeconds": 1})))), true),
        (Some(Answer::of(root(&json!({"activeDeadlineSeconds": 3600})))), true),
        (Some(Answer::of(root(&json!({"activeDeadlineSeconds": 1_000_000_000})))), false),
        (Some(Answer::refusal(404, "jobs.batch \"root\" not found")), true),
        (Some(Answer::refusal(403, "jobs.batch \"root\" is forbidden")), true),
        (Some(Answer::refusal(500, "etcd is down")), false),
        (None, false),
    ] {
        let api = FakeApi::by({
            let answer = answer.clone();
            move |_| answer.clone()
        });
        assert_eq!(actor(&api).is_over().await, is_over, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_generation_of_rules_grows_only_with_another_address_of_the_preview() {
    let api = attaching(Answer::of(json!({"metadata": {}})));
    let mut actor = actor(&api);
    let mut wanted = actor.wanted.subscribe();
    let generation = |wanted: &Wanted| match wanted {
        Wanted::Rules(rules) => Some(rules.generation),
        Wanted::Nothing | Wanted::Withdrawal => None,
    };
    let (one, two) = ([10, 0, 0, 1].into(), [10, 0, 0, 2].into());
    actor.send_rules(vec![two, one]);
    let first = generation(&wanted.borrow_and_update()).unwrap();
    actor.send_rules(vec![one, two]);
    assert!(!wanted.has_changed().unwrap(), "the order does not matter");
    actor.send_rules(vec![one]);
    assert!(generation(&wanted.borrow_and_update()).unwrap() > first);
}
