use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::*;
use crate::cluster::Change;
use crate::traffic::Mode;

fn pod(name: &str, ready: bool, change: &Value) -> Change {
    let condition = |kind: &str| json!({"type": kind, "status": if ready { "True" } else { "False" }});
    let mut pod = json!({
        "metadata": {"name": name, "uid": format!("uid-{name}"), "resourceVersion": "7"},
        "spec": {"containers": [], "ephemeralContainers": [], "nodeName": "node"},
        "status": {
            "phase": "Running", "podIP": "10.0.0.1",
            "conditions": [condition("Ready"), condition("ContainersReady")],
            "ephemeralContainerStatuses": [],
        },
    });
    for (path, value) in change.as_object().unwrap() {
        let (parent, field) = path.rsplit_once('/').unwrap();
        pod.pointer_mut(parent).unwrap()[field] = value.clone();
    }
    let pod: Pod = serde_json::from_value(pod).unwrap();
    Change::Pod(Box::new(pod))
}

/// Agents by the states of their containers, in order.
fn agents(states: &[Value]) -> Value {
    let named = |index: usize| format!("mirrord-agent-{}", index + 1);
    let containers: Vec<Value> =
        (0..states.len()).map(|index| json!({"name": named(index), "image": ""})).collect();
    let statuses: Vec<Value> = states
        .iter()
        .enumerate()
        .map(|(index, state)| {
            json!({"name": named(index), "state": state, "image": "", "imageID": "", "ready": false, "restartCount": 0})
        })
        .collect();
    json!({"/spec/ephemeralContainers": containers, "/status/ephemeralContainerStatuses": statuses})
}

fn running() -> Value {
    json!({"running": {}})
}

fn ended(code: i32, at: &str) -> Value {
    json!({"terminated": {"exitCode": code, "finishedAt": at, "message": "no capture works here"}})
}

fn watched(pods: impl IntoIterator<Item = Change>) -> Watched {
    let mut watched = Watched::default();
    watched.apply(Change::PodsAnew);
    pods.into_iter().for_each(|pod| watched.apply(pod));
    watched.apply(Change::PodsListed);
    watched
}

fn observed(
    targets: impl IntoIterator<Item = Change>,
    previews: impl IntoIterator<Item = Change>,
) -> Observations {
    Observations { targets: watched(targets), previews: watched(previews), ..Observations::default() }
}

fn now() -> Timestamp {
    "2026-01-01T00:01:00Z".parse().unwrap()
}

fn attached(decision: &Decision) -> Vec<&str> {
    decision.attach.iter().map(|(_, name)| name.as_str()).collect()
}

#[test]
fn each_live_pod_gets_exactly_one_agent() {
    let none = json!({});
    let cases = [
        (none.clone(), vec!["mirrord-agent-1"]),
        // An agent of another keeper, or one that has not started yet.
        (agents(&[running()]), vec![]),
        (json!({"/spec/ephemeralContainers": [{"name": "mirrord-agent-1"}]}), vec![]),
        (json!({"/spec/ephemeralContainers": [{"name": "debugger"}]}), vec!["mirrord-agent-1"]),
        // An agent that exited because it had no rules.
        (agents(&[ended(0, "2026-01-01T00:00:59Z")]), vec!["mirrord-agent-2"]),
        // A pod that is ending accepts no container, a finished one needs none.
        (json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"}), vec![]),
        (json!({"/status/phase": "Succeeded"}), vec![]),
        // Before the pod is ready, so that the agent is there when requests come.
        (json!({"/status/phase": "Pending", "/status/podIP": null}), vec!["mirrord-agent-1"]),
    ];
    for (change, expected) in cases {
        let mut observed = observed([pod("a", true, &change)], []);
        observed.has_begun = true;
        assert_eq!(attached(&observed.decide(now())), expected, "{change}");
    }
}

#[test]
fn an_agent_that_exited_without_rules_is_replaced_only_once_there_are_rules() {
    // A preview that never becomes ready must not fill live pods with agents.
    let left = agents(&[ended(0, "2026-01-01T00:00:59Z")]);
    let waiting = observed([pod("a", true, &left)], [pod("p", false, &json!({}))]);
    assert_eq!(attached(&waiting.decide(now())), Vec::<&str>::new());
    let ready = observed([pod("a", true, &left)], [pod("p", true, &json!({}))]);
    assert_eq!(attached(&ready.decide(now())), ["mirrord-agent-2"]);
    // The first agent is attached before there are rules, and so is one after a failure.
    let first = observed([pod("a", true, &json!({}))], []);
    assert_eq!(attached(&first.decide(now())), ["mirrord-agent-1"]);
    let failed = observed([pod("a", true, &agents(&[ended(1, "2026-01-01T00:00:00Z")]))], []);
    assert_eq!(attached(&failed.decide(now())), ["mirrord-agent-2"]);
}

#[test]
fn the_pause_grows_with_each_agent_that_fails_in_a_row() {
    let failed = |count: usize, at: &str| {
        let states: Vec<Value> = (0..count).map(|_| ended(1, at)).collect();
        observed([pod("a", true, &agents(&states))], []).decide(now()).attach.len()
    };
    // No pause after the first: the kernel may have killed it when memory ran out.
    assert_eq!(failed(1, "2026-01-01T00:01:00Z"), 1);
    assert_eq!((failed(2, "2026-01-01T00:01:00Z"), failed(2, "2026-01-01T00:00:59Z")), (0, 1));
    assert_eq!((failed(5, "2026-01-01T00:00:46Z"), failed(5, "2026-01-01T00:00:45Z")), (0, 1));
    assert_eq!((failed(11, "2025-12-31T23:57:00Z"), failed(11, "2025-12-31T23:56:00Z")), (0, 1));
    assert_eq!(failed(12, "2025-12-31T00:00:00Z"), 0, "the size of a pod's specification is limited");
}

#[test]
fn a_pod_without_further_attempts_is_an_obstacle_in_the_report() {
    let killed = json!({"terminated": {"exitCode": 137, "finishedAt": "2025-12-31T00:00:00Z"}});
    let report = |failed: usize| {
        let targets = [pod("a", true, &agents(&vec![killed.clone(); failed]))];
        observed(targets, [pod("p", true, &json!({}))]).report(Mode::Steal, Some(7))
    };
    assert_eq!(report(MAX_FAILURES - 1).waiting.as_deref(), Some("an agent is being attached to pod `a`"));
    let obstacle = report(MAX_FAILURES).obstacle.unwrap();
    assert_eq!(obstacle.why, "12 agents in a row have failed in pod `a`, the last one with: exit code 137");
    assert!(obstacle.hint.unwrap().contains("kubectl delete pod a"));
}

#[test]
fn an_incomplete_list_decides_nothing() {
    let mut half = observed([], [pod("p", true, &json!({}))]);
    half.targets = Watched::default();
    half.targets.apply(Change::PodsAnew);
    half.targets.apply(pod("a", true, &json!({})));
    assert_eq!(half.decide(now()), Decision::default());
    // The pods of the last list stay until the new list is complete.
    let mut whole = observed([pod("a", true, &json!({}))], [pod("p", true, &json!({}))]);
    whole.previews.apply(Change::PodsAnew);
    assert_eq!(whole.decide(now()).preview.unwrap().len(), 1);
    whole.previews.apply(Change::PodsListed);
    assert!(whole.addresses().is_empty());
}

#[test]
fn rules_are_sent_once_a_preview_pod_was_ready_and_stay_from_then_on() {
    let without = observed([], [pod("p", false, &json!({}))]);
    assert_eq!(without.decide(now()).preview, None, "no request is answered with 503 before");
    let mut later = observed([], [pod("p", false, &json!({}))]);
    later.has_begun = true;
    assert_eq!(later.decide(now()).preview, Some(vec![]), "the key's requests never go to the application");
    let ending = json!({"/metadata/deletionTimestamp": "2026-01-01T00:00:00Z"});
    let leaving = observed([], [pod("p", true, &json!({})), pod("q", true, &ending)]);
    assert_eq!(leaving.decide(now()).preview.unwrap().len(), 1);
}

#[test]
fn a_lost_conversation_is_resumed_after_a_pause_and_a_gone_pod_is_forgotten() {
    let mut observed = observed([pod("a", true, &agents(&[running()]))], []);
    assert_eq!(observed.decide(now()).open.len(), 1);
    let paused = Link {
        container: "mirrord-agent-1".to_owned(),
        pause: "2026-01-01T00:01:01Z".parse().ok(),
        ..Link::default()
    };
    observed.links.insert("uid-a".to_owned(), paused);
    assert_eq!(observed.decide(now()).open.len(), 0);
    assert_eq!(observed.decide("2026-01-01T00:01:01Z".parse().unwrap()).open.len(), 1);
    observed.links.insert("uid-gone".to_owned(), Link::default());
    assert_eq!(observed.decide(now()).forget, ["uid-gone"]);
}

#[test]
fn a_conversation_with_an_agent_that_is_gone_does_not_delay_the_one_with_the_next_agent() {
    let agents = agents(&[ended(137, "2026-01-01T00:00:30Z"), running()]);
    let mut observed = observed([pod("a", true, &agents)], [pod("p", true, &json!({}))]);
    let mut link = Link::default();
    link.open("mirrord-agent-1");
    observed.links.insert("uid-a".to_owned(), link.clone());
    let opened: Vec<String> = observed.decide(now()).open.into_iter().map(|(_, name)| name).collect();
    assert_eq!(opened, ["mirrord-agent-2"]);
    link.open("mirrord-agent-2");
    observed.links.insert("uid-a".to_owned(), link);
    assert_eq!(observed.decide(now()).open, [], "it is under way");
}

#[test]
fn a_pod_that_has_had_fifty_agents_gets_no_more_and_the_report_says_what_to_do() {
    let with = |count: usize| {
        let left = vec![ended(0, "2026-01-01T00:00:00Z"); count];
        observed([pod("a", true, &agents(&left))], [pod("p", true, &json!({}))])
    };
    assert_eq!(attached(&with(MAX_AGENTS - 1).decide(now())), ["mirrord-agent-50"]);
    let full = with(MAX_AGENTS);
    assert_eq!(attached(&full.decide(now())), Vec::<&str>::new());
    let obstacle = full.report(Mode::Steal, Some(7)).obstacle.unwrap();
    assert_eq!(obstacle.why, "pod `a` has had 50 agents, and each stays in it for as long as it lives");
    assert!(obstacle.hint.unwrap().contains("kubectl delete pod a"));
    // The last one serves for as long as it runs.
    let mut states = vec![ended(0, "2026-01-01T00:00:00Z"); MAX_AGENTS];
    states[MAX_AGENTS - 1] = running();
    let serving = observed([pod("a", true, &agents(&states))], [pod("p", true, &json!({}))]);
    assert_eq!(serving.decide(now()).open.len(), 1);
}

/// A target of two ready pods with running agents, and a ready preview pod.
fn with_agents() -> Observations {
    observed(["a", "b"].map(|name| pod(name, true, &agents(&[running()]))), [pod("p", true, &json!({}))])
}

fn proven(generation: u64) -> Link {
    let counts = Counts { matched: 2, passed: 3, ..Counts::default() };
    Link {
        container: "mirrord-agent-1".to_owned(),
        method: Some("sk_lookup".to_owned()),
        in_force: Some(generation),
        proven: Some((generation, vec!["a note".to_owned()])),
        counts,
        predating: 1,
        ..Link::default()
    }
}

#[test]
fn the_report_is_ready_once_every_ready_pod_is_proven() {
    let mut observed = with_agents();
    let waiting = observed.report(Mode::Steal, Some(7));
    assert!(!waiting.ready && waiting.waiting.unwrap().contains("pod `a`"));
    observed.links.insert("uid-a".to_owned(), proven(7));
    observed.links.insert("uid-b".to_owned(), proven(6));
    let half = observed.report(Mode::Steal, Some(7));
    assert_eq!((half.ready, half.pods, half.agents, half.proven), (false, 2, 1, 1));
    observed.links.insert("uid-b".to_owned(), proven(7));
    observed.gone = Counts { matched: 10, ..Counts::default() };
    let ready = observed.report(Mode::Steal, Some(7));
    assert_eq!((ready.ready, ready.pods, ready.agents, ready.proven), (true, 2, 2, 2));
    assert_eq!((ready.counts.matched, ready.seen(), ready.predating), (14, 20, 2));
    assert_eq!((ready.methods, ready.notes), (vec!["sk_lookup".to_owned()], vec!["a note".to_owned()]));
}

#[test]
fn a_suspended_filter_is_reported_although_its_routes_were_proven() {
    let mut observed = with_agents();
    observed.links.insert("uid-a".to_owned(), proven(7));
    let suspended =
        Some(Obstacle::new("its agent has suspended the filter".to_owned()).hint("another filter"));
    observed.links.insert("uid-b".to_owned(), Link { suspended, ..proven(7) });
    let report = observed.report(Mode::Steal, Some(7));
    let obstacle = report.obstacle.unwrap();
    assert_eq!(
        (report.ready, obstacle.why.as_str(), obstacle.hint.as_deref()),
        (false, "pod `b`: its agent has suspended the filter", Some("another filter"))
    );
}

#[test]
fn a_pod_that_is_not_ready_does_not_delay_the_report() {
    let mut observed = with_agents();
    observed.links.insert("uid-a".to_owned(), proven(7));
    observed.targets.apply(pod("b", false, &json!({})));
    let report = observed.report(Mode::Steal, Some(7));
    assert_eq!((report.ready, report.pods), (true, 1));
    observed.targets.apply(pod("a", false, &json!({})));
    assert_eq!(
        observed.report(Mode::Steal, Some(7)).waiting.as_deref(),
        Some("none of the target's pods is ready")
    );
    observed.targets.apply(Change::PodGone("a".to_owned()));
    observed.targets.apply(Change::PodGone("b".to_owned()));
    let empty = observed.report(Mode::Steal, Some(7));
    assert!(empty.ready && empty.notes[0].contains("no pods now"), "{empty:?}");
}

#[test]
fn an_obstacle_is_reported_with_its_full_reason() {
    for (agent, link, why) in [
        (
            agents(&[json!({"waiting": {"reason": "ErrImagePull", "message": "not found"}})]),
            None,
            "cannot be started: ErrImagePull: not found",
        ),
        (agents(&[ended(1, "2026-01-01T00:00:00Z")]), None, "has exited: no capture works here"),
        (
            agents(&[running()]),
            Some(Link {
                container: "mirrord-agent-1".to_owned(),
                refused: Some(Obstacle::new("the key `x` already steals".to_owned())),
                ..Link::default()
            }),
            "the key `x` already steals",
        ),
    ] {
        let mut observed = observed([pod("a", true, &agent)], [pod("p", true, &json!({}))]);
        observed.links.extend(link.map(|link| ("uid-a".to_owned(), link)));
        let report = observed.report(Mode::Steal, Some(7));
        assert!(!report.ready);
        let obstacle = report.obstacle.unwrap().why;
        assert!(obstacle.contains(why), "{obstacle}");
    }
    let mut unproven = with_agents();
    unproven.targets.apply(Change::PodGone("b".to_owned()));
    let obstacle = Obstacle::new("10.0.0.1:80 does not answer".to_owned()).hint("look at NetworkPolicies");
    let link = Link { proven: None, unproven: Some(obstacle), ..proven(7) };
    unproven.links.insert("uid-a".to_owned(), link);
    let report = unproven.report(Mode::Steal, Some(7));
    assert_eq!(
        (report.agents, report.proven, report.waiting.as_deref(), report.hint.as_deref()),
        (1, 0, Some("10.0.0.1:80 does not answer"), Some("look at NetworkPolicies"))
    );
}

#[test]
fn passing_refusals_and_failures_before_this_keeper_are_not_obstacles() {
    let agent = agents(&[ended(1, "2026-01-01T00:00:00Z")]);
    let mut observed = observed([pod("a", true, &agent)], [pod("p", true, &json!({}))]);
    assert!(observed.report(Mode::Steal, Some(7)).obstacle.is_some());
    // A keeper that started later tries again first.
    observed.began = "2026-01-01T00:00:01Z".parse().unwrap();
    let report = observed.report(Mode::Steal, Some(7));
    assert_eq!(
        (report.obstacle, report.waiting.as_deref()),
        (None, Some("an agent is being attached to pod `a`"))
    );
    let refused = |is_passing| Refused {
        obstacle: Obstacle::new("no webhook answered".to_owned()),
        is_passing,
        again: "2026-01-01T00:01:01Z".parse().unwrap(),
    };
    observed.refused.insert("uid-a".to_owned(), refused(true));
    let report = observed.report(Mode::Steal, Some(7));
    assert_eq!((report.obstacle, report.waiting.as_deref()), (None, Some("no webhook answered")));
    observed.refused.insert("uid-a".to_owned(), refused(false));
    assert!(observed.report(Mode::Steal, Some(7)).obstacle.is_some());
    // An agent of another keeper counts, too.
    observed.targets.apply(pod("a", true, &agents(&[running()])));
    observed.links.insert("uid-a".to_owned(), proven(7));
    assert!(observed.report(Mode::Steal, Some(7)).ready);
}

#[test]
fn the_proof_of_an_earlier_agent_does_not_count_for_a_new_one() {
    let agents = agents(&[ended(137, "2026-01-01T00:00:00Z"), running()]);
    let mut observed = observed([pod("a", true, &agents)], [pod("p", true, &json!({}))]);
    observed.links.insert("uid-a".to_owned(), proven(7));
    let report = observed.report(Mode::Steal, Some(7));
    assert_eq!(
        (report.proven, report.waiting.as_deref()),
        (0, Some("the keeper is connecting to the agent in pod `a`"))
    );
}

#[test]
fn an_agent_whose_image_cannot_be_pulled_does_not_block_one_with_another_image() {
    let mut agents = agents(&[json!({"waiting": {"reason": "ImagePullBackOff", "message": "not found"}})]);
    agents["/spec/ephemeralContainers"][0]["image"] = json!("mirrord:wrong");
    let mut observed = observed([pod("a", true, &agents)], [pod("p", true, &json!({}))]);
    observed.image = "mirrord:right".to_owned();
    assert_eq!(attached(&observed.decide(now())), ["mirrord-agent-2"]);
    observed.image = "mirrord:wrong".to_owned();
    assert!(attached(&observed.decide(now())).is_empty());
    assert!(observed.report(Mode::Steal, Some(7)).obstacle.is_some());
    let reason = json!({"waiting": {"reason": "ErrImagePull", "message": "502 Bad Gateway"}});
    agents["/status/ephemeralContainerStatuses"][0]["state"] = reason;
    observed.targets.apply(pod("a", true, &agents));
    assert!(observed.report(Mode::Steal, Some(7)).obstacle.is_none());
}
