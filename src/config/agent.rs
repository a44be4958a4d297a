//! `agent`: how the two programs in the cluster, keeper and agent, are run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::Result;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

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
    /// Anything that `RUST_LOG` could hold, as mirrord's own agents take it.
    log_level: Option<String>,
    /// In seconds.
    startup_timeout: Option<Positive>,
    service_account: Option<String>,
}

/// How the two programs in the cluster are run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The image of both.
    pub image: String,
    /// When it is pulled; Kubernetes' own rule where nobody says.
    pub image_pull_policy: Option<PullPolicy>,
    /// With which Secrets, beside the target's own.
    pub image_pull_secrets: Vec<String>,
    /// More labels for the keeper's pod.
    pub labels: BTreeMap<String, String>,
    /// More annotations for the keeper's pod.
    pub annotations: BTreeMap<String, String>,
    /// What the keeper and the agents log: a level, or a list like `mirrord=debug,warn`.
    pub log_level: Option<String>,
    /// How long requests may take to come once the preview's pods are ready; a
    /// part of the creation timeout where nobody says.
    pub startup_timeout: Option<Duration>,
    /// The account that the keeper runs as, where an admin has prepared one.
    pub service_account: Option<String>,
}

/// An image as one reference; written as one, or in two parts, either of which
/// may be left to our default.
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
    /// The section with the environment above it.
    pub(super) fn resolve(self, environment: &Environment) -> Result<Agent> {
        let image = environment.text("MIRRORD_AGENT_IMAGE").or(self.image.map(|Image(image)| image));
        let image = image.unwrap_or_else(|| reference(None, None));
        let is_odd = |letter: char| letter.is_whitespace() || letter.is_control();
        if image.is_empty() || image.starts_with([':', '/']) || image.ends_with(':') || image.contains(is_odd)
        {
            return Err(wrong(format!("`agent.image` is `{image}`, which is no image"))
                .hint("correct it, or leave it out")
                .into());
        }
        if let Some(name) = self.service_account.as_ref().filter(|name| !is_object_name(name)) {
            return Err(wrong(format!(
                "`agent.service_account` is `{name}`, which can be no ServiceAccount"
            ))
            .hint("correct it, or leave it out")
            .into());
        }
        for (name, value) in &self.labels {
            let (prefix, rest) =
                name.split_once('/').map_or((None, name.as_str()), |(prefix, rest)| (Some(prefix), rest));
            let is_label = is_label_value(rest) && prefix.is_none_or(is_object_name);
            if !is_label || !(value.is_empty() || is_label_value(value)) {
                return Err(wrong(format!("`agent.labels`: `{name}: {value}` can be no label"))
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
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Image;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an image like \"registry/mirrord:1\", or {\"registry\": …, \"tag\": …}")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Image, E> {
                Ok(Image(text.to_owned()))
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Image, A::Error> {
                let parts = Parts::deserialize(MapAccessDeserializer::new(map))?;
                Ok(Image(reference(parts.registry.as_deref(), parts.tag.as_deref())))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
