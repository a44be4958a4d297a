//! The environment variables that stand for flags and fields.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::Result;

use super::file::Positive;
use super::wrong;
use crate::problem::Explain as _;
use crate::session::Ttl;

/// The environment as it was when the process began.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

// === impl Environment ===

impl Environment {
    /// Reads the process's environment; variables that are not Unicode cannot
    /// be ours.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variable; an empty one counts as unset, as CI systems set them so.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// The same without one variable.
    pub(super) fn without(&self, name: &str) -> Self {
        let mut rest = self.clone();
        rest.0.remove(name);
        rest
    }

    pub(super) fn path(&self, name: &str) -> Option<PathBuf> {
        self.text(name).map(PathBuf::from)
    }

    pub(super) fn parsed<T>(&self, name: &str) -> Result<Option<T>>
    where
        T: FromStr,
        T::Err: Display,
    {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse() {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(refused(name, &text, &error)),
        }
    }

    /// A whole number above zero, as far as a Job or a ReplicaSet can count.
    pub(super) fn positive(&self, name: &str) -> Result<Option<Positive>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(number @ 1..=Positive::MOST) => Ok(Some(Positive(number))),
            _ => Err(refused(name, &text, &format!("it must be an integer from 1 to {}", Positive::MOST))),
        }
    }

    pub(super) fn ttl(&self) -> Result<Option<Ttl>> {
        let (minutes, seconds) = ("MIRRORD_PREVIEW_TTL_MINS", "MIRRORD_PREVIEW_TTL_SECS");
        let (name, text) = match (self.text(minutes), self.text(seconds)) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(wrong(format!("`{minutes}` and `{seconds}` are both set"))
                    .hint("unset one of them")
                    .into());
            }
            (Some(text), None) => (minutes, text),
            (None, Some(text)) => (seconds, text),
        };
        let ttl = if name == seconds && text != "infinite" {
            text.parse::<u64>()
                .map_err(|_| anyhow::Error::msg("it must be a number of seconds above 0, or `infinite`"))
                .and_then(|number| Ok(Ttl::from_seconds(number)?))
        } else {
            text.parse::<Ttl>().map_err(anyhow::Error::from)
        };
        ttl.map(Some).explain(|| wrong(format!("`{name}` holds `{text}`, which is no time to live")))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Splits a list of paths as `KUBECONFIG` is split, and expands `~/`.
pub(super) fn split_paths(list: &str) -> Vec<PathBuf> {
    std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| match (path.strip_prefix("~"), std::env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        })
        .collect()
}

/// Where kubectl looks for its configuration. `KUBECONFIG` may name no file at all.
pub(super) fn of_kubectl(environment: &Environment) -> Vec<PathBuf> {
    let named = environment.text("KUBECONFIG").map(|list| split_paths(&list)).unwrap_or_default();
    if !named.is_empty() {
        return named;
    }
    std::env::home_dir().map(|home| home.join(".kube").join("config")).into_iter().collect()
}

fn refused(name: &str, found: &dyn Display, why: &dyn Display) -> anyhow::Error {
    wrong(format!("`{name}` holds `{found}`, which cannot be used"))
        .because_of(why.to_string())
        .hint(format!("unset `{name}`, or correct it"))
        .into()
}
