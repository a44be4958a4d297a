//! The only caller of the Kubernetes API. It connects, asks and acts; what to
//! create is decided in `preview::plan`, and nothing is printed here.

mod act;
mod ask;
mod connect;
mod deadline;
mod error;
mod explain;
#[cfg(test)]
pub(crate) mod fake;
mod glance;
mod keep;
mod leftover;
pub mod messages;
mod names;
mod neighbourhood;
mod persist;
mod postmortem;
mod resolve;
mod sessions;
mod watch;

use std::sync::{Arc, OnceLock};

use jiff::{SignedDuration, Timestamp};
use kube::Client;

pub(crate) use act::END;
pub use ask::{Access, Verdict, place};
pub(crate) use deadline::Deadline;
pub use error::{Error, MissingRight, Result};
pub use leftover::Leftover;
pub use neighbourhood::Services;
pub(crate) use persist::{SILENCE, persist};
pub use postmortem::Remains;
pub use sessions::{Found, Scope};
pub use watch::Change;

/// How many requests of one question are on their way at once.
const AT_ONCE: usize = 8;

/// A cluster that has answered.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The namespace of the context, for those who name none.
    pub default_namespace: String,
    /// For watches and conversations, which are silent for as long as nothing
    /// changes; connected when first needed.
    patient: Arc<Patient>,
    /// How far the API server's clock is ahead of this machine's.
    ahead: SignedDuration,
}

struct Patient {
    config: kube::Config,
    client: OnceLock<Client>,
}

// === impl Cluster ===

impl Cluster {
    /// A client that waits for ever.
    fn patient(&self) -> Result<Client> {
        if let Some(client) = self.patient.client.get() {
            return Ok(client.clone());
        }
        let client = connect::client(self.patient.config.clone())?;
        Ok(self.patient.client.get_or_init(|| client).clone())
    }

    /// What the cluster's clock shows when this machine's shows `now`: what is
    /// left of a life does not depend on a laptop's clock.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.ahead).unwrap_or(now)
    }
}
