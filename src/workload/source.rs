//! The parts of a live workload that a plan copies.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

/// Where the template of a workload's pods is.
#[derive(Clone, Debug)]
pub enum Origin {
    /// In the object itself.
    Here(Source),
    /// In another workload of the namespace, of this kind as objects spell it.
    Elsewhere {
        /// `Deployment`, …
        kind: String,
        /// Its name.
        name: String,
    },
    /// In the workload whose pods carry these labels.
    Selected(BTreeMap<String, String>),
}

/// The parts of the live object that a plan needs.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The pod template: `metadata` and `spec`.
    pub template: Map<String, Value>,
    /// The live pods of the workload; `None` if it keeps no pods running.
    pub pods: Option<LivePods>,
    /// Volumes from the claim templates of a StatefulSet: every pod has a disk of its
    /// own, and the template mounts it without listing it.
    pub own_disks: Vec<String>,
    /// Whether the template is a live pod, into which the cluster has written values
    /// that belong to that pod only.
    pub lived: bool,
    /// The workload that holds the template, which a target may lead to without being
    /// it, followed by the workload's controller, as a Deployment controls its
    /// ReplicaSets.
    pub lineage: Vec<Workload>,
}

/// A workload of the namespace, as other objects refer to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workload {
    /// `Deployment`, …
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The live pods of a workload.
#[derive(Clone, Debug, PartialEq)]
pub enum LivePods {
    /// The pods that a `LabelSelector` selects.
    Selected(Value),
    /// The pod of this name.
    Named(String),
}

// === impl Source ===

impl Source {
    /// The template at a place in the object.
    pub(super) fn at(object: &Value, place: &str) -> Option<Self> {
        let selector = object.pointer("/spec/selector").filter(|selector| selector.is_object());
        Some(Self {
            template: object.pointer(place)?.as_object()?.clone(),
            pods: selector.cloned().map(LivePods::Selected),
            ..Self::default()
        })
    }

    /// Whether the workload's pods carry all of `labels`.
    pub fn carries(&self, labels: &BTreeMap<String, String>) -> bool {
        let own = self.labels();
        labels.iter().all(|(name, value)| own.get(name) == Some(value))
    }

    /// The labels of the workload's pods.
    pub fn labels(&self) -> BTreeMap<String, String> {
        let labels = self.template.get("metadata").and_then(|metadata| metadata.get("labels")?.as_object());
        labels
            .into_iter()
            .flatten()
            .filter_map(|(name, value)| Some((name.clone(), value.as_str()?.to_owned())))
            .collect()
    }
}

// === impl Workload ===

impl Workload {
    /// The controller that an object's owner references name.
    pub fn controller_of(object: &Value) -> Option<Self> {
        let owners = object.pointer("/metadata/ownerReferences")?.as_array()?;
        let owner = owners.iter().find(|owner| owner["controller"] == true)?;
        Some(Self { kind: owner["kind"].as_str()?.to_owned(), name: owner["name"].as_str()?.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_lists_its_workload_and_the_workloads_controller() {
        let object = json!({
            "metadata": {"name": "shop-94d47446c", "ownerReferences": [
                {"kind": "Backup", "name": "nightly"}, {"kind": "Deployment", "name": "shop", "controller": true},
            ]},
            "spec": {"template": {}},
        });
        let Some(Origin::Here(source)) = super::super::replica_set::KIND.origin(&object) else {
            panic!("no template")
        };
        let lineage: Vec<_> = source.lineage.iter().map(|one| (&one.kind[..], &one.name[..])).collect();
        assert_eq!(lineage, [("ReplicaSet", "shop-94d47446c"), ("Deployment", "shop")]);
    }
}
