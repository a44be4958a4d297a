//! The form of `http_filter` in the file: texts under names, not compiled yet.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::LazyLock;

use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, Visitor};

use super::kinds;
use crate::traffic::Filter;
use crate::traffic::filter::{FilterKind, List, Syntax};
use crate::words;

/// The fields of the section, in the order of [`SECTION`]. One of them makes the
/// filter.
#[derive(Debug)]
pub(in crate::config::incoming) struct FilterSection(pub(super) Vec<(&'static str, FilterForm)>);

/// The value of one field of the section.
#[derive(Debug)]
pub(super) enum FilterForm {
    /// One condition: its texts in the order of its fields.
    Condition(&'static FilterKind, Vec<String>),
    /// The conditions of a list, and what makes a filter of them.
    List(MakeFilter, Vec<Condition>),
}

/// One condition of a list.
#[derive(Debug)]
pub(super) struct Condition(pub(super) Texts);

/// Texts by the names of their fields.
type Texts = BTreeMap<&'static str, String>;

type MakeFilter = fn(List) -> Filter;

/// The fields of the section that hold lists.
const LISTS: [(&str, MakeFilter); 2] = [("all_of", Filter::AllOf), ("any_of", Filter::AnyOf)];

/// The names of the section's fields.
pub(super) static SECTION: LazyLock<Vec<&str>> =
    LazyLock::new(|| kinds().map(|(_, syntax)| syntax.filter).chain(LISTS.map(|(name, _)| name)).collect());

/// The names of the fields that a condition of a list may have.
pub(super) static CONDITION: LazyLock<Vec<&str>> = LazyLock::new(|| {
    let mut names: Vec<&str> = Vec::new();
    for name in kinds().flat_map(|(_, syntax)| syntax.fields) {
        if !names.contains(name) {
            names.push(name);
        }
    }
    names
});

/// The only values of a condition's field; empty where it takes any text.
pub(super) fn values(name: &str) -> &'static [&'static str] {
    let mut parts = kinds().flat_map(|(_, syntax)| syntax.parts);
    parts.find(|part| part.name == name).map_or(&[], |part| part.values)
}

/// The texts of one condition in the order of its fields.
pub(super) fn in_order(syntax: &Syntax, mut texts: Texts) -> Vec<String> {
    let text = |name: &&'static str| texts.remove(name).expect("every field of the condition is there");
    syntax.fields.iter().map(text).collect()
}

// === impl FilterSection ===

impl<'de> Deserialize<'de> for FilterSection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;
        impl<'de> Visitor<'de> for Reader {
            type Value = FilterSection;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a boolean or an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FilterSection, A::Error> {
                let mut fields = Vec::new();
                while let Some(name) = map.next_key_seed(NameOf(&SECTION))? {
                    let written = match LISTS.iter().find(|(list, _)| *list == name) {
                        Some((_, make)) => FilterForm::List(*make, map.next_value()?),
                        None => map.next_value_seed(ConditionOf(name))?,
                    };
                    fields.push((name, written));
                }
                fields.sort_by_key(|(name, _)| SECTION.iter().position(|known| known == name));
                Ok(FilterSection(fields))
            }
        }
        deserializer.deserialize_any(Reader)
    }
}

// === impl Condition ===

impl<'de> Deserialize<'de> for Condition {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(TextsOf(&CONDITION)).map(Self)
    }
}

/// Reads the value of this field of the section, which is one condition.
struct ConditionOf(&'static str);

impl<'de> DeserializeSeed<'de> for ConditionOf {
    type Value = FilterForm;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<FilterForm, D::Error> {
        let (kind, syntax) =
            kinds().find(|(_, syntax)| syntax.filter == self.0).expect("every other field is a list");
        if let [name] = syntax.fields {
            let text = TextIn(values(name)).deserialize(deserializer)?;
            return Ok(FilterForm::Condition(kind, vec![text]));
        }
        let texts = deserializer.deserialize_map(TextsOf(syntax.fields))?;
        match syntax.fields.iter().find(|name| !texts.contains_key(*name)) {
            Some(missing) => Err(de::Error::missing_field(missing)),
            None => Ok(FilterForm::Condition(kind, in_order(syntax, texts))),
        }
    }
}

/// Reads an object with some of these fields, each with a text.
struct TextsOf(&'static [&'static str]);

impl<'de> Visitor<'de> for TextsOf {
    type Value = Texts;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Texts, A::Error> {
        let mut texts = Texts::new();
        while let Some(name) = map.next_key_seed(NameOf(self.0))? {
            texts.insert(name, map.next_value_seed(TextIn(values(name)))?);
        }
        Ok(texts)
    }
}

/// Reads the name of a field, one of these.
struct NameOf(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for NameOf {
    type Value = &'static str;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<&'static str, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = self.0.iter().find(|known| **known == name);
        known.copied().ok_or_else(|| de::Error::unknown_field(&name, self.0))
    }
}

/// Reads a text: one of these, or any where there are none.
struct TextIn(&'static [&'static str]);

impl<'de> DeserializeSeed<'de> for TextIn {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_string(self)
    }
}

impl Visitor<'_> for TextIn {
    type Value = String;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            [] => formatter.write_str("a string"),
            values => formatter.write_str(&words::one_of(values)),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<String, E> {
        if self.0.is_empty() || self.0.contains(&text) {
            Ok(text.to_owned())
        } else {
            Err(E::unknown_variant(text, self.0))
        }
    }
}
