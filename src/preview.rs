//! The verbs. Each reads the configuration, resolves the target, plans, acts,
//! waits and reports.

pub mod doctor;
pub mod extend;
mod features;
mod find;
mod interrupts;
pub(crate) mod lifetime;
mod listed;
pub(crate) mod plan;
mod preflight;
mod progress;
pub mod rbac;
mod render;
pub(crate) mod rights;
mod selector;
pub mod start;
pub mod status;
pub mod stop;

use anyhow::Result;

use self::interrupts::Interrupts;
pub(crate) use self::interrupts::unless_interrupted;
pub use self::selector::{Selector, Standing};
use crate::cluster::Cluster;
use crate::config::Selection;
use crate::connection::Purpose;
use crate::output::Reporter;

/// Connects to the cluster, as the first step of a verb. Other programs read the
/// names of this step.
async fn connected(selection: &Selection, purpose: Purpose, reporter: &Reporter) -> Result<Cluster> {
    let step = reporter.step("connecting to operator");
    let cluster = Cluster::connect(&selection.connection, purpose).await?;
    step.done("connected to operator");
    Ok(cluster)
}
