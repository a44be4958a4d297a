//! The environment variables that set the same values as flags and fields.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Result;

use super::scalar::{self, Positive};
use super::wrong;
use crate::session::Ttl;
use crate::session::duration::Unit;

/// The environment variables of the process when it began.
#[derive(Clone, Debug, Default)]
pub struct Environment(BTreeMap<String, String>);

// === impl Environment ===

impl Environment {
    /// Reads the process's environment, without variables that are not Unicode.
    pub fn of_process() -> Self {
        std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .collect()
    }

    /// The variable; an empty one counts as unset, because CI systems set empty ones.
    pub fn text(&self, name: &str) -> Option<String> {
        self.0.get(name).filter(|value| !value.is_empty()).cloned()
    }

    /// The variable as it is, for templates: an empty one is set.
    pub(super) fn raw(&self, name: &str) -> Option<&str> {
        self.0.get(name).map(String::as_str)
    }

    /// The same environment without one variable.
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

    /// An integer from 1 to [`Positive::MAX`].
    pub(super) fn positive(&self, name: &str) -> Result<Option<Positive>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        match text.parse::<u32>() {
            Ok(number @ 1..=Positive::MAX) => Ok(Some(Positive(number))),
            _ => Err(refused(name, &text, &format!("it must be an integer from 1 to {}", Positive::MAX))),
        }
    }

    /// The time to live; one grammar for both variables, which differ in what a
    /// bare number counts.
    pub(super) fn ttl(&self) -> Result<Option<Ttl>> {
        let (minutes, seconds) = ("MIRRORD_PREVIEW_TTL_MINS", "MIRRORD_PREVIEW_TTL_SECS");
        let (name, text, unit) = match (self.text(minutes), self.text(seconds)) {
            (None, None) => return Ok(None),
            (Some(_), Some(_)) => {
                return Err(wrong(format!("`{minutes}` and `{seconds}` are both set"))
                    .hint("unset one of them")
                    .into());
            }
            (Some(text), None) => (minutes, text, Unit::Minutes),
            (None, Some(text)) => (seconds, text, Unit::Seconds),
        };
        match Ttl::read(&text, unit) {
            Ok(ttl) => Ok(Some(ttl)),
            Err(error) => Err(refused(name, &text, &error)),
        }
    }

    /// How long `start` waits: seconds, or a duration with units.
    pub(super) fn timeout(&self, name: &str) -> Result<Option<Duration>> {
        let Some(text) = self.text(name) else { return Ok(None) };
        scalar::timeout(&text).map(Some).map_err(|why| refused(name, &text, &why))
    }
}

impl FromIterator<(String, String)> for Environment {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(variables: I) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Splits a list of paths as kubectl splits `KUBECONFIG`, and expands `~/`.
pub(super) fn split_paths(list: &str) -> Vec<PathBuf> {
    std::env::split_paths(list)
        .filter(|path| !path.as_os_str().is_empty())
        .map(|path| match (path.strip_prefix("~"), std::env::home_dir()) {
            (Ok(rest), Some(home)) => home.join(rest),
            _ => path,
        })
        .collect()
}

/// The files that kubectl reads. A `KUBECONFIG` of separators only names none.
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
