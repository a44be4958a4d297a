//! Reads JSON, TOML or YAML into values and types. Syntax errors say line and
//! column; other errors say the path, what was found, what is allowed, and the
//! nearest known name.

use std::path::Path;

use anyhow::Result;
use jsonc_parser::errors::ParseErrorKind;
use jsonc_parser::{ParseOptions, parse_to_serde_value};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::strict::{Strict, Unfit};
use super::unique::Unique;
use super::{fates, path, wrong};
use crate::words;

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
    /// Chosen by the file's extension: JSON without one, and for standard input.
    pub(super) fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|extension| extension.to_str()) {
            None | Some("json" | "jsonc") => Ok(Self::Json),
            Some("toml") => Ok(Self::Toml),
            Some("yaml" | "yml") => Ok(Self::Yaml),
            Some(other) => Err(wrong(format!("a `.{other}` file is not a configuration"))
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
        Format::Yaml => yaml(text),
    };
    match parsed {
        Ok(Some(value @ Value::Object(_))) => Ok(value),
        Ok(Some(Value::Null) | None) => Err(wrong("it is empty").into()),
        Ok(Some(other)) => Err(wrong(format!("it must hold an object, not {}", described(&other))).into()),
        Err(why) => Err(wrong(why.strip_prefix("error: ").unwrap_or(&why).trim_end()).into()),
    }
}

/// JSON with comments and trailing commas; all other extensions are errors.
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
    parse_to_serde_value(text, &options).map(|value: Option<Unique>| value.map(|value| value.0)).map_err(
        |error| match error.kind() {
            // Ours names the path; the position is that of the whole object.
            ParseErrorKind::Custom(words) if words.starts_with('`') => words.clone(),
            _ => error.to_string(),
        },
    )
}

/// YAML in which only `true` and `false` are booleans: `off` is a mode.
fn yaml<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    let options = serde_saphyr::options! { strict_booleans: true };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        if matches!(error.without_snippet(), serde_saphyr::Error::MultipleDocuments { .. }) {
            return "it holds more than one YAML document; a configuration is one document".to_owned();
        }
        error.to_string().replace(ADVICE, "")
    })
}

/// The key's characters in the file. TOML and YAML have several ways to write one
/// number, and a key is not any of the others.
pub(super) fn written_key(text: &str, format: Format) -> Option<String> {
    #[derive(Deserialize)]
    struct Located<T> {
        key: Option<T>,
    }
    let text = text.trim_start_matches('\u{feff}');
    match format {
        Format::Json => None,
        Format::Toml => {
            let written: Located<toml::Spanned<toml::Value>> = toml::from_str(text).ok()?;
            text.get(written.key?.span()).map(str::to_owned)
        }
        Format::Yaml => yaml::<Located<String>>(text).ok()?.key,
    }
}

/// Advice in the YAML library's errors that is for its callers.
const ADVICE: &str = ", set DuplicateKeyPolicy in Options if acceptable";

/// Reads `value` as `T`; an unknown field is an error.
pub(super) fn strict<T: DeserializeOwned>(value: Value) -> Result<T> {
    serde_path_to_error::deserialize(Strict(value)).map_err(|error| {
        let path = error.path().to_string();
        let place = if path == "." { "it".to_owned() } else { format!("`{path}`") };
        let (problem, nearest) = match error.into_inner() {
            // serde's path ends with the unknown field itself.
            Unfit::Field(known) => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let (parent, name) = path::split(&path);
                let names = known.iter().copied().chain(fates::known(parent));
                let nearest = words::closest(name, names).map(str::to_owned);
                (wrong(format!("unknown field {place}, expected {}", words::one_of(&known))), nearest)
            }
            Unfit::Word(word, known) => {
                let known: Vec<&str> = known.iter().map(String::as_str).collect();
                let nearest = words::closest(&word, known.iter().copied()).map(str::to_owned);
                (wrong(format!("{place} must be {}, not `{word}`", words::one_of(&known))), nearest)
            }
            Unfit::Predicate(words) => (wrong(format!("{place} {words}")), None),
            Unfit::Sentence(words) if path == "." => (wrong(words), None),
            Unfit::Sentence(words) => (wrong(format!("{place}: {words}")), None),
        };
        match nearest {
            Some(name) => problem.hint(format!("did you mean `{name}`?")).into(),
            None => problem.into(),
        }
    })
}

/// A value for a sentence.
pub(super) fn described(value: &Value) -> String {
    match value {
        Value::Null => "null".to_owned(),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => format!("`{value}`"),
        Value::Array(_) => "a list".to_owned(),
        Value::Object(_) => "an object".to_owned(),
    }
}
