use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use super::*;
use crate::cluster::Change;
use crate::cluster::fake::{Answer, FakeApi};
use crate::keeper::link::Link;
use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET, TRAFFIC};
use crate::traffic::Mode;

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

fn assignment() -> Assignment {
    serde_json::from_value(json!({
        "session": "s1", "key": "k", "namespace": "shop", "root": "root", "target": "deployment/cart",
        "pods": {"labelled": "app=cart"}, "mode": "steal", "ports": [{"port": 80}], "filter": {"baggage": "k"},
        "agent": {"image": "mirrord:1"},
    }))
    .unwrap()
}

fn actor(api: &FakeApi) -> Actor {
    let root: Job = serde_json::from_value(root(&json!({}))).unwrap();
    let session = Session::of(&root).unwrap();
    Actor::new(api.cluster(), assignment(), &session, Duration::from_mins(1))
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

fn reports(api: &FakeApi) -> usize {
    let is_report =
        |body: &Value| body.pointer("/metadata/annotations").is_some_and(|all| all[TRAFFIC].is_string());
    api.asked().iter().filter(|asked| is_report(&asked.body)).count()
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
    assert!(reports(&api) >= 1);
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
async fn events_of_an_earlier_agent_of_a_pod_say_nothing_about_its_present_agent() {
    let api = attaching(Answer::of(json!({"metadata": {}})));
    let mut actor = actor(&api);
    actor.observed.links.entry("u1".to_owned()).or_default().open("mirrord-agent-2");
    let from = |container: &str| AgentId { uid: "u1".to_owned(), container: container.to_owned() };
    actor.take_event(&from("mirrord-agent-1"), AgentEvent::Ended("it is gone".to_owned()));
    assert!(actor.observed.links["u1"].is_open);
    actor.take_event(&from("mirrord-agent-2"), AgentEvent::Ended("it is gone".to_owned()));
    assert!(!actor.observed.links["u1"].is_open);
}

#[tokio::test(start_paused = true)]
async fn a_generation_is_newer_than_that_of_the_keeper_before_even_if_the_clock_stepped_back() {
    let ahead = 1 << 50;
    let api = attaching(Answer::of(json!({"metadata": {}})));
    let mut actor = actor(&api);
    actor.earlier_generation = ahead;
    actor.send_rules(vec![[10, 0, 0, 1].into()]);
    assert_eq!(actor.newest.as_ref().map(|(generation, _)| *generation), Some(ahead + 1));
}

#[tokio::test(start_paused = true)]
async fn the_report_tells_the_next_keeper_the_generation() {
    let api = attaching(Answer::of(json!({"metadata": {}})));
    let report = Report { generation: Some(7), ..Report::new(Mode::Steal) };
    let mut root = root(&json!({}));
    root["metadata"]["annotations"][TRAFFIC] = serde_json::to_string(&report).unwrap().into();
    let session = Session::of(&serde_json::from_value(root).unwrap()).unwrap();
    assert_eq!(
        Actor::new(api.cluster(), assignment(), &session, Duration::from_mins(1)).earlier_generation,
        7
    );
}

#[tokio::test(start_paused = true)]
async fn a_keeper_whose_rules_are_older_than_those_in_force_writes_no_report() {
    let api = attaching(Answer::of(json!({"metadata": {"name": "cart-1"}})));
    let mut actor = actor(&api);
    show_pod(&mut actor, "1");
    let mut link = Link { superseded_by: Some(7), ..Link::default() };
    link.open("mirrord-agent-1");
    actor.observed.links.insert("u1".to_owned(), link);
    act(&mut actor).await;
    assert_eq!(reports(&api), 0);
    actor.observed.links.get_mut("u1").unwrap().superseded_by = None;
    act(&mut actor).await;
    assert_eq!(reports(&api), 1);
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
