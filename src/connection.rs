//! How to reach a cluster. A value: `config` fills it, `cluster` connects by it.

use std::path::PathBuf;

/// How to reach the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig files to merge, where they are named; else those of
    /// `of_kubectl` are used.
    pub kubeconfig: Vec<PathBuf>,
    /// Where kubectl looks: the files of `KUBECONFIG`, else the one in the home folder.
    pub of_kubectl: Vec<PathBuf>,
    /// The context; `None` for the current one.
    pub context: Option<String>,
    /// Whether any certificate is accepted; `None` leaves it to the kubeconfig.
    pub accept_invalid_certificates: Option<bool>,
}
