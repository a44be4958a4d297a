//! Control characters made visible, so that text from the cluster cannot move the
//! cursor, set colours or forge rows on the reader's terminal.
//!
//! Annotations, events, termination messages and logs may hold any text, written
//! by anybody who may write in a namespace that the reader lists.

use std::borrow::Cow;

/// Whether a terminal may act on `character` instead of showing it: C0, DEL and C1
/// (ECMA-48), and the marks that change the direction of text (UAX #9).
fn is_control(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// `text` with every control character but the line feed as a Rust escape:
/// `\u{1b}`.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    escaped(text, |character| is_control(character) && character != '\n')
}

/// `text` on one line: line feeds are escaped too.
pub(super) fn line(text: &str) -> Cow<'_, str> {
    escaped(text, is_control)
}

/// `json` with the control characters that JSON allows unescaped (DEL, C1 and the
/// marks of direction) as escapes. It stays the same document: these characters
/// occur in strings only, and are below U+10000.
pub(super) fn json(json: &str) -> Cow<'_, str> {
    if !json.chars().any(|character| is_control(character) && character != '\n') {
        return Cow::Borrowed(json);
    }
    let mut shown = String::with_capacity(json.len() + 8);
    for character in json.chars() {
        if is_control(character) && character != '\n' {
            shown.push_str(&format!("\\u{:04x}", u32::from(character)));
        } else {
            shown.push(character);
        }
    }
    Cow::Owned(shown)
}

fn escaped(text: &str, is_escaped: impl Fn(char) -> bool) -> Cow<'_, str> {
    if !text.contains(&is_escaped) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 8);
    for character in text.chars() {
        match character {
            // A log's tabs are blanks, wherever they are shown.
            '\t' => shown.push_str("    "),
            '\n' if is_escaped('\n') => shown.push_str("\\n"),
            _ if is_escaped(character) => shown.extend(character.escape_unicode()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_shown_as_escapes_and_text_is_left_alone() {
        for (given, shown) in [
            ("ready", "ready"),
            ("機能 🦀 naïve", "機能 🦀 naïve"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\u{9b}31mb\u{7f}", "a\\u{9b}31mb\\u{7f}"),
            ("\u{202e}ydaer", "\\u{202e}ydaer"),
            ("a\r\nb\tc", "a\\u{d}\nb    c"),
        ] {
            assert_eq!(text(given), shown);
        }
        let value = serde_json::json!({"a": "\u{1b}\u{9b}\u{7f}\u{202e}\n機能"});
        let escaped = json(&value.to_string()).into_owned();
        assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        assert!(!escaped.chars().any(is_control), "{escaped}");
        assert_eq!(line("ready\npr-1   ready"), "ready\\npr-1   ready");
    }
}
