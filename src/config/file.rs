//! `mirrord.json` as types: the honoured fields of the table, and no others.

use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

use super::agent::AgentSection;
use super::env::{self, EnvSection, Keep};
use super::incoming::{self, IncomingSection};
use super::list::Patterns;
use super::mounts::MountSection;
use super::scalar::{Positive, TtlField};
use super::target::TargetSection;
use super::wrong;
use crate::session::Ttl;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where editors find the schema; without effect here.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The key, read before everything else; see `template`.
    pub key: Option<Value>,
    /// The kubeconfig's context.
    pub kube_context: Option<String>,
    /// The kubeconfig's path.
    pub kubeconfig: Option<String>,
    /// Whether the API server's certificate may be invalid.
    pub accept_invalid_certificates: Option<bool>,
    /// Without effect: it switches mirrord's operator.
    pub operator: Option<bool>,
    /// The live workload.
    pub target: TargetSection,
    /// How the preview differs from the target.
    pub feature: FeatureSection,
    /// Keeper and agents.
    pub agent: AgentSection,
}

/// `feature`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureSection {
    /// The preview's pods.
    pub preview: PreviewSection,
    /// Its traffic.
    pub network: Network,
    /// Its variables.
    #[serde(deserialize_with = "env::section")]
    pub env: EnvSection,
}

/// `feature.preview`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PreviewSection {
    /// The user's image.
    pub image: Option<String>,
    /// Minutes, or `infinite`.
    pub ttl_mins: Option<TtlField>,
    /// Seconds, or `infinite`.
    pub ttl_secs: Option<TtlField>,
    /// Seconds that `start` waits.
    pub creation_timeout_secs: Option<Positive>,
    /// How many pods.
    pub replicas: Option<Positive>,
    /// Which of the target's labels the pods carry.
    pub labels: LabelsSection,
    /// Files in a ConfigMap.
    pub config_mounts: Vec<MountSection>,
    /// Files in a Secret.
    pub secret_mounts: Vec<MountSection>,
}

/// `feature.preview.labels`: patterns of label names.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LabelsSection {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
}

/// `feature.network`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a boolean or an object")]
pub struct Network {
    /// What happens to incoming traffic.
    #[serde(deserialize_with = "incoming::section")]
    pub incoming: IncomingSection,
}

// === impl PreviewSection ===

impl PreviewSection {
    /// The time to live, if the file sets one.
    pub fn ttl(&self) -> Result<Option<Ttl>> {
        let ttl = match (self.ttl_mins, self.ttl_secs) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(wrong("`feature.preview` has both `ttl_mins` and `ttl_secs`")
                    .hint("remove one of them")
                    .into());
            }
            (Some(TtlField::Infinite), None) | (None, Some(TtlField::Infinite)) => Ok(Ttl::Infinite),
            (Some(TtlField::Units(minutes)), None) => Ttl::from_minutes(minutes),
            (None, Some(TtlField::Units(seconds))) => Ttl::from_seconds(seconds),
        };
        ttl.map(Some).map_err(|error| wrong(format!("`feature.preview`: {error}")).into())
    }
}

// === impl LabelsSection ===

impl LabelsSection {
    /// Which labels stay.
    pub(super) fn resolve(self) -> Result<Keep> {
        match (self.include, self.exclude) {
            (Some(_), Some(_)) => Err(wrong("`feature.preview.labels` has both `include` and `exclude`")
                .hint("remove one of them")
                .into()),
            (Some(include), None) => Ok(Keep::Only(include)),
            (None, Some(exclude)) => Ok(Keep::AllBut(exclude)),
            (None, None) => Ok(Keep::All),
        }
    }
}
