//! Deployments.

use serde_json::Value;

use super::Workload;

/// `apps/v1` Deployments.
pub(super) struct Deployment;

// === impl Deployment ===

impl Workload for Deployment {
    fn name(&self) -> &'static str {
        "deployment"
    }

    fn aliases(&self) -> &'static [&'static str] {
        &["deploy", "deployments"]
    }

    fn group(&self) -> &'static str {
        "apps"
    }

    fn version(&self) -> &'static str {
        "v1"
    }

    fn kind(&self) -> &'static str {
        "Deployment"
    }

    fn plural(&self) -> &'static str {
        "deployments"
    }

    fn template<'a>(&self, object: &'a Value) -> Option<&'a Value> {
        object.pointer("/spec/template")
    }
}
