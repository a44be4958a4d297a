//! The configuration for `tests/fuzz`: from a file's text to its values, without
//! templates, which may read files.

use super::reading::{self, Format};
use super::{Environment, fates, file};

/// Reads any text as a configuration in one of the three languages.
///
/// # Panics
/// Where the parser has a fault: the fuzzer reports it.
pub fn configuration(language: u8, text: &str) {
    let format = [Format::Json, Format::Toml, Format::Yaml][usize::from(language % 3)];
    let Ok(mut value) = reading::parse(text, format) else { return };
    let again = value.clone();
    if fates::apply(&mut value).is_ok() {
        let file: anyhow::Result<file::File> = reading::strict(value);
        if let Ok(file) = file {
            let _ = (file.feature.preview.ttl(), file.feature.preview.labels.resolve());
            let _ = file.feature.network.incoming.resolve(&Environment::default());
        }
    }
    // The value does not depend on the language.
    let json = again.to_string();
    assert_eq!(reading::parse(&json, Format::Json).ok(), Some(again), "{json}");
}
