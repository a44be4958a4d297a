//! The only caller of the Kubernetes API. It connects, asks and acts. `preview::plan`
//! decides which objects to create, and `output` prints.

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
mod load_balancers;
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
pub use load_balancers::LoadBalancers;
pub use neighbourhood::{Budget, Budgets, Services};
pub(crate) use persist::{SILENCE, persist};
pub use postmortem::Remains;
pub use sessions::{Scope, SessionList};
pub use watch::Change;

/// The most requests under way at once for one question.
const AT_ONCE: usize = 8;

/// A cluster that has answered.
#[derive(Clone)]
pub struct Cluster {
    client: Client,
    /// The namespace of the context, used where none is named.
    pub default_namespace: String,
    /// For watches and execs, which may be silent for long; connected at first use.
    long_lived: Arc<LongLived>,
    /// How far the API server's clock is ahead of this machine's.
    ahead: SignedDuration,
}

struct LongLived {
    config: kube::Config,
    client: OnceLock<Client>,
}

// === impl Cluster ===

impl Cluster {
    /// A client without a time limit for answers.
    fn long_lived_client(&self) -> Result<Client> {
        if let Some(client) = self.long_lived.client.get() {
            return Ok(client.clone());
        }
        let client = connect::client(self.long_lived.config.clone())?;
        Ok(self.long_lived.client.get_or_init(|| client).clone())
    }

    /// The time of the cluster's clock when this machine's clock shows `now`. The
    /// remaining lifetime of a session must not depend on the clock of a laptop.
    pub fn clock(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.ahead).unwrap_or(now)
    }
}
