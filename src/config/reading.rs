//! Strict reading: JSON with comments, errors with line and column; known
//! fields only, errors with path, found, allowed, and the nearest name.

use anyhow::Result;
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::wrong;

/// Parses JSON, comments and trailing commas tolerated.
pub(super) fn parse(text: &str) -> Result<Value> {
    // JSON with comments and trailing commas, and no looser than that.
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
    match parse_to_serde_value::<Option<Value>>(text.trim_start_matches('\u{feff}'), &options) {
        Ok(Some(value @ Value::Object(_))) => Ok(value),
        Ok(Some(other)) => Err(wrong(format!("it must hold an object, not {}", described(&other))).into()),
        Ok(None) => Err(wrong("it is empty").into()),
        Err(error) => Err(wrong(error.to_string()).into()),
    }
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
