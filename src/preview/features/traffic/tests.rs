//! Reports and keepers, and whether requests come to the preview.

use super::*;

fn keeper(status: &Value) -> Pod {
    serde_json::from_value(json!({"metadata": {"name": "k"}, "status": status})).unwrap()
}

/// The word for a state, and why.
fn said(report: Option<Report>, keeper: Option<&Pod>) -> (&'static str, String) {
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
        assert_eq!(said(report, keeper), (state, why.to_owned()));
    }
}
