//! The grammar of targets: `kind/name[/container/name]`.

use std::fmt;
use std::str::FromStr;

use serde_json::Value;
use thiserror::Error;

use super::{KINDS, Kind, Origin};
use crate::kubernetes_names::{is_object_name, label_value};
use crate::words;

/// A live workload, and perhaps one of its containers.
#[derive(Clone)]
pub struct Target {
    kind: &'static Kind,
    name: String,
    container: Option<String>,
}

/// Why a text is not a target.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum TargetError {
    /// Neither `kind/name` nor `kind/name/container/name`.
    #[error(
        "`{0}` is not a valid target; write `kind/name` or `kind/name/container/name`, as in `deployment/shop`"
    )]
    Shape(String),
    /// A kind that is not in [`KINDS`].
    #[error("unknown target kind `{0}`; expected {kinds}", kinds = words::one_of(&kind_names()))]
    UnknownKind(String),
    /// One of mirrord's forms that do not name a single workload.
    #[error("`{0}` does not name a single workload; write `kind/name`, as in `deployment/shop`")]
    NotOne(String),
    /// A name that Kubernetes does not take.
    #[error("`{0}` is not a valid Kubernetes name")]
    Name(String),
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

    /// The container, if one was named.
    pub fn container(&self) -> Option<&str> {
        self.container.as_deref()
    }

    /// The workload without the container: `deployment/shop`.
    pub fn path(&self) -> String {
        format!("{}/{}", self.kind.name, self.name)
    }

    /// The target without its container.
    #[must_use]
    pub fn without_container(mut self) -> Self {
        self.container = None;
        self
    }

    /// The label value, for `kubectl get -l`: kind and name, or a hash if they are
    /// too long.
    pub fn label_value(&self) -> String {
        label_value(&format!("{}-{}", self.kind.name, self.name))
    }

    /// Finds the template in the live object.
    pub fn origin(&self, object: &Value) -> Option<Origin> {
        self.kind.origin(object)
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

/// Finds a kind by any name that users write: `deploy`, `Deployment`, `deployments`,
/// and with its group as kubectl prints it: `deployment.apps`, `deployments.v1.apps`.
pub(crate) fn find(name: &str) -> Option<&'static Kind> {
    let lower = name.to_ascii_lowercase();
    let (name, group) = lower.split_once('.').map_or((&*lower, None), |(name, group)| (name, Some(group)));
    KINDS.iter().copied().find(|kind| {
        let is_group = |group: &str| {
            let versioned = group.strip_prefix(kind.version).and_then(|rest| rest.strip_prefix('.'));
            !kind.group.is_empty() && (group == kind.group || versioned == Some(kind.group))
        };
        (kind.name == name || kind.aliases.contains(&name)) && group.is_none_or(is_group)
    })
}

/// The names of all kinds, as targets spell them.
fn kind_names() -> Vec<&'static str> {
    KINDS.iter().map(|kind| kind.name).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_text_that_is_not_a_target_gives_the_reason() {
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
