//! The key in a W3C `baggage` header (<https://www.w3.org/TR/baggage/>).
//!
//! A key is compared as a value, never as a pattern: `pr-1` must not match
//! `pr-12`, and dots and plus signs in a key stand for themselves.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode, utf8_percent_encode};

/// The member of the baggage that carries a session's key.
pub const MEMBER: &str = "mirrord-session";

/// Everything but the unreserved characters (RFC 3986, 2.3). The standard allows
/// more in a value (<https://www.w3.org/TR/baggage/#value>), but some libraries
/// that pass baggage on cut a value at a bare `=`, or read `+` as a space.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// The member of the baggage for `key`, as a request has to carry it.
pub fn member(key: &str) -> String {
    format!("{MEMBER}={}", utf8_percent_encode(key, ESCAPED))
}

/// Whether the value of one `baggage` header has the member with `key`.
///
/// Members are separated by commas, with optional white space around every part;
/// properties behind a semicolon are ignored; values are percent-encoded. A `%`
/// without two digits stands for itself. A member without `=` is skipped.
pub fn carries(value: &[u8], key: &str) -> bool {
    value.split(|byte| *byte == b',').any(|member| {
        let pair = member.split(|byte| *byte == b';').next().unwrap_or_default();
        let Some(equals) = pair.iter().position(|byte| *byte == b'=') else { return false };
        let (name, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        name == MEMBER.as_bytes() && percent_decode(value).eq(key.bytes())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn carried(key: &str, values: &[&str]) -> bool {
        values.iter().any(|value| carries(value.as_bytes(), key))
    }

    #[test]
    fn a_key_is_never_the_beginning_of_another() {
        assert!(carried("pr-1", &["mirrord-session=pr-1"]));
        assert!(!carried("pr-1", &["mirrord-session=pr-12"]));
        assert!(!carried("pr-12", &["mirrord-session=pr-1"]));
        assert!(!carried("pr-1", &["x-mirrord-session=pr-1", "mirrord-sessions=pr-1"]));
        assert!(!carried("pr.1", &["mirrord-session=pr-1"]));
        assert!(!carried("pr-1", &["mirrord-session=PR-1"]));
    }

    #[test]
    fn a_member_is_found_among_others_with_spaces_properties_and_percent_signs() {
        assert!(carried("pr-1", &["userId=alice , mirrord-session = pr-1 ; ttl=3;secret, x=y"]));
        assert!(carried("pr-1", &["a=b", "c=d,mirrord-session=pr-1"]));
        assert!(carried("feature/ä 1,2", &["mirrord-session=feature%2F%C3%A4%201%2c2"]));
        assert!(carried("100%", &["mirrord-session=100%"]));
        assert!(carried("a%zz", &["mirrord-session=a%zz"]));
        assert!(carried("a=b", &["mirrord-session=a=b"]));
    }

    #[test]
    fn a_member_without_value_or_inside_a_property_does_not_count() {
        assert!(!carried("pr-1", &["mirrord-session"]));
        assert!(!carried("pr-1", &["a=b;mirrord-session=pr-1"]));
        assert!(!carried("pr-1", &[""]));
    }

    #[test]
    fn all_of_a_key_is_encoded_but_unreserved_characters() {
        for (key, encoded) in [
            ("pr-12", "pr-12"),
            ("A-Z.a_z~09", "A-Z.a_z~09"),
            ("feature/a+b=c", "feature%2Fa%2Bb%3Dc"),
            ("(a):@!*'&", "%28a%29%3A%40%21%2A%27%26"),
            ("機/π", "%E6%A9%9F%2F%CF%80"),
            ("a b,c;d\"e\\f%g\u{7f}", "a%20b%2Cc%3Bd%22e%5Cf%25g%7F"),
        ] {
            assert_eq!(member(key), format!("{MEMBER}={encoded}"));
            assert!(carries(member(key).as_bytes(), key));
        }
    }
}
