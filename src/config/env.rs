//! `feature.env`: changes to the variables of the chosen container.

use std::collections::BTreeMap;
use std::path::PathBuf;

use anyhow::Result;
use regex::Regex;
use serde::Deserialize;
use serde::de::Deserializer;
use serde_untagged::UntaggedEnumVisitor;

use super::environment::Environment;
use super::list::{Names, Patterns, split};
use super::{input, wrong};
use crate::problem::{Explain as _, Problem};

/// The section as written.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EnvSection {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    r#override: BTreeMap<String, String>,
    unset: Names,
    mapping: BTreeMap<String, String>,
    env_file: Option<PathBuf>,
    /// Without effect: it says where local processes get their variables.
    #[serde(rename = "load_from_process")]
    _load_from_process: Option<bool>,
    /// Whether the section is `false`: none of the target's variables stay.
    #[serde(skip)]
    is_off: bool,
}

/// Reads the section: a boolean, or an object.
#[expect(clippy::redundant_closure_for_method_calls, reason = "the method itself has too narrow a lifetime")]
pub(super) fn section<'de, D: Deserializer<'de>>(deserializer: D) -> Result<EnvSection, D::Error> {
    UntaggedEnumVisitor::new()
        .expecting(
            "a boolean, or {\"include\" | \"exclude\", \"override\", \"unset\", \"mapping\", \"env_file\"}",
        )
        .bool(|on| Ok(EnvSection { is_off: !on, ..EnvSection::default() }))
        .map(|map| map.deserialize())
        .deserialize(deserializer)
}

/// The changes to the container's variables.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Which of the target's variables stay.
    pub keep: Keep,
    /// Names of variables that are removed, compared without regard to case.
    pub unset: Vec<String>,
    /// Variables that are set, also where the target has another value.
    pub set: BTreeMap<String, String>,
    /// Values for the variables whose name matches, in the order of the patterns.
    pub mapping: Vec<(Regex, String)>,
}

/// The longest file of variables, in bytes: Kubernetes' limit for a whole object is
/// little more.
const MAX_BYTES: usize = 1024 * 1024;

/// Which of the target's names, of variables or labels, stay.
#[derive(Clone, Debug, Default)]
pub enum Keep {
    /// All of them.
    #[default]
    All,
    /// Those whose name matches.
    Only(Patterns),
    /// Those whose name does not match.
    AllBut(Patterns),
}

// === impl EnvSection ===

impl EnvSection {
    /// Resolves the section below the environment, and reads `env_file`.
    pub(super) fn resolve(self, environment: &Environment) -> Result<Env> {
        let chosen =
            |variable: &str, patterns: Option<Patterns>, field: &str| match environment.text(variable) {
                Some(text) => Some((Patterns::from(split(&text)), variable.to_owned())),
                None => patterns.map(|patterns| (patterns, format!("feature.env{field}"))),
            };
        let none = self.is_off.then(|| Patterns::from(vec!["*".to_owned()]));
        let exclude = if self.is_off { "" } else { ".exclude" };
        let include = chosen("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", self.include, ".include");
        let exclude = chosen("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", none.or(self.exclude), exclude);
        if let Some((include, source)) = &include
            && include.0.is_empty()
        {
            return Err(wrong(format!("`{source}` names no variable"))
                .because_of("the preview would have none of the target's variables")
                .hint("leave it out for all of them, or set `feature.env` to `false` for none")
                .into());
        }
        let keep = match (include, exclude) {
            (Some((_, include)), Some((_, exclude))) => {
                return Err(wrong(format!("`{include}` and `{exclude}` exclude each other"))
                    .hint("set one of them")
                    .into());
            }
            (Some((include, _)), None) => Keep::Only(include),
            (None, Some((exclude, _))) => Keep::AllBut(exclude),
            (None, None) => Keep::All,
        };
        let file = environment.path("MIRRORD_OVERRIDE_ENV_VARS_FILE").or(self.env_file);
        let mut set = BTreeMap::new();
        if let Some(path) = file {
            let problem = || wrong(format!("could not read the variables in `{}`", path.display()));
            let text = input::text(&path, MAX_BYTES).explain(problem)?;
            for variable in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
                let (name, value) = variable.map_err(|error| problem().because(unreadable(&error, &text)))?;
                set.insert(name, value);
            }
        }
        // `unset` removes variables of `env_file`, and contradicts `override`.
        set.retain(|name, _| !is_unset(&self.unset.0, name));
        if let Some(name) = self.r#override.keys().find(|name| is_unset(&self.unset.0, name)) {
            return Err(wrong(format!("`feature.env` both sets and unsets `{name}`"))
                .because_of("it is in `override` and in `unset`, which ignores case")
                .hint("remove it from one of them")
                .into());
        }
        set.extend(self.r#override);
        for name in set.keys().chain(&self.unset.0) {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(wrong(format!("`feature.env`: `{name}` is not a valid variable name")).into());
            }
        }
        let mapping = self.mapping.into_iter().map(|(pattern, value)| match Regex::new(&pattern) {
            Ok(regex) => Ok((regex, value)),
            Err(error) => {
                Err(wrong(format!("`feature.env.mapping`: `{pattern}` is not a regular expression"))
                    .because(error))
            }
        });
        Ok(Env { keep, unset: self.unset.0, set, mapping: mapping.collect::<Result<_, _>>()? })
    }
}

// === impl Env ===

impl Env {
    /// Whether the variable is removed. As in mirrord, case does not count.
    pub fn unsets(&self, name: &str) -> bool {
        is_unset(&self.unset, name)
    }
}

/// The place of an error in a file of variables, without the line's text: it may
/// be a secret, and CI systems publish their output.
fn unreadable(error: &dotenvy::Error, text: &str) -> Problem {
    const QUOTES: &str = "put a value with spaces, quotes or `#` in quotes";
    let dotenvy::Error::LineParse(line, _) = error else {
        return Problem::new("it cannot be read");
    };
    // dotenvy reports the whole line or only its value.
    let first = line.lines().next().unwrap_or_default().trim();
    let parts = |line: &'_ str| {
        line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let at = |is_it: &dyn Fn(&str) -> bool| text.lines().position(is_it);
    let position = at(&|line| line.trim() == first)
        .or_else(|| at(&|line| parts(line).is_some_and(|(_, value)| value == first)));
    let Some(position) = position else { return Problem::new("a line is not `NAME=value`").hint(QUOTES) };
    let name = text.lines().nth(position).and_then(parts).map(|(name, _)| name);
    let name = name.as_deref().map(|name| name.strip_prefix("export ").unwrap_or(name).trim());
    // Other text before a `=` may be the middle of a base64 value.
    let is_name = |name: &&str| {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(plain)
    };
    let of = name.filter(is_name).map(|name| format!(", at `{name}`")).unwrap_or_default();
    Problem::new(format!("line {}{of} is not `NAME=value`", position + 1)).hint(QUOTES)
}

fn is_unset(names: &[String], name: &str) -> bool {
    names.iter().any(|unset| unset.eq_ignore_ascii_case(name))
}

// === impl Keep ===

impl Keep {
    /// Whether a name stays.
    pub fn keeps(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.match_any(name),
            Self::AllBut(patterns) => !patterns.match_any(name),
        }
    }
}
