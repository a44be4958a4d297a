//! Reports and keepers, and whether requests come to the preview.

use super::*;
use crate::cluster::Change;
use crate::preview::plan::Account;
use crate::preview::plan::tests::{request, routing};
use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET, TRAFFIC};

fn keeper(status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "k"}, "status": status})).unwrap()
}

/// The state in a word, and the reason.
fn routed_state(report: Option<Report>, keeper: Option<&Pod>) -> (&'static str, String) {
    match routed(report, keeper) {
        Routed::Proven(_) => ("proven", String::new()),
        Routed::Waiting { why, .. } => ("waiting", why),
        Routed::Not(obstacle) => ("not", obstacle.why),
    }
}

#[test]
fn the_report_decides_and_the_keepers_pod_before_the_first_report() {
    let report = |ready: bool, waiting: Option<&str>, obstacle: Option<&str>| {
        let obstacle = obstacle.map(|why| Obstacle::new(why.to_owned()));
        Some(Report { ready, waiting: waiting.map(str::to_owned), obstacle, ..Report::new(Mode::Steal) })
    };
    let ready = keeper(&json!({"conditions": [{"type": "ContainersReady", "status": "True"}]}));
    let unscheduled = keeper(&json!({"conditions": [
        {"type": "PodScheduled", "status": "False", "message": "0/1 nodes are available"},
    ]}));
    for (report, keeper, state, why) in [
        (report(true, None, None), None, "proven", ""),
        (report(false, Some("an agent starts"), None), None, "waiting", "an agent starts"),
        (report(false, Some("an agent starts"), Some("no rights")), Some(&ready), "not", "no rights"),
        (report(false, None, None), None, "waiting", "no request was seen to come to the preview yet"),
        (None, None, "waiting", "the keeper's pod is being created"),
        (None, Some(&ready), "waiting", "waiting for the keeper's first report"),
        (
            None,
            Some(&unscheduled),
            "waiting",
            "the keeper's pod: no node takes the pod: 0/1 nodes are available",
        ),
    ] {
        assert_eq!(routed_state(report, keeper), (state, why.to_owned()));
    }
}

/// The state of the condition of a start, in one word.
fn state_of(condition: Option<Condition>) -> &'static str {
    match condition.map(|condition| condition.state) {
        None => "none",
        Some(State::Met { .. }) => "met",
        Some(State::Unmet(_)) => "unmet",
        Some(State::Failed(_)) => "failed",
    }
}

#[test]
fn traffic_fails_a_start_only_once_the_preview_pods_are_ready() {
    let template = json!({"spec": {"containers": [{"name": "web", "image": "shop:1"}]}});
    let mut request = request(&template);
    let mut observed = Observed::default();
    let now = Timestamp::UNIX_EPOCH;
    assert_eq!(state_of(condition(&observed, &request, now)), "none", "no requests are routed");
    request.routing = Some(routing(Account::Own));
    request.replicas = 1;
    let report = Report { obstacle: Some(Obstacle::new("no rights".to_owned())), ..Report::new(Mode::Steal) };
    let annotations = json!({TRAFFIC: serde_json::to_string(&report).unwrap(), TARGET: "deployment/shop"});
    let root = json!({
        "metadata": {
            "name": "k", "namespace": "n", "annotations": annotations,
            "labels": {MANAGED_BY: MIRRORD, SESSION: "1a2b3c4d", KEY: "k"},
        },
        "spec": {"template": {}},
    });
    observed.apply(Change::Root(serde_json::from_value(root).unwrap()));
    assert_eq!(state_of(condition(&observed, &request, now)), "unmet");
    let pod = json!({
        "metadata": {"name": "p"}, "status": {"conditions": [{"type": "ContainersReady", "status": "True"}]},
    });
    observed.apply(Change::Pod(serde_json::from_value(pod).unwrap()));
    assert_eq!(state_of(condition(&observed, &request, now)), "failed");
}
