//! Lists as mirrord takes them: a list, or one string whose items `;` parts.

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use crate::config::pattern::Pattern;

/// Patterns of names.
#[derive(Clone, Debug, Default)]
pub struct Patterns(pub Vec<Pattern>);

/// Plain names.
#[derive(Clone, Debug, Default)]
pub struct Names(pub Vec<String>);

/// The items of one string.
pub(super) fn split(text: &str) -> Vec<String> {
    text.split(';').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect()
}

// === impl Patterns ===

impl Patterns {
    /// Whether any of them matches.
    pub fn match_any(&self, name: &str) -> bool {
        self.0.iter().any(|pattern| pattern.matches(name))
    }
}

impl From<Vec<String>> for Patterns {
    fn from(items: Vec<String>) -> Self {
        Self(items.iter().map(|item| Pattern::new(item)).collect())
    }
}

impl<'de> Deserialize<'de> for Patterns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Names::deserialize(deserializer).map(|names| names.0.into())
    }
}

// === impl Names ===

impl<'de> Deserialize<'de> for Names {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = Names;

            fn expecting(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                formatter.write_str("a string or a list of strings")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Names, E> {
                Ok(Names(split(text)))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Names, A::Error> {
                let mut names = Vec::new();
                while let Some(item) = list.next_element::<String>()? {
                    names.extend(split(&item));
                }
                Ok(Names(names))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}
