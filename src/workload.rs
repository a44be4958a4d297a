//! The live workload that a preview copies: the grammar of targets, the table of
//! kinds, and the parts of the live object that a plan needs.
//!
//! Objects are read as JSON, so that fields newer than the types of `k8s-openapi`
//! are copied too. This module never calls the API.

mod claims;
pub mod consumer;
pub mod container;
mod cron_job;
mod daemon_set;
mod deployment;
mod digest;
mod job;
mod pod;
pub mod ports;
mod replica_set;
mod rollout;
mod service;
mod source;
mod stateful_set;
mod target;

use serde_json::Value;

pub use claims::Claims;
pub use source::{LivePods, Origin, Source, Workload};
pub(crate) use target::find;
pub use target::{Target, TargetError};

/// A kind of workload that can be copied: one file and one line in [`KINDS`] each.
pub struct Kind {
    /// The name in `kind/name`.
    pub name: &'static str,
    /// Other names that kubectl accepts.
    pub aliases: &'static [&'static str],
    /// The name in the typed form of the configuration: `{"stateful_set": "db"}`.
    pub field: &'static str,
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The `kind` field of its objects.
    pub kind: &'static str,
    /// The resource in paths and roles.
    pub plural: &'static str,
    /// Whether it may be the workload that a Service leads to. Pods are not:
    /// their controller is. Jobs are not: they serve nobody.
    pub is_behind_service: bool,
    /// Whether it has no pods itself and leads to the workload whose pods it selects.
    pub is_service: bool,
    /// Finds the template in the live object.
    read: fn(&Value) -> Option<Origin>,
}

/// The kinds of target; those that run a Service's pods come first.
pub static KINDS: &[&Kind] = &[
    &deployment::KIND,
    &stateful_set::KIND,
    &daemon_set::KIND,
    &rollout::KIND,
    &replica_set::KIND,
    &pod::KIND,
    &service::KIND,
    &job::KIND,
    &cron_job::KIND,
];

// === impl Kind ===

impl Kind {
    /// Whether every cluster has it. API groups of custom resources are domain
    /// names, those of Kubernetes' workloads are not.
    pub fn is_built_in(&self) -> bool {
        !self.group.contains('.')
    }

    /// Finds the template in the live object.
    pub fn origin(&self, object: &Value) -> Option<Origin> {
        let mut origin = (self.read)(object)?;
        if let Origin::Here(source) = &mut origin {
            let name = object.pointer("/metadata/name").and_then(Value::as_str);
            let own = name.map(|name| Workload { kind: self.kind.to_owned(), name: name.to_owned() });
            source.lineage = own.into_iter().chain(Workload::controller_of(object)).collect();
        }
        Some(origin)
    }
}
