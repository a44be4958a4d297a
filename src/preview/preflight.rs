//! Every question that `start` and `doctor` ask before anything is created:
//! what the target is, whether requests can be routed, who may do what, and
//! what else in the namespace will notice the preview.
//!
//! Asks the cluster and creates nothing. What the answers lead to is decided in
//! `preview::plan`.

pub(crate) mod admission;
pub(crate) mod concurrent_steal;
pub(crate) mod inspection;
pub(crate) mod keeper_account;
pub(crate) mod network_policies;
pub(crate) mod nodes;
pub(crate) mod rights;
mod routing;
pub(crate) mod selectors;
