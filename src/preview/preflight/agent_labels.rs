//! Refuses `agent.labels` by which a Service, or the target itself, would take the
//! keeper's pod for one of the target's.

use anyhow::Result;

use crate::cluster::Services;
use crate::config::wrong;
use crate::preview::plan::labels::{self, Labels};
use crate::session::Identity;
use crate::workload::{LivePods, Source};

/// Checks that `agent.labels` bring no live request to the keeper's pod, which runs
/// nothing that could answer it.
///
/// # Errors
///
/// `Usage` where a Service, or the target's selector, selects the keeper's pod by them.
pub(super) fn checked(
    configured: &Labels,
    identity: &Identity,
    source: &Source,
    services: &Services,
) -> Result<()> {
    let (with, without) = (labels::keeper(identity, configured), labels::keeper(identity, &Labels::new()));
    // A Service that selects environments by mirrord's own labels was made for that.
    let mut selecting = services.selecting(&with).filter(|(_, spec)| {
        let selector = spec.selector.as_ref().expect("a Service that selects pods has a selector");
        !labels::carry(&without, selector)
    });
    let selecting = match selecting.next() {
        Some((service, _)) => {
            format!("Service `{}`", service.metadata.name.as_deref().unwrap_or_default())
        }
        None if target_selects(source, &with) => format!("`{}`", identity.target.path()),
        None => return Ok(()),
    };
    Err(wrong("`agent.labels` would make the keeper's pod one of the target's")
        .because_of(format!("{selecting} selects pods by these labels"))
        .hint("leave them out of `agent.labels`, or give them other values")
        .into())
}

/// Whether the selector of the target selects pods with `labels`. An empty selector
/// says nothing about `agent.labels`.
fn target_selects(source: &Source, labels: &Labels) -> bool {
    let Some(LivePods::Selected(selector)) = &source.pods else { return false };
    labels::selects(Some(selector), labels) && !labels::selects(Some(selector), &Labels::new())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::preview::plan::tests::request;
    use crate::problem::{ErrorReport, Exit};

    fn outcome(configured: &Value, services: &[Value], selector: &Value) -> Option<ErrorReport> {
        let mut request = request(&json!({"spec": {"containers": [{"name": "web"}]}}));
        request.source.pods = Some(LivePods::Selected(selector.clone()));
        let configured: Labels = serde_json::from_value(configured.clone()).unwrap();
        let checked = checked(&configured, &request.identity, &request.source, &Services::of(services));
        checked.err().map(|error| ErrorReport::of(&error))
    }

    #[test]
    fn agent_labels_that_a_service_or_the_target_selects_are_refused() {
        let service =
            |selector: Value| json!({"metadata": {"name": "front"}, "spec": {"selector": selector}});
        let other = json!({"matchLabels": {"app": "cart"}});
        let shop = json!({"app": "shop", "team": "checkout"});
        for (configured, services, selector, refused) in [
            (shop.clone(), vec![service(json!({"app": "shop"}))], other.clone(), Some("Service `front`")),
            (shop.clone(), vec![service(json!({"app": "shop", "tier": "web"}))], other.clone(), None),
            (shop.clone(), vec![], json!({"matchLabels": {"app": "shop"}}), Some("`deployment/shop`")),
            (shop.clone(), vec![], json!({}), None),
            (json!({"team": "checkout"}), vec![service(json!({"app": "shop"}))], other.clone(), None),
            (shop, vec![service(json!({"app.kubernetes.io/managed-by": "mirrord"}))], other, None),
        ] {
            let report = outcome(&configured, &services, &selector);
            assert_eq!(report.is_some(), refused.is_some(), "{configured} {services:?} {selector}");
            if let (Some(report), Some(refused)) = (report, refused) {
                assert_eq!(report.exit, Exit::Usage);
                assert!(report.causes[0].starts_with(refused), "{report:?}");
            }
        }
    }
}
