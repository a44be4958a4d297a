//! Lists of strings: a list, or one string with `;` between the items.

use serde::Deserialize;
use serde::de::Deserializer;
use serde_untagged::UntaggedEnumVisitor;

use super::pattern::NamePattern;

/// Patterns of names.
#[derive(Clone, Debug, Default)]
pub struct Patterns(pub Vec<NamePattern>);

/// Plain names.
#[derive(Clone, Debug, Default)]
pub struct Names(pub Vec<String>);

/// Splits a string into its items.
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
        Self(items.iter().map(|item| NamePattern::new(item)).collect())
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
        UntaggedEnumVisitor::new()
            .expecting("a string or a list of strings")
            .string(|text| Ok(Self(split(text))))
            .seq(|list| {
                let items: Vec<String> = list.deserialize()?;
                Ok(Self(items.iter().flat_map(|item| split(item)).collect()))
            })
            .deserialize(deserializer)
    }
}
