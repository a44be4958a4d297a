//! The checks against an API server that refuses.

use serde_json::json;

use super::*;
use crate::cluster::fake::{Answer, FakeApi};
use crate::output::ProgressMode;
use crate::preview::plan::tests::request;

#[tokio::test]
async fn a_refused_pod_is_an_obstacle_to_doctor_exactly_if_it_ends_a_start() {
    let template = json!({"metadata": {}, "spec": {"containers": [{"name": "web", "image": "shop:1"}]}});
    let request = request(&template);
    let reporter = Reporter::quiet(ProgressMode::Off);
    for (code, message, is_obstacle) in [
        (500, "Internal error occurred: failed calling webhook \"w\"", false),
        (403, r#"pods "x" is forbidden: error looking up service account shop/x: not found"#, false),
        (403, r#"pods "x" is forbidden: User "ann" cannot create resource "pods" in API group """#, false),
        (403, r#"pods "x" is forbidden: exceeded quota: small"#, true),
    ] {
        let api = || FakeApi::new([Answer::refusal(code, message)]).cluster();
        let mut findings = Findings::default();
        pods(&api(), &request, &reporter, &mut findings).await;
        assert_eq!(!findings.obstacles.is_empty(), is_obstacle, "doctor: {message}");
        let start = admission::allowed(&api(), &request, &Plan::of(&request)).await;
        assert_eq!(start.is_err(), is_obstacle, "start: {message}");
    }
}
