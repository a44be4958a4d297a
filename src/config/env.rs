//! `feature.env`: how the variables of the chosen container differ.

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use anyhow::Result;
use regex::Regex;
use serde::Deserialize;
use serde::de::value::MapAccessDeserializer;
use serde::de::{self, Deserializer, MapAccess, Visitor};

use super::environment::Environment;
use super::list::{Names, Patterns, split};
use super::wrong;
use crate::problem::{Explain as _, Problem};

/// The section as written.
#[derive(Debug, Default)]
pub struct EnvSection {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    overrides: BTreeMap<String, String>,
    unset: Names,
    mapping: BTreeMap<String, String>,
    env_file: Option<PathBuf>,
    /// Whether none of the target's variables are wanted.
    is_off: bool,
}

/// What is to be done to the container's variables.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Which of the target's variables stay.
    pub keep: Keep,
    /// Variables that are taken away, in any case.
    pub unset: Vec<String>,
    /// Variables that are set, whatever they were.
    pub set: BTreeMap<String, String>,
    /// Values for the variables whose name matches, in the order of the patterns.
    pub mapping: Vec<(Regex, String)>,
}

/// Which of the target's variables stay.
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
    /// The section with the environment above it, and the file it names read.
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
            let text = std::fs::read_to_string(&path).explain(problem)?;
            for variable in dotenvy::from_read_iter(text.trim_start_matches('\u{feff}').as_bytes()) {
                let (name, value) = variable.map_err(|error| problem().because(unreadable(&error, &text)))?;
                set.insert(name, value);
            }
        }
        // Of a whole file of variables, those that are unset by name are none.
        set.retain(|name, _| !is_unset(&self.unset.0, name));
        if let Some(name) = self.overrides.keys().find(|name| is_unset(&self.unset.0, name)) {
            return Err(wrong(format!("`feature.env` both sets and unsets `{name}`"))
                .because_of("it is in `override` and in `unset`, which takes names in any case")
                .hint("remove it from one of them")
                .into());
        }
        set.extend(self.overrides);
        for name in set.keys().chain(&self.unset.0) {
            if name.is_empty() || name.contains(['=', '\0']) {
                return Err(wrong(format!("`feature.env`: `{name}` can be no name of a variable")).into());
            }
        }
        let mapping = self.mapping.into_iter().map(|(pattern, value)| match Regex::new(&pattern) {
            Ok(regex) => Ok((regex, value)),
            Err(error) => {
                Err(wrong(format!("`feature.env.mapping`: `{pattern}` is no pattern")).because(error))
            }
        });
        Ok(Env { keep, unset: self.unset.0, set, mapping: mapping.collect::<Result<_, _>>()? })
    }
}

impl<'de> Deserialize<'de> for EnvSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Default, Deserialize)]
        #[serde(deny_unknown_fields, default)]
        struct Object {
            include: Option<Patterns>,
            exclude: Option<Patterns>,
            r#override: BTreeMap<String, String>,
            unset: Names,
            mapping: BTreeMap<String, String>,
            env_file: Option<PathBuf>,
            // Says where a local process gets its variables from.
            #[serde(rename = "load_from_process")]
            _load_from_process: Option<bool>,
        }
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = EnvSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a boolean, or {\"include\" | \"exclude\", \"override\", \"unset\", \"mapping\", \"env_file\"}")
            }

            /// `false` is mirrord's word for none of the target's variables.
            fn visit_bool<E: de::Error>(self, on: bool) -> Result<EnvSection, E> {
                Ok(EnvSection { is_off: !on, ..EnvSection::default() })
            }

            fn visit_unit<E: de::Error>(self) -> Result<EnvSection, E> {
                Ok(EnvSection::default())
            }

            fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<EnvSection, A::Error> {
                let object = Object::deserialize(MapAccessDeserializer::new(map))?;
                Ok(EnvSection {
                    include: object.include,
                    exclude: object.exclude,
                    overrides: object.r#override,
                    unset: object.unset,
                    mapping: object.mapping,
                    env_file: object.env_file,
                    is_off: false,
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

// === impl Env ===

impl Env {
    /// Whether the variable is taken away. mirrord does not look at its case.
    pub fn unsets(&self, name: &str) -> bool {
        is_unset(&self.unset, name)
    }
}

/// What is wrong in a file of variables, without the values in it: they are
/// secrets as often as not, and a CI system shows what is printed here.
fn unreadable(error: &dotenvy::Error, text: &str) -> Problem {
    let dotenvy::Error::LineParse(line, _) = error else {
        return Problem::new("it cannot be read");
    };
    // It is the whole of a line, or no more than its value.
    let first = line.lines().next().unwrap_or_default().trim();
    let parts = |line: &'_ str| {
        line.split_once('=').map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned()))
    };
    let at = |is_it: &dyn Fn(&str) -> bool| text.lines().position(is_it);
    let position = at(&|line| line.trim() == first)
        .or_else(|| at(&|line| parts(line).is_some_and(|(_, value)| value == first)))
        .unwrap_or_default();
    let name = text.lines().nth(position).and_then(parts).map(|(name, _)| name);
    let name = name.as_deref().map(|name| name.strip_prefix("export ").unwrap_or(name).trim());
    // What else stands before a `=` may be the middle of a value, as in base64.
    let is_name = |name: &&str| {
        let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        !name.is_empty() && name.bytes().all(plain)
    };
    let of = name.filter(is_name).map(|name| format!(", at `{name}`")).unwrap_or_default();
    Problem::new(format!("line {}{of} is no `NAME=value`", position + 1))
        .hint("put a value with spaces, quotes or `#` in quotes")
}

fn is_unset(names: &[String], name: &str) -> bool {
    names.iter().any(|unset| unset.eq_ignore_ascii_case(name))
}

// === impl Keep ===

impl Keep {
    /// Whether the variable stays.
    pub fn keeps(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Only(patterns) => patterns.match_any(name),
            Self::AllBut(patterns) => !patterns.match_any(name),
        }
    }
}
