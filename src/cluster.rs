//! The only caller of the Kubernetes API. It connects, asks and acts; what to
//! create is decided in `preview::plan`, and nothing is printed here.

mod act;
mod connect;
pub mod explain;
mod keep;
mod read;
mod resolve;
mod watch;

use jiff::{SignedDuration, Timestamp};
use kube::Client;

pub(crate) use act::END;
pub use read::{Found, Scope};
pub use watch::Change;

/// A cluster that has answered.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The namespace of the context, for those who name none.
    pub default_namespace: String,
    /// For watches, which are silent for as long as nothing changes.
    patient: kube::Config,
    /// How far the API server's clock is ahead of this machine's.
    ahead: SignedDuration,
}

// === impl Cluster ===

impl Cluster {
    /// What the cluster's clock shows when this machine's shows `now`: what is
    /// left of a life does not depend on a laptop's clock.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.ahead).unwrap_or(now)
    }
}
