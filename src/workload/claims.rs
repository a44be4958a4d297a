//! The claims that a workload's volumes name.

use std::collections::BTreeSet;

/// The claims of a template, by who may write to them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Claims {
    /// Those that only one node, or one pod, may mount at a time.
    pub exclusive: BTreeSet<String>,
    /// Those that any number of pods may write to.
    pub shared: BTreeSet<String>,
}
