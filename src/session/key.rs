//! The key: what the user calls an environment.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;
use uuid::Uuid;

use crate::kubernetes_names::label_value;

/// The longest key, in bytes: it travels in a request header, and a header of
/// this size passes every proxy.
const LONGEST: usize = 512;

/// What the user calls an environment: any printable text.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(String);

/// Why a text cannot be a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum KeyError {
    /// An empty key would select every environment.
    #[error("a key may not be empty")]
    Empty,
    /// A control character cannot travel in a header and cannot be read in a list.
    #[error("a key may not contain control characters")]
    Control,
    /// The key has more than 512 bytes.
    #[error("a key may have at most 512 bytes")]
    TooLong,
}

// === impl Key ===

impl Key {
    /// A generated key: five hexadecimal digits.
    pub fn generated(randomness: Uuid) -> Self {
        let mut digits = randomness.simple().to_string();
        digits.truncate(5);
        Self(digits)
    }

    /// The key as the user wrote it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The key as a Kubernetes label value: itself where that is legal, else a
    /// hash, so that `kubectl get pods -l preview.mirrord.io/key=pr-12` works
    /// for the keys people type there.
    pub fn label_value(&self) -> String {
        label_value(&self.0)
    }
}

impl fmt::Display for Key {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl FromStr for Key {
    type Err = KeyError;

    fn from_str(text: &str) -> Result<Self, KeyError> {
        if text.trim().is_empty() {
            Err(KeyError::Empty)
        } else if text.chars().any(char::is_control) {
            Err(KeyError::Control)
        } else if text.len() > LONGEST {
            Err(KeyError::TooLong)
        } else {
            Ok(Self(text.to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kubernetes_names::is_label_value;

    #[test]
    fn a_legal_label_value_labels_itself() {
        for key in ["pr-12", "42", "a", "Feature_x.1", &"x".repeat(63)] {
            assert_eq!(key.parse::<Key>().unwrap().label_value(), key);
        }
    }

    #[test]
    fn any_other_key_is_labelled_by_a_legal_and_distinct_hash() {
        let keys = ["feat/login", "-a", "a.", "ключ", "a b", "🦀", &"x".repeat(100)];
        let mut seen = std::collections::BTreeSet::new();
        for key in keys {
            let value = key.parse::<Key>().unwrap().label_value();
            assert!(is_label_value(&value), "{value}");
            assert!(seen.insert(value));
        }
    }

    #[test]
    fn empty_long_and_unprintable_keys_are_refused() {
        for (text, error) in [
            ("", KeyError::Empty),
            ("  ", KeyError::Empty),
            ("a\nb", KeyError::Control),
            ("a\u{7f}", KeyError::Control),
            (&"x".repeat(513), KeyError::TooLong),
        ] {
            assert_eq!(text.parse::<Key>(), Err(error));
        }
    }

    #[test]
    fn a_generated_key_is_five_hexadecimal_digits() {
        let key = Key::generated(Uuid::from_u128(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(key.as_str(), "01234");
    }
}
