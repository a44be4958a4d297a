//! The resolved configuration: a flag is stronger than the environment, which is
//! stronger than the file, which is stronger than the default. Runs every check
//! that needs no cluster.
//!
//! The only module that reads the environment and the configuration file. It does
//! not use clap or the cluster.

mod agent;
mod checkout;
pub mod env;
mod environment;
mod fates;
pub mod fields;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod incoming;
mod input;
mod key_source;
pub mod list;
pub mod mounts;
mod path;
pub mod pattern;
mod reading;
pub mod reference;
pub mod scalar;
pub mod schema;
mod selection;
mod strict;
mod target;
mod template;
mod unique;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

pub use agent::Agent;
pub use environment::Environment;
pub use key_source::KeySource;
pub use scalar::{IncomingMode, PullPolicy};
pub use selection::{Named, Selection};

use crate::problem::{Exit, Problem};
use crate::session::{Key, Ttl};
use crate::workload::Target;
use env::{Env, Keep};
use incoming::Incoming;
use mounts::Mount;
use selection::Resolved;

/// The values of flags: the strongest source.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--config-file`; `-` is standard input.
    pub config_file: Option<PathBuf>,
    /// `--key`.
    pub key: Option<Key>,
    /// `--context`.
    pub context: Option<String>,
    /// `--kubeconfig`.
    pub kubeconfig: Option<PathBuf>,
    /// `--target`.
    pub target: Option<Target>,
    /// `--namespace`.
    pub namespace: Option<String>,
    /// Which namespaces are searched: `--all-namespaces` is stronger than variables and the file.
    pub reach: Reach,
    /// `--image`.
    pub image: Option<String>,
    /// `--ttl`.
    pub ttl: Option<Ttl>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
}

/// Which namespaces are searched.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Reach {
    /// The one that a source names.
    #[default]
    Named,
    /// All of them.
    Everywhere,
}

/// What the user wants to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Key, target and place.
    pub selection: Selection,
    /// The preview's image, if a source names one.
    pub image: Option<String>,
    /// How long the environment lives.
    pub ttl: Ttl,
    /// How long `start` waits, without the time of image pulls.
    pub creation_timeout: Duration,
    /// The number of preview pods.
    pub replicas: u32,
    /// How keeper and agents run.
    pub agent: Agent,
    /// Which requests are routed, and how.
    pub incoming: Incoming,
    /// Changes to the container's variables.
    pub env: Env,
    /// Which of the target's labels the preview pods carry.
    pub labels: Keep,
    /// Files in a ConfigMap.
    pub config_mounts: Vec<Mount>,
    /// Files in a Secret.
    pub secret_mounts: Vec<Mount>,
}

// === impl Config ===

/// The default of mirrord.
const CREATION_TIMEOUT: Duration = Duration::from_mins(1);

impl Config {
    /// Reads the file and the environment below the flags.
    ///
    /// `randomness` makes the key where no source gives one.
    pub fn resolve(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<Self> {
        let Resolved { selection, file, troubles } = Selection::find(flags, environment, randomness)?;
        if let Some((_, trouble)) = troubles.into_iter().next() {
            return Err(trouble);
        }
        let preview = file.feature.preview;
        // A weaker source is not read: it may be wrong.
        let ttl = match flags.ttl {
            Some(ttl) => ttl,
            None => match environment.ttl()? {
                Some(ttl) => ttl,
                None => preview.ttl()?.unwrap_or(Ttl::DEFAULT),
            },
        };
        let config_mounts = mounts::read(preview.config_mounts, "feature.preview.config_mounts")?;
        let secret_mounts = mounts::read(preview.secret_mounts, "feature.preview.secret_mounts")?;
        mounts::distinct(config_mounts.iter().chain(&secret_mounts))?;
        let creation_timeout = match flags.timeout {
            Some(timeout) => Some(timeout),
            None => environment
                .timeout("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS")?
                .or(preview.creation_timeout_secs.map(|seconds| Duration::from_secs(seconds.0.into()))),
        };
        let replicas = environment.positive("MIRRORD_PREVIEW_REPLICAS")?.or(preview.replicas);
        Ok(Self {
            image: flags
                .image
                .clone()
                .or_else(|| environment.text("MIRRORD_PREVIEW_IMAGE"))
                .or(preview.image),
            ttl,
            creation_timeout: creation_timeout.unwrap_or(CREATION_TIMEOUT),
            replicas: replicas.map_or(1, |replicas| replicas.0),
            agent: file.agent.resolve(environment)?,
            incoming: file.feature.network.incoming.resolve(environment)?,
            env: file.feature.env.resolve(environment)?,
            labels: preview.labels.resolve()?,
            config_mounts,
            secret_mounts,
            selection,
        })
    }
}

/// A problem with the user's input; the cluster has not been contacted yet.
pub(crate) fn wrong(what: impl Into<String>) -> Problem {
    Problem::new(what).exit(Exit::Usage)
}

#[cfg(test)]
mod tests;
