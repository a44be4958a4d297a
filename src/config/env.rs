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
use crate::problem::Explain as _;

/// The section as written.
#[derive(Debug, Default)]
pub struct EnvSection {
    include: Option<Patterns>,
    exclude: Option<Patterns>,
    overrides: BTreeMap<String, String>,
    unset: Names,
    mapping: BTreeMap<String, String>,
    env_file: Option<PathBuf>,
}

/// What is to be done to the container's variables.
#[derive(Clone, Debug, Default)]
pub struct Env {
    /// Which of the target's variables stay.
    pub keep: Keep,
    /// Variables that are taken away.
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
        let patterns = |name: &str| environment.text(name).map(|text| Patterns::from(split(&text)));
        let include = patterns("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE").or(self.include);
        let exclude = patterns("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE").or(self.exclude);
        let keep = match (include, exclude) {
            (Some(_), Some(_)) => {
                return Err(wrong("`feature.env` has both `include` and `exclude`")
                    .hint("remove one of them")
                    .into());
            }
            (Some(include), None) => Keep::Only(include),
            (None, Some(exclude)) => Keep::AllBut(exclude),
            (None, None) => Keep::All,
        };
        let file = environment.path("MIRRORD_OVERRIDE_ENV_VARS_FILE").or(self.env_file);
        let mut set = BTreeMap::new();
        if let Some(path) = file {
            let problem = || wrong(format!("could not read the variables in `{}`", path.display()));
            for variable in dotenvy::from_path_iter(&path).explain(problem)? {
                let (name, value) = variable.explain(problem)?;
                set.insert(name, value);
            }
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
                let exclude = (!on).then(|| Patterns::from(vec!["*".to_owned()]));
                Ok(EnvSection { exclude, ..EnvSection::default() })
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
                })
            }
        }
        deserializer.deserialize_any(Reader)
    }
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
