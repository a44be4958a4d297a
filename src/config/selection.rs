//! The part of the configuration that finds environments: key, target, namespace
//! and connection. `status`, `stop` and `extend` need no more, and go on without a
//! source that cannot be used; the warning says which environments are then
//! selected, which may be more than the user intended.

use anyhow::{Error, Result};
use uuid::Uuid;

use super::file::File;
use super::key_source::KeySource;
use super::template::{self, Loaded, Lost};
use super::{Environment, Overrides, Reach, checkout, environment, wrong};
use crate::connection::{Connection, Source};
use crate::kubernetes_names::is_namespace;
use crate::session::Key;
use crate::workload::Target;

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
    /// Whether `--all-namespaces` was typed.
    pub reach: Reach,
    /// Warnings about the configuration.
    pub warnings: Vec<String>,
}

/// A selection and its sources.
pub(super) struct Resolved {
    pub(super) selection: Selection,
    pub(super) file: File,
    /// Sources that cannot be used, and are not needed to find environments.
    pub(super) troubles: Vec<(Unused, Error)>,
}

/// A source that cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unused {
    /// The file.
    File,
    /// The file, except the fields that find environments; some of them may be lost.
    RestOfFile(Lost),
    /// The environment's target.
    Target,
    /// The namespace of the environment or the file.
    Namespace,
}

/// How the user names environments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Named {
    /// By the key alone.
    ByKey,
    /// By a pattern, or all of them.
    Otherwise,
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
        let Resolved { mut selection, file: _, troubles } = found;
        for (what, trouble) in troubles {
            let Some(fallback) = selection.fallback(what, named) else { return Err(trouble) };
            let causes: Vec<String> = trouble.chain().map(ToString::to_string).collect();
            selection.warnings.push(format!("{}; {fallback}", causes.join(": ")));
        }
        Ok(selection)
    }

    /// Reads all sources. An unusable one that is not needed to find environments
    /// is not an error.
    pub(super) fn find(flags: &Overrides, environment: &Environment, randomness: Uuid) -> Result<Resolved> {
        let given = match &flags.key {
            Some(key) => Some(key.clone()),
            None => environment.parsed("MIRRORD_KEY")?,
        };
        let path = flags.config_file.clone().or_else(|| environment.path("MIRRORD_CONFIG_FILE"));
        let loaded = path
            .as_ref()
            .map(|path| template::load(path, given.as_ref(), environment, randomness))
            .transpose()?;
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
        let of_kubectl = environment::of_kubectl(environment);
        let of_file = path.zip(file.kubeconfig.as_deref());
        let (kubeconfig, source) = match (&flags.kubeconfig, environment.text("MIRRORD_KUBECONFIG"), of_file)
        {
            (Some(path), _, _) => (vec![path.clone()], Source::User),
            (None, Some(list), _) => (environment::split_paths(&list), Source::User),
            (None, None, Some((path, list))) => {
                let kubeconfig = environment::split_paths(list);
                let current = std::env::current_dir().unwrap_or_default();
                let inside = checkout::first_inside(&kubeconfig, &path, &current, &of_kubectl);
                (kubeconfig, inside.map_or(Source::File, Source::Checkout))
            }
            (None, None, None) => (Vec::new(), Source::User),
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
                of_kubectl,
                kubeconfig,
                source,
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
            reach: flags.reach,
            warnings,
        };
        Ok(Resolved { selection, file, troubles })
    }

    /// How the command goes on without this source; `None` if it must fail.
    fn fallback(&self, unused: Unused, named: Named) -> Option<String> {
        let has_key = self.key.given().is_some();
        let is_named = has_key || named == Named::Otherwise;
        let what = match unused {
            Unused::File if is_named => "it is",
            Unused::RestOfFile(lost) if is_named => {
                // A stronger source replaces a lost value.
                match (lost.path && self.target.is_none(), lost.namespace && self.namespace.is_none()) {
                    (false, false) => {
                        return Some("only its key, its target and its connection are used".to_owned());
                    }
                    (true, false) => "its target is",
                    (false, true) => "its namespace is",
                    (true, true) => "its target and namespace are",
                }
            }
            // Without a key, losing the target or namespace would select too much.
            Unused::Target | Unused::Namespace if has_key => "it is",
            _ => return None,
        };
        Some(format!("{what} ignored: {}", self.selected()))
    }

    /// Which environments are selected.
    fn selected(&self) -> String {
        let target = self.target.as_ref();
        let target = target.map_or_else(|| "every target".to_owned(), |target| format!("`{target}`"));
        let key = if self.key.given().is_some() { "with this key" } else { "whose key matches" };
        match &self.namespace {
            Some(namespace) => format!("{target} {key} in namespace `{namespace}` is selected"),
            None => format!("{target} {key} in every namespace is selected"),
        }
    }
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
