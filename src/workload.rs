//! The target: the live workload that a preview copies. Its grammar
//! (`kind/name[/container/name]`), the table of kinds, and what is read from
//! the live object.
//!
//! Objects are read as JSON, so that a field newer than our types is copied
//! like every other. This room never calls the API.

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
mod stateful_set;

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Map, Value};

use crate::kubernetes_names::{is_object_name, label_value};

/// A kind of workload that can be copied: one file and one line in [`KINDS`] each.
pub struct Kind {
    /// The name in `kind/name`.
    pub name: &'static str,
    /// Other names that kubectl's users type.
    pub aliases: &'static [&'static str],
    /// The name in the typed form of the configuration: `{"stateful_set": "db"}`.
    pub field: &'static str,
    /// The API group, empty for the core group.
    pub group: &'static str,
    /// The API version.
    pub version: &'static str,
    /// The kind as objects spell it.
    pub kind: &'static str,
    /// The resource in paths and roles.
    pub plural: &'static str,
    /// Finds the template in the live object.
    read: fn(&Value) -> Option<Origin>,
}

/// The kinds of target, the ones that a Service's pods come from first.
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

/// Which live workload, and which of its containers.
#[derive(Clone)]
pub struct Target {
    kind: &'static Kind,
    name: String,
    container: Option<String>,
}

/// Why a text names no target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TargetError {
    /// Not `kind/name` nor `kind/name/container/name`.
    Shape(String),
    /// A kind nobody knows.
    UnknownKind(String),
    /// A form of mirrord's that names no single workload.
    NotOne(String),
    /// No name that Kubernetes could have taken.
    Name(String),
}

/// What the plan needs of the live object.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// The pod template: `metadata` and `spec`.
    pub template: Map<String, Value>,
    /// Which live pods are the workload's; nothing where none live on.
    pub pods: Option<LivePods>,
    /// Volumes that each pod of the workload has a disk of its own for, and that
    /// the template mounts without naming them.
    pub own_disks: Vec<String>,
    /// Whether the template is a pod that has lived: the cluster has put things
    /// into it that belong to it alone.
    pub lived: bool,
    /// The workload that the template was found in, which the target may only
    /// lead to; behind it what controls it, as a Deployment does its ReplicaSets.
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

/// Which live pods are a workload's.
#[derive(Clone, Debug, PartialEq)]
pub enum LivePods {
    /// Those that its selector selects: a `LabelSelector`.
    Selected(Value),
    /// The one of this name.
    Named(String),
}

// === impl Kind ===

impl Kind {
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

// === impl Target ===

impl Target {
    /// The workload's kind.
    pub fn kind(&self) -> &'static Kind {
        self.kind
    }

    /// The workload's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The container, where one was named.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The workload alone: `deployment/shop`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.name, self.name)
    }

    /// The workload alone.
    #[must_use]
    pub fn without_container(mut self) -> Self {
        self.container = None;
        self
    }

    /// The value of the label, for `kubectl get -l`: kind and name, or a hash
    /// where they are too long.
    pub fn label_value(&self) -> String {
        label_value(&format!("{}-{}", self.kind.name, self.name))
    }

    /// Finds the template in the live object.
    pub fn origin(&self, object: &Value) -> Option<Origin> {
        self.kind.origin(object)
    }
}

// === impl Source ===

impl Source {
    /// The template at a place in the object.
    fn at(object: &Value, place: &str) -> Option<Self> {
        let selector = object.pointer("/spec/selector").filter(|selector| selector.is_object());
        Some(Self {
            template: object.pointer(place)?.as_object()?.clone(),
            pods: selector.cloned().map(LivePods::Selected),
            ..Self::default()
        })
    }

    /// Whether its pods carry all of `labels`.
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

impl PartialEq for Target {
    fn eq(&self, other: &Self) -> bool {
        self.path() == other.path() && self.container == other.container
    }
}

impl Eq for Target {}

impl fmt::Debug for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Target({self})")
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.kind.name, self.name)?;
        if let Some(container) = &self.container {
            write!(formatter, "/container/{container}")?;
        }
        Ok(())
    }
}

impl FromStr for Target {
    type Err = TargetError;

    fn from_str(text: &str) -> Result<Self, TargetError> {
        let text = text.trim();
        if text == "targetless" || text.starts_with("label/") || text.starts_with("labels/") {
            return Err(TargetError::NotOne(text.to_owned()));
        }
        let parts: Vec<&str> = text.split('/').collect();
        let (kind, name, container) = match parts[..] {
            [kind, name] => (kind, name, None),
            [kind, name, "container", container] => (kind, name, Some(container)),
            _ => return Err(TargetError::Shape(text.to_owned())),
        };
        let Some(kind) = find(kind) else {
            return Err(TargetError::UnknownKind(kind.to_owned()));
        };
        for name in [Some(name), container].into_iter().flatten() {
            if !is_object_name(name) {
                return Err(TargetError::Name(name.to_owned()));
            }
        }
        Ok(Self { kind, name: name.to_owned(), container: container.map(str::to_owned) })
    }
}

/// The kind by any name that people write: `deploy`, `Deployment`, `deployments`,
/// and with its group as kubectl prints it: `deployment.apps`, `deployments.v1.apps`.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    let lower = name.to_ascii_lowercase();
    let (name, group) = lower.split_once('.').map_or((&*lower, None), |(name, group)| (name, Some(group)));
    KINDS.iter().copied().find(|kind| {
        let is_its_group = |group: &str| {
            let versioned = group.strip_prefix(kind.version).and_then(|rest| rest.strip_prefix('.'));
            !kind.group.is_empty() && (group == kind.group || versioned == Some(kind.group))
        };
        (kind.name == name || kind.aliases.contains(&name)) && group.is_none_or(is_its_group)
    })
}

// === impl TargetError ===

impl fmt::Display for TargetError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kinds = || KINDS.iter().map(|kind| format!("`{}`", kind.name)).collect::<Vec<_>>().join(", ");
        match self {
            Self::Shape(text) => write!(
                formatter,
                "`{text}` is no target: write `kind/name` or `kind/name/container/name`, as in `deployment/shop`"
            ),
            Self::UnknownKind(kind) => {
                write!(formatter, "`{kind}` is no kind of target; known are {}", kinds())
            }
            Self::NotOne(text) => {
                write!(
                    formatter,
                    "`{text}` names no single workload to copy; write `kind/name`, as in `deployment/shop`"
                )
            }
            Self::Name(name) => write!(formatter, "`{name}` can be no name of a Kubernetes object"),
        }
    }
}

impl std::error::Error for TargetError {}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_source_knows_where_it_was_found_and_what_controls_that() {
        let object = json!({
            "metadata": {"name": "shop-94d47446c", "ownerReferences": [
                {"kind": "Backup", "name": "nightly"}, {"kind": "Deployment", "name": "shop", "controller": true},
            ]},
            "spec": {"template": {}},
        });
        let Some(Origin::Here(source)) = replica_set::KIND.origin(&object) else { panic!("no template") };
        let lineage: Vec<_> = source.lineage.iter().map(|one| (&one.kind[..], &one.name[..])).collect();
        assert_eq!(lineage, [("ReplicaSet", "shop-94d47446c"), ("Deployment", "shop")]);
    }

    #[test]
    fn targets_are_read_as_kubectl_users_write_them() {
        for (text, shown) in [
            ("deployment/shop", "deployment/shop"),
            ("deploy/shop", "deployment/shop"),
            ("Deployment/shop", "deployment/shop"),
            ("sts/db", "statefulset/db"),
            ("svc/shop", "service/shop"),
            ("cronjobs/nightly", "cronjob/nightly"),
            ("deployment/shop.v2/container/web", "deployment/shop.v2/container/web"),
            ("deployment.apps/shop", "deployment/shop"),
            ("deployments.v1.apps/shop", "deployment/shop"),
            ("rollouts.argoproj.io/shop", "rollout/shop"),
            ("cronjob.batch/nightly", "cronjob/nightly"),
        ] {
            assert_eq!(text.parse::<Target>().unwrap().to_string(), shown);
        }
    }

    #[test]
    fn a_text_that_names_no_target_says_why() {
        for (text, error) in [
            ("", TargetError::Shape(String::new())),
            ("shop", TargetError::Shape("shop".into())),
            ("deployment/shop/web", TargetError::Shape("deployment/shop/web".into())),
            ("deployment/shop/containers/web", TargetError::Shape("deployment/shop/containers/web".into())),
            ("deployment/", TargetError::Name(String::new())),
            ("deployment/Shop", TargetError::Name("Shop".into())),
            ("deployment/shop/container/", TargetError::Name(String::new())),
            ("dep/shop", TargetError::UnknownKind("dep".into())),
            ("deployment.batch/shop", TargetError::UnknownKind("deployment.batch".into())),
            ("pod.v1/shop", TargetError::UnknownKind("pod.v1".into())),
            ("targetless", TargetError::NotOne("targetless".into())),
            ("label/app=shop", TargetError::NotOne("label/app=shop".into())),
        ] {
            assert_eq!(text.parse::<Target>().unwrap_err(), error, "{text}");
        }
    }
}
