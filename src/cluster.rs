//! The only caller of the Kubernetes API. It connects, asks and acts; what to
//! create is decided in `preview::plan`, and nothing is printed here.

mod act;
mod connect;
pub mod explain;
mod read;
mod resolve;
mod watch;

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
}
