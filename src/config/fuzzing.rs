//! A door for `tests/fuzz`: a file's text to its values. Templates are left
//! out: they may run programs, and read files.

use super::reading::{self, Format};
use super::{absent, file, ignored};

/// Reads a configuration in one of the three languages, whatever it holds.
///
/// # Panics
///
/// Where something is wrong: that is a finding.
pub fn configuration(language: u8, text: &str) {
    let format = [Format::Json, Format::Toml, Format::Yaml][usize::from(language % 3)];
    let Ok(mut value) = reading::parse(text, format) else { return };
    let again = value.clone();
    absent::leave_out(&mut value);
    let taken = ignored::take(&mut value);
    if taken.is_ok() {
        let file: anyhow::Result<file::File> = reading::strict(value);
        if let Ok(file) = file {
            let _ = (file.feature.preview.ttl(), file.feature.preview.labels.resolve());
        }
    }
    // What it is does not depend on the language it was written in.
    let json = again.to_string();
    assert_eq!(reading::parse(&json, Format::Json).ok(), Some(again), "{json}");
}
