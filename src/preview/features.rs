//! The features of an environment. Each file below `features/` holds what one
//! feature contributes to the verbs: the rights that it needs, and the objects that
//! have to be gone when an environment was stopped.
//!
//! A new feature is one file and one line in [`FEATURES`].

mod environment;
mod files;
mod traffic;

use super::plan::Request;
use super::rights::Right;
use crate::cluster::Leftover;
use crate::config::Config;

/// What a feature contributes to the verbs.
pub(crate) struct Feature {
    /// Whether the configuration asks for it.
    is_wanted: fn(&Config) -> bool,
    /// Whether an environment made from this request has it.
    is_planned: fn(&Request) -> bool,
    /// The rights of a user who starts, lists and stops environments that have it.
    pub(crate) user: &'static [Right],
    /// The rights of the keeper of such an environment.
    pub(crate) keeper: &'static [Right],
    /// The objects, beside pods, that the root may own because of it. They are
    /// gone before an environment counts as stopped.
    pub(crate) gone: &'static [Leftover],
}

/// The features, in the order in which they are reported.
pub(crate) static FEATURES: &[&Feature] =
    &[&environment::FEATURE, &files::CONFIG_MOUNTS, &files::SECRET_MOUNTS, &traffic::FEATURE];

/// The features of one environment: as planned, or where there is no request
/// yet as the configuration asks for.
pub(crate) fn of(config: &Config, request: Option<&Request>) -> Vec<&'static Feature> {
    let has = |feature: &&&'static Feature| match request {
        Some(request) => (feature.is_planned)(request),
        None => (feature.is_wanted)(config),
    };
    FEATURES.iter().filter(has).copied().collect()
}

/// The kinds of objects that have to be gone when an environment was stopped.
/// `stop` knows no configuration: these are the kinds of every feature.
pub(crate) fn gone() -> Vec<Leftover> {
    FEATURES.iter().flat_map(|feature| feature.gone).copied().collect()
}

// === impl Feature ===

impl Feature {
    /// A feature that every environment has, and that contributes nothing.
    const EMPTY: Self = Self { is_wanted: |_| true, is_planned: |_| true, user: &[], keeper: &[], gone: &[] };
}
