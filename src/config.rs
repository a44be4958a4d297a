//! The resolved configuration: a flag is stronger than the environment, which is
//! stronger than the file, which is stronger than the default. Runs every check
//! that needs no cluster.
//!
//! The only module that reads the environment and the configuration file. It does
//! not use clap or the cluster.

mod agent;
pub mod env;
mod environment;
mod fates;
pub mod fields;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
pub mod incoming;
pub mod list;
pub mod mounts;
mod path;
pub mod pattern;
mod reading;
pub mod reference;
pub mod scalar;
pub mod schema;
mod strict;
mod target;
mod template;
mod unique;
mod unused;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Error, Result};
use uuid::Uuid;

pub use agent::Agent;
pub use environment::Environment;

use crate::connection::Connection;
use crate::kubernetes_names::is_namespace;
use crate::problem::{Exit, Problem};
use crate::session::{Key, Ttl};
use crate::workload::Target;
use env::{Env, Keep};
use file::File;
use incoming::Incoming;
use mounts::Mount;
use template::{Loaded, Lost};
use unused::Unused;

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

/// Where a key comes from: `stop` and `status` do not use a generated one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The user gave it.
    Given(Key),
    /// No source gave one.
    Generated(Key),
}

/// Which environments, and where: everything that `status` and `stop` need.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The environment's key.
    pub key: KeySource,
    /// How to reach the cluster.
    pub connection: Connection,
    /// The flags of the connection that were typed: suggested commands repeat them.
    pub typed: Vec<(&'static str, String)>,
    /// The live workload, if a source names one.
    pub target: Option<Target>,
    /// The target's namespace, if a source names one.
    pub namespace: Option<String>,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
}

/// A selection and its sources.
struct Found {
    selection: Selection,
    file: File,
    /// Sources that cannot be used, and are not needed to find environments.
    troubles: Vec<(Unused, Error)>,
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

// === impl KeySource ===

impl KeySource {
    /// The key.
    pub fn key(&self) -> &Key {
        let (Self::Given(key) | Self::Generated(key)) = self;
        key
    }

    /// The key, if the user gave it.
    pub fn given(&self) -> Option<&Key> {
        match self {
            Self::Given(key) => Some(key),
            Self::Generated(_) => None,
        }
    }
}

// === impl Config ===

/// The default of mirrord.
const CREATION_TIMEOUT: Duration = Duration::from_mins(1);

impl Config {
    /// Reads the file and the environment below the flags.
    ///
    /// `randomness` makes the key where no source gives one.
    pub fn resolve(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<Self> {
        let Found { selection, file, troubles } = Selection::find(flags, environment, randomness)?;
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

// === impl Selection ===

impl Selection {
    /// Reads the part of the configuration that finds environments.
    ///
    /// A file or a target that cannot be used is ignored with a warning where the
    /// user names environments in another way.
    pub fn resolve(
        flags: &Overrides,
        environment: &Environment,
        named: Named,
        randomness: Uuid,
    ) -> Result<Self> {
        let is_named = |key: Option<&Key>| named == Named::Otherwise || key.is_some();
        // With a pattern the key is not needed, so it may be unreadable.
        let needless = named == Named::Otherwise && environment.parsed::<Key>("MIRRORD_KEY").is_err();
        let environment = &if needless { environment.without("MIRRORD_KEY") } else { environment.clone() };
        let found = match Self::find(flags, environment, randomness) {
            Ok(found) => found,
            Err(error) if is_named(flags.key.as_ref()) || environment.text("MIRRORD_KEY").is_some() => {
                let flags = Overrides { config_file: None, ..flags.clone() };
                let environment = environment.without("MIRRORD_CONFIG_FILE");
                let mut found = Self::find(&flags, &environment, randomness)?;
                found.troubles.push((Unused::File, error));
                found
            }
            Err(error) => return Err(error),
        };
        let Found { mut selection, file: _, troubles } = found;
        for (what, trouble) in troubles {
            let Some(fallback) = selection.fallback(what, named) else { return Err(trouble) };
            let causes: Vec<String> = trouble.chain().map(ToString::to_string).collect();
            selection.warnings.push(format!("{}; {fallback}", causes.join(": ")));
        }
        Ok(selection)
    }

    /// Reads all sources. An unusable one that is not needed to find environments
    /// is not an error.
    fn find(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<Found> {
        let given = match &flags.key {
            Some(key) => Some(key.clone()),
            None => environment.parsed("MIRRORD_KEY")?,
        };
        let path = flags.config_file.clone().or_else(|| environment.path("MIRRORD_CONFIG_FILE"));
        let loaded =
            path.map(|path| template::load(&path, given.as_ref(), environment, randomness)).transpose()?;
        let Loaded { key, mut file, warnings, trouble, lost } = loaded.unwrap_or_else(|| Loaded {
            key: given.map_or_else(|| KeySource::Generated(Key::generated(randomness)), KeySource::Given),
            file: File::default(),
            warnings: Vec::new(),
            trouble: None,
            lost: Lost::default(),
        });
        let mut troubles: Vec<_> =
            trouble.map(|trouble| (Unused::RestOfFile(lost), trouble)).into_iter().collect();
        let target = std::mem::take(&mut file.target);
        let kubeconfig = match &flags.kubeconfig {
            Some(path) => vec![path.clone()],
            None => environment
                .text("MIRRORD_KUBECONFIG")
                .or_else(|| file.kubeconfig.clone())
                .map(|list| environment::split_paths(&list))
                .unwrap_or_default(),
        };
        let target_path = match &flags.target {
            Some(target) => Some(target.clone()),
            None => match environment.parsed("MIRRORD_IMPERSONATED_TARGET") {
                Ok(named) => named.or(target.path),
                Err(trouble) => {
                    troubles.push((Unused::Target, trouble));
                    None
                }
            },
        };
        let namespace = match (&flags.namespace, flags.reach) {
            (Some(name), _) => Some(namespace(name, "`--namespace`")?),
            (None, Reach::Everywhere) => None,
            (None, Reach::Named) => {
                let named = environment
                    .text("MIRRORD_TARGET_NAMESPACE")
                    .map(|name| (name, "`MIRRORD_TARGET_NAMESPACE`"))
                    .or(target.namespace.map(|name| (name, "`target.namespace`")));
                named.map(|(name, source)| namespace(&name, source)).transpose().unwrap_or_else(|trouble| {
                    troubles.push((Unused::Namespace, trouble));
                    None
                })
            }
        };
        let selection = Self {
            key,
            connection: Connection {
                of_kubectl: environment::of_kubectl(environment),
                kubeconfig,
                context: flags
                    .context
                    .clone()
                    .or_else(|| environment.text("MIRRORD_KUBE_CONTEXT"))
                    .or_else(|| file.kube_context.clone()),
                accept_invalid_certificates: file.accept_invalid_certificates,
            },
            typed: typed(flags),
            target: target_path,
            namespace,
            warnings,
        };
        Ok(Found { selection, file, troubles })
    }
}

/// How the user names environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the key alone.
    ByKey,
    /// By a pattern, or all of them.
    Otherwise,
}

/// Checks that Kubernetes would accept a namespace of this name (RFC 1123 label).
fn namespace(name: &str, source: &str) -> Result<String> {
    if !is_namespace(name) {
        return Err(wrong(format!("{source} is `{name}`, which is not a valid namespace name"))
            .because_of(
                "a namespace has lower-case letters, digits and `-`, at most 63, and no `-` at either end",
            )
            .into());
    }
    Ok(name.to_owned())
}

/// The typed flags about the connection to the cluster.
fn typed(flags: &Overrides) -> Vec<(&'static str, String)> {
    let context = flags.context.iter().map(|name| ("--context", name.clone()));
    let kubeconfig = flags.kubeconfig.iter().map(|path| ("--kubeconfig", path.display().to_string()));
    context.chain(kubeconfig).collect()
}

/// A problem with the user's input; the cluster has not been contacted yet.
pub(crate) fn wrong(what: impl Into<String>) -> Problem {
    Problem::new(what).exit(Exit::Usage)
}

#[cfg(test)]
mod tests;
