//! The formats that `-o` names.
#![expect(missing_docs, reason = "clap would print the words of a variant's documentation as its help")]

use clap::ValueEnum;
use serde::Serialize;

use super::{ProgressMode, visible};

/// How objects are printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ObjectFormat {
    Yaml,
    Json,
    Name,
}

/// How a list is printed
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ListFormat {
    Table,
    Wide,
    Json,
    Yaml,
    Name,
}

/// A document as JSON: on one line in [`ProgressMode::Json`], where both streams carry one
/// object a line. Control characters are escaped.
pub fn json<T: Serialize>(document: &T, mode: ProgressMode) -> serde_json::Result<String> {
    let text = match mode {
        ProgressMode::Json => serde_json::to_string(document)?,
        ProgressMode::Standard | ProgressMode::Plain | ProgressMode::Off => {
            serde_json::to_string_pretty(document)?
        }
    };
    Ok(visible::json(&text).into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn documents_hold_no_control_characters_and_read_back_the_same() {
        let document = json!({"a": "\u{1b}[2J", "b": "\u{9b}31m", "c": "x\u{7f}", "d": "\u{202e}ydaer", "e": "é\n機能", "f": "a\u{85}b"});
        let is_control =
            |character: char| character.is_control() && character != '\n' || character == '\u{202e}';
        let json = super::json(&document, ProgressMode::Plain).unwrap();
        assert!(!json.chars().any(is_control), "{json:?}");
        assert_eq!(serde_json::from_str::<Value>(&json).unwrap(), document);
        // The YAML crate escapes by itself, but for the marks of direction.
        let yaml = serde_saphyr::to_string(&document).unwrap();
        assert_eq!(serde_saphyr::from_str::<Value>(&yaml).unwrap(), document);
        assert!(!yaml.chars().any(|character| character.is_control() && character != '\n'), "{yaml:?}");
    }
}
