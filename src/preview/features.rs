//! The features of an environment. Each file below `features/` holds the parts that one
//! feature contributes to the verbs: its rights, its condition for readiness, its part of
//! the reports, and the objects that have to be gone when an environment was stopped.
//!
//! A new feature is one file and one line in [`FEATURES`].

mod condition;
mod environment;
mod files;
mod traffic;

use futures::future::{BoxFuture, FutureExt as _, ready};
use jiff::Timestamp;
use serde_json::Value;

pub(super) use self::condition::{Condition, Failed, Readiness, State, WaitLimit};
use super::listed::Listed;
use super::plan::Request;
use super::preflight::inspection::Inspection;
use super::progress::Observed;
use super::render::Column;
use super::rights::Right;
use crate::cluster::{Cluster, Leftover};
use crate::config::Config;
use crate::session::Session;

/// A field of the document of `status -o json`: its name and its content.
type Document = (&'static str, fn(&Session) -> Value);

/// What a feature contributes to the verbs.
pub(crate) struct Feature {
    /// Whether an environment has it: by the configuration, and by the inspection
    /// of the target where there is one.
    is_wanted: fn(&Config, Option<&Inspection>) -> bool,
    /// The rights of a user who starts, lists and stops environments that have it.
    pub(crate) user: &'static [Right],
    /// The rights of the keeper of such an environment.
    pub(crate) keeper: &'static [Right],
    /// The objects, beside pods, that the root may own because of it. They are
    /// gone before an environment counts as stopped.
    pub(crate) gone: &'static [Leftover],
    /// Its columns in the tables of `status`.
    pub(super) columns: &'static [Column],
    /// Its further columns in the wide table.
    pub(super) wide_columns: &'static [Column],
    /// Its field in the document of `status -o json`.
    pub(super) document: Option<Document>,
    /// Its condition in an environment that starts; `None` if there is nothing to wait for.
    condition: fn(&Observed, &Request, now: Timestamp) -> Option<Condition>,
    /// Why it does not work yet, or any more; `None` while it works or is not used.
    pub(super) unready: fn(&Listed) -> Option<String>,
    /// Its `info` lines at the end of `start`.
    started: for<'a> fn(&'a Cluster, &'a Request, &'a Session) -> BoxFuture<'a, Vec<String>>,
}

/// The features, in the order in which they are reported.
pub(crate) static FEATURES: &[&Feature] =
    &[&environment::FEATURE, &files::CONFIG_MOUNTS, &files::SECRET_MOUNTS, &traffic::FEATURE];

/// The features of one environment.
pub(crate) fn of(config: &Config, inspection: Option<&Inspection>) -> Vec<&'static Feature> {
    FEATURES.iter().filter(|feature| (feature.is_wanted)(config, inspection)).copied().collect()
}

/// The kinds of objects that have to be gone when an environment was stopped.
/// `stop` knows no configuration: these are the kinds of every feature.
pub(crate) fn gone() -> Vec<Leftover> {
    FEATURES.iter().flat_map(|feature| feature.gone).copied().collect()
}

/// Whether an environment that starts is ready at `now`, by the conditions of its
/// features.
pub(super) fn readiness(observed: &Observed, request: &Request, now: Timestamp) -> Readiness {
    condition::joined(FEATURES.iter().filter_map(|feature| (feature.condition)(observed, request, now)))
}

/// The `info` lines that the features contribute to `start`.
pub(super) async fn started(cluster: &Cluster, request: &Request, session: &Session) -> Vec<String> {
    let mut lines = Vec::new();
    for feature in FEATURES {
        lines.extend((feature.started)(cluster, request, session).await);
    }
    lines
}

// === impl Feature ===

impl Feature {
    /// A feature that every environment has, and that contributes nothing.
    const EMPTY: Self = Self {
        is_wanted: |_, _| true,
        user: &[],
        keeper: &[],
        gone: &[],
        columns: &[],
        wide_columns: &[],
        document: None,
        condition: |_, _, _| None,
        unready: |_| None,
        started: |_, _, _| ready(Vec::new()).boxed(),
    };
}
