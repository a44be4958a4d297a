//! Every question that `start` and `doctor` ask before anything is created: the
//! target and its routing, permissions, admission, network policies, nodes, other
//! keys, and the objects of the namespace that select the preview pods.
//!
//! It asks the cluster and creates nothing. `preview::plan` is made from the answers.

pub(crate) mod admission;
mod agent_labels;
pub(crate) mod concurrent_steal;
pub(crate) mod inspection;
pub(crate) mod keeper_account;
pub(crate) mod network_policies;
pub(crate) mod nodes;
pub(crate) mod rights;
mod routing;
pub(crate) mod selectors;
mod uninvited;
