//! `mirrord.json` as types: every field that is honoured, and no other.

use std::fmt;
use std::str::FromStr;

use anyhow::Result;
use serde::Deserialize;
use serde::de::{self, Deserializer, Visitor};
use serde_json::Value;

use super::agent::AgentSection;
use super::env::{EnvSection, Keep};
use super::incoming::IncomingSection;
use super::list::Patterns;
use super::mounts::MountSection;
use super::target::TargetSection;
use super::wrong;
use crate::session::Ttl;

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    /// Where editors find the schema; of no meaning here.
    #[serde(rename = "$schema")]
    pub schema: Option<String>,
    /// The key, read before everything else; see `template`.
    pub key: Option<Value>,
    /// The kubeconfig's context.
    pub kube_context: Option<String>,
    /// The kubeconfig's path.
    pub kubeconfig: Option<String>,
    /// Whether to believe any certificate.
    pub accept_invalid_certificates: Option<bool>,
    /// mirrord's switch for its operator: there is none to switch.
    pub operator: Option<bool>,
    /// The live workload.
    pub target: TargetSection,
    /// What differs in the preview.
    pub feature: Feature,
    /// The two programs in the cluster.
    pub agent: AgentSection,
}

/// `feature`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Feature {
    /// The preview itself.
    pub preview: Preview,
    /// Its traffic.
    pub network: Network,
    /// Its variables.
    pub env: EnvSection,
}

/// `feature.preview`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Preview {
    /// The user's image.
    pub image: Option<String>,
    /// Minutes, or `infinite`.
    pub ttl_mins: Option<Life>,
    /// Seconds, or `infinite`.
    pub ttl_secs: Option<Life>,
    /// Seconds that `start` waits.
    pub creation_timeout_secs: Option<Positive>,
    /// How many pods.
    pub replicas: Option<Positive>,
    /// Which of the target's labels the pods carry.
    pub labels: LabelsSection,
    /// Files that everybody in the namespace may read.
    pub config_mounts: Vec<MountSection>,
    /// Files that are kept in a Secret.
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
    pub incoming: IncomingSection,
}

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PullPolicy {
    /// Each time.
    Always,
    /// Where the node has none.
    IfNotPresent,
    /// Not at all.
    Never,
}

/// What happens to incoming traffic that carries the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mode {
    /// It goes to the preview instead.
    Steal,
    /// The preview gets a copy.
    Mirror,
    /// Nothing.
    Off,
}

/// An integer above zero, as far as a Job or a ReplicaSet can count.
#[derive(Clone, Copy, Debug)]
pub struct Positive(pub u32);

/// A number of minutes or seconds, or `infinite`.
#[derive(Clone, Copy, Debug)]
pub enum Life {
    /// So many.
    Units(u64),
    /// Without end.
    Infinite,
}

// === impl Preview ===

impl Preview {
    /// The time to live, where the file says one.
    pub fn ttl(&self) -> Result<Option<Ttl>> {
        let ttl = match (self.ttl_mins, self.ttl_secs) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(wrong("`feature.preview` has both `ttl_mins` and `ttl_secs`")
                    .hint("remove one of them")
                    .into());
            }
            (Some(Life::Infinite), None) | (None, Some(Life::Infinite)) => Ok(Ttl::Infinite),
            (Some(Life::Units(minutes)), None) => Ttl::from_minutes(minutes),
            (None, Some(Life::Units(seconds))) => Ttl::from_seconds(seconds),
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

// === impl Mode ===

impl FromStr for Mode {
    type Err = &'static str;

    /// As mirrord reads it: the mode's word, or whether to steal at all.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "steal" | "true" => Ok(Self::Steal),
            "mirror" => Ok(Self::Mirror),
            "off" | "false" => Ok(Self::Off),
            _ => Err("it must be `steal`, `mirror` or `off`"),
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Steal => "steal",
            Self::Mirror => "mirror",
            Self::Off => "off",
        })
    }
}

// === impl Life ===

impl<'de> Deserialize<'de> for Life {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Life;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an integer above 0, or \"infinite\"")
            }

            fn visit_u64<E: de::Error>(self, units: u64) -> Result<Life, E> {
                if units == 0 {
                    return Err(E::invalid_value(de::Unexpected::Unsigned(0), &self));
                }
                Ok(Life::Units(units))
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Life, E> {
                if text == "infinite" {
                    return Ok(Life::Infinite);
                }
                Err(E::invalid_value(de::Unexpected::Str(text), &self))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

// === impl Positive ===

impl Positive {
    /// The largest number that Kubernetes counts to.
    pub(super) const MOST: u32 = i32::MAX.unsigned_abs();
}

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl Visitor<'_> for Reader {
            type Value = Positive;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an integer above 0")
            }

            fn visit_u64<E: de::Error>(self, number: u64) -> Result<Positive, E> {
                match u32::try_from(number) {
                    Ok(within @ 1..=Positive::MOST) => Ok(Positive(within)),
                    Ok(0) => Err(E::invalid_value(de::Unexpected::Unsigned(number), &self)),
                    _ => Err(E::invalid_value(
                        de::Unexpected::Unsigned(number),
                        &&*format!("an integer above 0, up to {}", Positive::MOST),
                    )),
                }
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
