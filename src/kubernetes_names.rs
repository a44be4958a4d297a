//! Names and label values as Kubernetes takes them.

use sha2::{Digest as _, Sha256};

/// The longest name of a namespace, and of everything else that has to be a DNS
/// label (RFC 1123).
const LABEL_BYTES: usize = 63;
/// The longest name of any other object: a DNS subdomain.
const SUBDOMAIN_BYTES: usize = 253;

/// Whether Kubernetes takes `text` as a name (RFC 1123 subdomain).
pub(crate) fn is_object_name(text: &str) -> bool {
    let edge = |byte: Option<u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    text.len() <= SUBDOMAIN_BYTES
        && edge(text.bytes().next())
        && edge(text.bytes().last())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'.')
}

/// Whether Kubernetes takes `text` as the name of a namespace (RFC 1123 label).
pub(crate) fn is_namespace(text: &str) -> bool {
    is_object_name(text) && text.len() <= LABEL_BYTES && !text.contains('.')
}

/// `text` as a label value: unchanged where that is legal, else its hash.
pub(crate) fn label_value(text: &str) -> String {
    if is_label_value(text) { text.to_owned() } else { format!("sha256-{}", hash(text, 40)) }
}

/// Whether Kubernetes takes `text` as the value of a label.
pub(crate) fn is_label_value(text: &str) -> bool {
    let (Some(first), Some(last)) = (text.bytes().next(), text.bytes().last()) else {
        return false;
    };
    text.len() <= LABEL_BYTES
        && first.is_ascii_alphanumeric()
        && last.is_ascii_alphanumeric()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// The first `digits` hexadecimal digits of the SHA-256 of `text`.
pub(crate) fn hash(text: &str, digits: usize) -> String {
    let mut hexadecimal: String = Sha256::digest(text.as_bytes())
        .iter()
        .fold(String::new(), |text, byte| text + &format!("{byte:02x}"));
    hexadecimal.truncate(digits);
    hexadecimal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_is_a_dns_label_and_an_object_name_a_subdomain() {
        for (text, is_object, is_a_namespace) in [
            ("shop", true, true),
            ("shop.v2", true, false),
            ("0", true, true),
            ("", false, false),
            ("Shop", false, false),
            ("-a", false, false),
            ("a-", false, false),
            ("a_b", false, false),
            (&"x".repeat(63), true, true),
            (&"x".repeat(64), true, false),
            (&"x".repeat(254), false, false),
        ] {
            assert_eq!((is_object_name(text), is_namespace(text)), (is_object, is_a_namespace), "{text}");
        }
    }
}
