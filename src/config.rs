//! The resolved answer to "what does the user want": flag, then environment,
//! then file, then default, and every check that needs no cluster.
//!
//! The only room that reads the environment and the configuration file. It
//! knows nothing of clap and nothing of the cluster.

pub mod env;
mod environment;
pub mod file;
#[cfg(fuzzing)]
pub mod fuzzing;
mod ignored;
pub mod incoming;
pub mod list;
pub mod mounts;
pub mod pattern;
mod reading;
mod target;
pub(crate) use reading::closest;
mod template;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use uuid::Uuid;

pub use environment::Environment;

use crate::problem::{Exit, Problem};
use crate::session::{Key, Ttl};
use crate::target::{Target, is_object_name};
use env::{Env, Keep};
use file::{File, LogLevel, PullPolicy};
use incoming::Incoming;
use mounts::Mount;

/// What was typed: the strongest source of every value.
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
    /// `--image`.
    pub image: Option<String>,
    /// `--ttl`.
    pub ttl: Option<Ttl>,
    /// `--timeout`.
    pub timeout: Option<Duration>,
}

/// How to reach the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Connection {
    /// The kubeconfig files to merge; empty for kubectl's own rule.
    pub kubeconfig: Vec<PathBuf>,
    /// The context; none for the current one.
    pub context: Option<String>,
    /// Whether to believe any certificate; none for the kubeconfig's word.
    pub accept_invalid_certificates: Option<bool>,
}

/// Where a key comes from: `stop` and `status` take none that was made up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeySource {
    /// The user gave it.
    Given(Key),
    /// Nobody gave one.
    Generated(Key),
}

/// Which environments, and where: all that `status` and `stop` need.
#[derive(Clone, Debug)]
pub struct Selection {
    /// The environment's key.
    pub key: KeySource,
    /// How to reach the cluster.
    pub connection: Connection,
    /// The live workload, where one was named.
    pub target: Option<Target>,
    /// The target's namespace, where one was named.
    pub namespace: Option<String>,
    /// What the user should know about the configuration.
    pub warnings: Vec<String>,
}

/// What the user wants to start.
#[derive(Clone, Debug)]
pub struct Config {
    /// Key, target and place.
    pub selection: Selection,
    /// The preview's image, where one was named.
    pub image: Option<String>,
    /// How long the environment lives.
    pub ttl: Ttl,
    /// How long `start` waits, image pulls apart.
    pub creation_timeout: Duration,
    /// How many preview pods.
    pub replicas: u32,
    /// The two programs in the cluster.
    pub agent: Agent,
    /// What happens to incoming traffic.
    pub incoming: Incoming,
    /// How the container's variables differ.
    pub env: Env,
    /// Which of the target's labels the pods carry.
    pub labels: Keep,
    /// Files that everybody in the namespace may read.
    pub config_mounts: Vec<Mount>,
    /// Files that are kept in a Secret.
    pub secret_mounts: Vec<Mount>,
}

/// How the two programs in the cluster are run.
#[derive(Clone, Debug)]
pub struct Agent {
    /// The image of both.
    pub image: String,
    /// When it is pulled; Kubernetes' own rule where nobody says.
    pub image_pull_policy: Option<PullPolicy>,
    /// With which Secrets, beside the target's own.
    pub image_pull_secrets: Vec<String>,
    /// More labels for the keeper's pod.
    pub labels: BTreeMap<String, String>,
    /// More annotations for the keeper's pod.
    pub annotations: BTreeMap<String, String>,
    /// Whether agents say nothing but how they ended.
    pub is_quiet: bool,
    /// How long requests may take to come once the preview's pods are ready; a
    /// part of the creation timeout where nobody says.
    pub startup_timeout: Option<Duration>,
    /// The account that the keeper runs as, where an admin has prepared one.
    pub service_account: Option<String>,
}

// === impl Agent ===

impl Agent {
    fn resolve(section: file::Agent, environment: &Environment) -> Self {
        let image = environment.text("MIRRORD_AGENT_IMAGE").or(section.image);
        Self {
            image: image.unwrap_or_else(|| format!("mirrord:{}", env!("CARGO_PKG_VERSION"))),
            image_pull_policy: section.image_pull_policy,
            image_pull_secrets: section.image_pull_secrets.into_iter().map(|secret| secret.name).collect(),
            labels: section.labels,
            annotations: section.annotations,
            is_quiet: matches!(section.log_level, Some(LogLevel::Off | LogLevel::Error | LogLevel::Warn)),
            startup_timeout: section.startup_timeout.map(|seconds| Duration::from_secs(seconds.0.into())),
            service_account: section.service_account,
        }
    }
}

// === impl KeySource ===

impl KeySource {
    /// The key, whoever made it.
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

/// What mirrord waits for, where nobody says how long.
const CREATION_TIMEOUT: Duration = Duration::from_mins(1);

impl Config {
    /// Reads the file and the environment, and puts the flags above them.
    ///
    /// `randomness` makes the key where nobody gave one.
    pub fn resolve(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<Self> {
        let (selection, file) = Selection::with_file(flags, environment, randomness)?;
        let preview = file.feature.preview;
        let ttl = match (flags.ttl, environment.ttl()?) {
            (Some(ttl), _) | (None, Some(ttl)) => ttl,
            (None, None) => preview.ttl()?.unwrap_or(Ttl::DEFAULT),
        };
        let config_mounts = mounts::read(preview.config_mounts, "feature.preview.config_mounts")?;
        let secret_mounts = mounts::read(preview.secret_mounts, "feature.preview.secret_mounts")?;
        mounts::distinct(config_mounts.iter().chain(&secret_mounts))?;
        let creation_timeout = environment
            .positive("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS")?
            .or(preview.creation_timeout_secs)
            .map(|seconds| Duration::from_secs(seconds.0.into()));
        let replicas = environment.positive("MIRRORD_PREVIEW_REPLICAS")?.or(preview.replicas);
        Ok(Self {
            image: flags
                .image
                .clone()
                .or_else(|| environment.text("MIRRORD_PREVIEW_IMAGE"))
                .or(preview.image),
            ttl,
            creation_timeout: flags.timeout.or(creation_timeout).unwrap_or(CREATION_TIMEOUT),
            replicas: replicas.map_or(1, |replicas| replicas.0),
            agent: Agent::resolve(file.agent, environment),
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
    /// Reads what is needed to find environments.
    ///
    /// A file that cannot be used does not keep anybody from stopping what they
    /// name otherwise: with `named` it is left aside, and said so.
    pub fn resolve(
        flags: &Overrides,
        environment: &Environment,
        named: Named,
        randomness: Uuid,
    ) -> Result<Self> {
        match Self::with_file(flags, environment, randomness) {
            Ok((selection, _)) => Ok(selection),
            Err(error)
                if named == Named::Otherwise
                    || flags.key.is_some()
                    || environment.text("MIRRORD_KEY").is_some() =>
            {
                let flags = Overrides { config_file: None, ..flags.clone() };
                let environment = environment.without("MIRRORD_CONFIG_FILE");
                let (mut selection, _) = Self::with_file(&flags, &environment, randomness)?;
                let causes: Vec<String> = error.chain().map(ToString::to_string).collect();
                selection.warnings.push(format!("{}; it is left aside", causes.join(": ")));
                Ok(selection)
            }
            Err(error) => Err(error),
        }
    }

    fn with_file(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<(Self, File)> {
        let given = match &flags.key {
            Some(key) => Some(key.clone()),
            None => environment.parsed("MIRRORD_KEY")?,
        };
        let path = flags.config_file.clone().or_else(|| environment.path("MIRRORD_CONFIG_FILE"));
        let loaded =
            path.map(|path| template::load(&path, given.as_ref(), environment, randomness)).transpose()?;
        let (key, mut file, warnings) = match loaded {
            Some(loaded) => (loaded.key, loaded.file, loaded.warnings),
            None => (
                given.map_or_else(|| KeySource::Generated(Key::generated(randomness)), KeySource::Given),
                File::default(),
                Vec::new(),
            ),
        };
        let target = std::mem::take(&mut file.target);
        let kubeconfig = match &flags.kubeconfig {
            Some(path) => vec![path.clone()],
            None => environment
                .text("MIRRORD_KUBECONFIG")
                .or_else(|| file.kubeconfig.clone())
                .map(|list| environment::split_paths(&list))
                .unwrap_or_default(),
        };
        let selection = Self {
            key,
            connection: Connection {
                kubeconfig,
                context: flags
                    .context
                    .clone()
                    .or_else(|| environment.text("MIRRORD_KUBE_CONTEXT"))
                    .or_else(|| file.kube_context.clone()),
                accept_invalid_certificates: file.accept_invalid_certificates,
            },
            target: match &flags.target {
                Some(target) => Some(target.clone()),
                None => environment.parsed("MIRRORD_IMPERSONATED_TARGET")?.or(target.path),
            },
            namespace: namespace(
                flags
                    .namespace
                    .clone()
                    .or_else(|| environment.text("MIRRORD_TARGET_NAMESPACE"))
                    .or(target.namespace),
            )?,
            warnings,
        };
        Ok((selection, file))
    }
}

/// Whether environments are named by something else than a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the key alone.
    ByKey,
    /// By a pattern, or all of them.
    Otherwise,
}

/// A namespace as Kubernetes could have taken it (RFC 1123 label).
fn namespace(name: Option<String>) -> Result<Option<String>> {
    match name {
        Some(name) if !is_object_name(&name) || name.contains('.') || name.len() > 63 => {
            Err(wrong(format!("`{name}` can be no namespace")).hint("pass `-n <namespace>`").into())
        }
        name => Ok(name),
    }
}

/// A problem with what the user wrote: nothing has been contacted yet.
pub(crate) fn wrong(what: impl Into<String>) -> Problem {
    Problem::new(what).exit(Exit::Usage)
}

#[cfg(test)]
mod tests;
