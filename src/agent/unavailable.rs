//! The words of the agent's own answer, in both protocols: a matched request
//! whose preview cannot be reached gets a 503. The application never answers it
//! instead: its response would look like the preview's.

use std::io;

use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};

/// The header that names the key of the preview that could not be reached.
pub(super) const KEY_HEADER: &str = "x-mirrord-preview";

/// The characters that no header value may hold as they are, and the escape itself.
/// Bytes above ASCII are always encoded.
const ENCODED: &AsciiSet = &CONTROLS.add(b' ').add(b'%');

/// The body of the answer, with a line end.
pub(super) fn message(key: &str, why: &io::Error) -> String {
    format!("mirrord: the preview `{key}` cannot be reached: {why}\n")
}

/// `text` as a header value: percent-encoded, as keys are in `baggage`.
pub(super) fn header_value(text: &str) -> String {
    utf8_percent_encode(text, ENCODED).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_value_holds_visible_ascii_characters_only() {
        for (text, encoded) in [
            ("pr-12", "pr-12"),
            ("a b%c", "a%20b%25c"),
            ("tab\tline\r\n", "tab%09line%0D%0A"),
            ("ü/~\"`\u{7f}", "%C3%BC/~\"`%7F"),
        ] {
            assert_eq!(header_value(text), encoded);
        }
    }
}
