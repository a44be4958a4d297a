//! `agent`: how keeper and agents run.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_untagged::UntaggedEnumVisitor;

use super::environment::Environment;
use super::scalar::{Positive, PullPolicy};
use super::wrong;
use crate::kubernetes_names::{is_label_value, is_object_name};

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AgentSection {
    image: Option<Image>,
    image_pull_policy: Option<PullPolicy>,
    image_pull_secrets: Vec<NamedSecret>,
    labels: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    /// A level or a list of directives, as mirrord's own agents take it.
    log_level: Option<String>,
    /// In seconds.
    startup_timeout: Option<Positive>,
    service_account: Option<String>,
}

/// How keeper and agents run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The image of both.
    pub image: String,
    /// When it is pulled; without it, Kubernetes decides by the tag.
    pub image_pull_policy: Option<PullPolicy>,
    /// Secrets with registry credentials, in addition to the target's.
    pub image_pull_secrets: Vec<String>,
    /// Labels added to the keeper's pod.
    pub labels: BTreeMap<String, String>,
    /// Annotations added to the keeper's pod.
    pub annotations: BTreeMap<String, String>,
    /// What the keeper and the agents log: a level, or a list like `mirrord=debug,warn`.
    pub log_level: Option<String>,
    /// How long routing may take to be proven once the preview pods are ready;
    /// without it, a part of the creation timeout.
    pub startup_timeout: Option<Duration>,
    /// The ServiceAccount of the keeper, where an admin has prepared one.
    pub service_account: Option<String>,
}

/// An image's reference, written as one string or as `registry` and `tag`, both
/// with defaults.
#[derive(Debug)]
struct Image(String);

/// A Secret by its name.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct NamedSecret {
    name: String,
}

// === impl AgentSection ===

impl AgentSection {
    /// Resolves the section below the environment.
    pub(super) fn resolve(self, environment: &Environment) -> Result<Agent> {
        let image = environment.text("MIRRORD_AGENT_IMAGE").or(self.image.map(|Image(image)| image));
        let image = image.unwrap_or_else(|| reference(None, None));
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        if image.is_empty() || image.starts_with([':', '/']) || image.ends_with(':') || image.contains(is_odd)
        {
            return Err(wrong(format!("`agent.image` is `{image}`, which is not an image"))
                .hint("correct it, or leave it out")
                .into());
        }
        if let Some(name) = self.service_account.as_ref().filter(|name| !is_object_name(name)) {
            return Err(wrong(format!(
                "`agent.service_account` is `{name}`, which is not a valid ServiceAccount name"
            ))
            .hint("correct it, or leave it out")
            .into());
        }
        for (name, value) in &self.labels {
            let (prefix, rest) =
                name.split_once('/').map_or((None, name.as_str()), |(prefix, rest)| (Some(prefix), rest));
            let is_label = is_label_value(rest) && prefix.is_none_or(is_object_name);
            if !is_label || !(value.is_empty() || is_label_value(value)) {
                return Err(wrong(format!("`agent.labels`: `{name}: {value}` is not a valid label"))
                    .because_of("a label has letters, digits, `-`, `_` and `.`, at most 63, and begins and ends with a letter or digit")
                    .into());
            }
        }
        Ok(Agent {
            image,
            image_pull_policy: self.image_pull_policy,
            image_pull_secrets: self.image_pull_secrets.into_iter().map(|secret| secret.name).collect(),
            labels: self.labels,
            annotations: self.annotations,
            log_level: self.log_level,
            startup_timeout: self.startup_timeout.map(|seconds| Duration::from_secs(seconds.0.into())),
            service_account: self.service_account,
        })
    }
}

// === impl Image ===

fn reference(registry: Option<&str>, tag: Option<&str>) -> String {
    format!("{}:{}", registry.unwrap_or("mirrord"), tag.unwrap_or(env!("CARGO_PKG_VERSION")))
}

impl<'de> Deserialize<'de> for Image {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Parts {
            registry: Option<String>,
            tag: Option<String>,
        }
        UntaggedEnumVisitor::new()
            .expecting("an image like \"registry/mirrord:1\", or {\"registry\": …, \"tag\": …}")
            .string(|text| Ok(Self(text.to_owned())))
            .map(|map| {
                let parts: Parts = map.deserialize()?;
                Ok(Self(reference(parts.registry.as_deref(), parts.tag.as_deref())))
            })
            .deserialize(deserializer)
    }
}
