//! Strict reading: JSON, TOML or YAML, errors with line and column; known
//! fields only, errors with path, found, allowed, and the nearest name.

use std::path::Path;

use anyhow::Result;
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wrong;

/// The language of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    /// With comments and trailing commas.
    Json,
    Toml,
    Yaml,
}

// === impl Format ===

impl Format {
    /// By the file's extension; without one, and for standard input, JSON.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            None | Some("json" | "jsonc") => Ok(Self::Json),
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some(other) => Err(wrong(format!("a `.{other}` file is no configuration"))
                .hint("name it `.json`, `.toml`, `.yaml` or `.yml`")
                .into()),
        }
    }
}

/// Parses a whole file.
pub(super) fn parse(text: &str, format: Format) -> Result<Value> {
    let text = text.trim_start_matches('\u{feff}');
    let parsed = match format {
        Format::Json => json(text),
        Format::Toml => toml::from_str(text).map(Some).map_err(|error| error.to_string()),
        Format::Yaml => serde_saphyr::from_str(text).map_err(|error| error.to_string()),
    };
    match parsed {
        Ok(Some(value @ Value::Object(_))) => Ok(value),
        Ok(Some(Value::Null) | None) => Err(wrong("it is empty").into()),
        Ok(Some(other)) => Err(wrong(format!("it must hold an object, not {}", described(&other))).into()),
        Err(why) => Err(wrong(why.strip_prefix("error: ").unwrap_or(&why).trim_end()).into()),
    }
}

/// JSON with comments and trailing commas, and no looser than that.
fn json(text: &str) -> Result<Option<Value>, String> {
    let options = ParseOptions {
        allow_comments: true,
        allow_trailing_commas: true,
        allow_loose_object_property_names: false,
        allow_missing_commas: false,
        allow_single_quoted_strings: false,
        allow_hexadecimal_numbers: false,
        allow_unary_plus_numbers: false,
        allow_bare_decimal_point_numbers: false,
        allow_non_finite_numbers: false,
        allow_extended_string_escapes: false,
    };
    parse_to_serde_value(text, &options).map_err(|error| error.to_string())
}

/// Reads `value` as `T`; a field of no meaning is an error.
pub(super) fn strict<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_path_to_error::deserialize(value).map_err(|error| {
        let path = error.path().to_string();
        let mut message = error.inner().to_string();
        // serde adds the position in a text that is long parsed.
        if let Some(at) = message.find(" at line ") {
            message.truncate(at);
        }
        // serde's path ends with the unknown field itself.
        let unknown = message.strip_prefix("unknown field `").and_then(|rest| rest.split_once('`'));
        let problem = wrong(match unknown {
            Some((_, rest)) => format!("unknown field `{path}`{rest}"),
            None if path == "." => message.clone(),
            None => format!("`{path}`: {message}"),
        });
        match nearest(&message) {
            Some(name) => problem.hint(format!("did you mean `{name}`?")).into(),
            None => problem.into(),
        }
    })
}

/// The known name nearest to the unknown one, from serde's own sentence:
/// "unknown field `a`, expected one of `b`, `c`".
fn nearest(message: &str) -> Option<&str> {
    if !message.starts_with("unknown ") {
        return None;
    }
    let mut names = message.split('`').skip(1).step_by(2);
    closest(names.next()?, names)
}

/// The name that `unknown` was most likely meant to be.
pub(crate) fn closest<'a>(unknown: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    names
        .map(|name| (strsim::jaro_winkler(unknown, name), name))
        .filter(|(likeness, _)| *likeness > 0.75)
        .max_by(|(one, _), (other, _)| one.total_cmp(other))
        .map(|(_, name)| name)
}

/// What a value is, in the user's words.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => format!("`{value}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
