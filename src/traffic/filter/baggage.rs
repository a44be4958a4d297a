//! `baggage`: the exact key in the W3C `baggage` header, the default filter.
//!
//! Compared as a value, never as a pattern: `pr-1` must not take the requests
//! of `pr-12`, and a key's dots and plus signs mean themselves.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use crate::traffic::Head;

/// The member of the baggage that carries a session's key.
pub const MEMBER: &str = "mirrord-session";

/// The key that a request must carry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Baggage(String);

// === impl Baggage ===

impl Baggage {
    /// The filter for one key.
    pub fn new(key: impl Into<String>) -> Self {
        Self(key.into())
    }

    /// The key.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether a `baggage` header of this request has the member with this key.
    ///
    /// <https://www.w3.org/TR/baggage/>: members separated by commas, optional
    /// white space around everything, properties after semicolons, values
    /// percent-encoded; several header lines are one list.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        head.values("baggage").flat_map(|value| value.split(|byte| *byte == b',')).any(|member| {
            let pair = member.split(|byte| *byte == b';').next().unwrap_or_default();
            let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { return false };
            let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
            name == MEMBER.as_bytes() && *decoded(value) == *self.0.as_bytes()
        })
    }
}

/// A key as a baggage value.
///
/// <https://www.w3.org/TR/baggage/#value>: printable ASCII but for space, quote,
/// comma, semicolon and backslash; the percent sign is the escape.
pub fn percent_encoded(key: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\",;\\%".contains(&byte);
    key.bytes().fold(String::new(), |mut text, byte| {
        if plain(byte) {
            text.push(char::from(byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
        text
    })
}

/// Undoes percent-encoding. A `%` without two digits is itself, as the
/// specification's own parsers have it.
fn decoded(value: &[u8]) -> Cow<'_, [u8]> {
    if !value.contains(&b'%') {
        return Cow::Borrowed(value);
    }
    let digit = |at: usize| value.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(value.len());
    let mut at = 0;
    while at < value.len() {
        if value[at] == b'%'
            && let (Some(high), Some(low)) = (digit(at + 1), digit(at + 2))
            && let Ok(byte) = u8::try_from(high * 16 + low)
        {
            bytes.push(byte);
            at += 3;
        } else {
            bytes.push(value[at]);
            at += 1;
        }
    }
    Cow::Owned(bytes)
}

#[cfg(test)]
mod tests {
    use httparse::Header;

    use super::*;

    fn matches(key: &str, lines: &[&str]) -> bool {
        let headers: Vec<_> =
            lines.iter().map(|line| Header { name: "Baggage", value: line.as_bytes() }).collect();
        let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
        Baggage::new(key).matches(&head)
    }

    #[test]
    fn a_key_is_never_the_beginning_of_another() {
        assert!(matches("pr-1", &["mirrord-session=pr-1"]));
        assert!(!matches("pr-1", &["mirrord-session=pr-12"]));
        assert!(!matches("pr-12", &["mirrord-session=pr-1"]));
        assert!(!matches("pr-1", &["x-mirrord-session=pr-1", "mirrord-sessions=pr-1"]));
        assert!(!matches("pr.1", &["mirrord-session=pr-1"]));
        assert!(!matches("pr-1", &["mirrord-session=PR-1"]));
    }

    #[test]
    fn a_member_is_found_among_others_with_spaces_properties_and_percent_signs() {
        assert!(matches("pr-1", &["userId=alice , mirrord-session = pr-1 ; ttl=3;secret, x=y"]));
        assert!(matches("pr-1", &["a=b", "c=d,mirrord-session=pr-1"]));
        assert!(matches("feature/ä 1,2", &["mirrord-session=feature%2F%C3%A4%201%2c2"]));
        assert!(matches("100%", &["mirrord-session=100%"]));
        assert!(matches("a%zz", &["mirrord-session=a%zz"]));
        assert!(matches("a=b", &["mirrord-session=a=b"]));
    }

    #[test]
    fn a_member_without_value_or_inside_a_property_does_not_count() {
        assert!(!matches("pr-1", &["mirrord-session"]));
        assert!(!matches("pr-1", &["a=b;mirrord-session=pr-1"]));
        assert!(!matches("pr-1", &[""]));
    }
}
