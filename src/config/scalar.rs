//! Single values of the file and the environment: numbers with their bounds,
//! durations, and words from a fixed list.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, Unexpected};
use serde_untagged::UntaggedEnumVisitor;

use crate::session::duration::{Unit, duration};

/// When an image is pulled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
pub enum PullPolicy {
    /// Each time a container starts.
    Always,
    /// Where the node does not have it.
    IfNotPresent,
    /// Never: the node must have it.
    Never,
}

// === impl PullPolicy ===

impl PullPolicy {
    /// The value of `imagePullPolicy` in a pod.
    pub fn as_kubernetes(self) -> &'static str {
        match self {
            Self::Always => "Always",
            Self::IfNotPresent => "IfNotPresent",
            Self::Never => "Never",
        }
    }
}

/// What happens to incoming traffic that carries the key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum IncomingMode {
    /// It goes to the preview instead.
    Steal,
    /// The preview gets a copy.
    Mirror,
    /// Nothing.
    Off,
}

/// An integer from 1 to the largest that a Job or a ReplicaSet can count.
#[derive(Clone, Copy, Debug)]
pub struct Positive(pub u32);

/// A port's number, 1 to 65535.
#[derive(Clone, Copy, Debug)]
pub struct PortNumber(pub u16);

/// A number of minutes or seconds, or `infinite`.
#[derive(Clone, Copy, Debug)]
pub enum TtlField {
    /// A number above 0 of the field's unit.
    Units(u64),
    /// Without end.
    Infinite,
}

// === impl IncomingMode ===

impl FromStr for IncomingMode {
    type Err = &'static str;

    /// A mode by its name, or mirrord's older form: whether to steal.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "steal" | "true" => Ok(Self::Steal),
            "mirror" => Ok(Self::Mirror),
            "off" | "false" => Ok(Self::Off),
            _ => Err("it must be `steal`, `mirror` or `off`"),
        }
    }
}

impl fmt::Display for IncomingMode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Steal => "steal",
            Self::Mirror => "mirror",
            Self::Off => "off",
        })
    }
}

// === impl TtlField ===

impl<'de> Deserialize<'de> for TtlField {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "an integer above 0, or \"infinite\"";
        UntaggedEnumVisitor::new()
            .expecting(ALLOWED)
            .u64(|units| match units {
                0 => Err(de::Error::invalid_value(Unexpected::Unsigned(0), &ALLOWED)),
                _ => Ok(Self::Units(units)),
            })
            .string(|text| match text {
                "infinite" => Ok(Self::Infinite),
                _ => Err(de::Error::invalid_value(Unexpected::Str(text), &ALLOWED)),
            })
            .deserialize(deserializer)
    }
}

// === impl Positive ===

impl Positive {
    /// The largest number that Kubernetes counts to.
    pub(super) const MAX: u32 = i32::MAX.unsigned_abs();
}

impl<'de> Deserialize<'de> for Positive {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "an integer above 0";
        UntaggedEnumVisitor::new()
            .expecting(ALLOWED)
            .u64(|number| match u32::try_from(number) {
                Ok(within @ 1..=Self::MAX) => Ok(Self(within)),
                Ok(0) => Err(de::Error::invalid_value(Unexpected::Unsigned(0), &ALLOWED)),
                _ => {
                    let allowed = format!("{ALLOWED}, up to {}", Self::MAX);
                    Err(de::Error::invalid_value(Unexpected::Unsigned(number), &allowed.as_str()))
                }
            })
            .deserialize(deserializer)
    }
}

// === impl PortNumber ===

impl<'de> Deserialize<'de> for PortNumber {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        const ALLOWED: &str = "a port, an integer from 1 to 65535";
        UntaggedEnumVisitor::new()
            .expecting(ALLOWED)
            .u64(|number| match u16::try_from(number) {
                Ok(port @ 1..) => Ok(Self(port)),
                _ => Err(de::Error::invalid_value(Unexpected::Unsigned(number), &ALLOWED)),
            })
            .deserialize(deserializer)
    }
}

/// Reads how long `start` waits, as the flag and the variable take it: a bare
/// number counts seconds.
pub fn timeout(text: &str) -> Result<Duration, String> {
    let timeout = duration(text, Unit::Seconds)
        .map_err(|_| "a timeout is seconds as a number, or a duration like `90s` or `5m`".to_owned())?;
    if timeout.is_zero() {
        return Err("a timeout must be above zero".to_owned());
    }
    if timeout.as_secs() > u64::from(Positive::MAX) {
        return Err("a timeout may be at most 68 years".to_owned());
    }
    Ok(timeout)
}
