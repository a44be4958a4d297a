//! How to reach a cluster. A value: `config` fills it, `cluster` connects by it.

use std::path::PathBuf;

/// How to reach the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig files to merge, where they are named; else those of
    /// `of_kubectl` are used.
    pub kubeconfig: Vec<PathBuf>,
    /// Which source names `kubeconfig`.
    pub source: Source,
    /// Where kubectl looks: the files of `KUBECONFIG`, else the one in the home folder.
    pub of_kubectl: Vec<PathBuf>,
    /// The context; `None` for the current one.
    pub context: Option<String>,
    /// Whether any certificate is accepted; `None` leaves it to the kubeconfig.
    pub accept_invalid_certificates: Option<bool>,
}

/// Which source names the kubeconfig.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Source {
    /// A flag or a variable, or kubectl's rules.
    #[default]
    User,
    /// The configuration file.
    File,
    /// The configuration file, and this kubeconfig belongs to the same checkout: both
    /// may be a stranger's.
    Checkout(PathBuf),
}

/// What a command does in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It only reads. Users expect no harm from it, so it runs no program that a
    /// checkout names.
    Look,
    /// It creates, changes or deletes environments.
    Change,
}
