//! Deserializes types from a tree of values, with errors in the words of the file
//! format: each says what was found and what is allowed. `serde_json` would also
//! accept a list for an object, and its errors name Rust's types.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, Deserializer, Expected, IntoDeserializer, Unexpected, Visitor};
use serde::{Deserialize, Serialize, forward_to_deserialize_any};
use serde_json::Value;

use super::reading::described;
use crate::words;

/// A value to deserialize from.
pub(super) struct Strict(pub(super) Value);

/// Why a value cannot be used. The caller knows its path.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum Unfit {
    /// An unknown field, and the known ones.
    Field(Vec<String>),
    /// An unknown word, and the known ones.
    Word(String, Vec<String>),
    /// The end of a sentence that begins with the path: "must be a string, not `3`".
    Predicate(String),
    /// A sentence of its own.
    Sentence(String),
}

/// Begins the text of an [`Unfit`]; see its `Display`.
const MARK: char = '\u{1}';

// === impl Strict ===

impl Strict {
    fn must_be(&self, allowed: &str) -> Unfit {
        Unfit::Predicate(format!("must be {allowed}, not {}", described(&self.0)))
    }
}

impl<'de> Deserializer<'de> for Strict {
    type Error = Unfit;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(on) => visitor.visit_bool(on),
            Value::Number(number) => match (number.as_u64(), number.as_i64(), number.as_f64()) {
                (Some(number), ..) => visitor.visit_u64(number),
                (None, Some(number), _) => visitor.visit_i64(number),
                (None, None, Some(number)) => visitor.visit_f64(number),
                (None, None, None) => Err(de::Error::custom(format!("`{number}` is too large"))),
            },
            Value::String(text) => visitor.visit_string(text),
            Value::Array(items) => visitor.visit_seq(SeqDeserializer::new(items.into_iter().map(Strict))),
            Value::Object(fields) => visitor
                .visit_map(MapDeserializer::new(fields.into_iter().map(|(name, value)| (name, Self(value))))),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        if self.0.is_array() { self.deserialize_any(visitor) } else { Err(self.must_be("a list")) }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, length: usize, visitor: V) -> Result<V::Value, Unfit> {
        match self.0.as_array().map(Vec::len) {
            Some(found) if found == length => self.deserialize_any(visitor),
            Some(found) => {
                Err(Unfit::Predicate(format!("must be a list of {length}, not {}", list_of(found))))
            }
            None => Err(self.must_be(&format!("a list of {length}"))),
        }
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Unfit> {
        if self.0.is_object() { self.deserialize_any(visitor) } else { Err(self.must_be("an object")) }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        if self.0.is_object() {
            self.deserialize_any(visitor)
        } else {
            Err(self.must_be(&in_words(&visitor)))
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Unfit> {
        match self.0 {
            Value::String(text) => visitor.visit_enum(text.into_deserializer()),
            other => Err(Self(other).must_be(&words::one_of(words))),
        }
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct tuple_struct identifier ignored_any
    }
}

impl IntoDeserializer<'_, Unfit> for Strict {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

// === impl Unfit ===

impl de::Error for Unfit {
    fn custom<T: fmt::Display>(sentence: T) -> Self {
        let text = sentence.to_string();
        let read_back = text.strip_prefix(MARK).and_then(|json| serde_json::from_str(json).ok());
        read_back.unwrap_or(Self::Sentence(text))
    }

    fn invalid_type(found: Unexpected<'_>, allowed: &dyn Expected) -> Self {
        Self::Predicate(format!("must be {}, not {}", in_words(allowed), found_in_words(&found)))
    }

    fn invalid_value(found: Unexpected<'_>, allowed: &dyn Expected) -> Self {
        Self::invalid_type(found, allowed)
    }

    fn invalid_length(found: usize, allowed: &dyn Expected) -> Self {
        Self::Predicate(format!("must be {}, not {}", in_words(allowed), list_of(found)))
    }

    fn unknown_variant(word: &str, known: &'static [&'static str]) -> Self {
        Self::Word(word.to_owned(), owned(known))
    }

    fn unknown_field(_: &str, known: &'static [&'static str]) -> Self {
        Self::Field(owned(known))
    }

    fn missing_field(name: &'static str) -> Self {
        Self::Predicate(format!("needs the field `{name}`"))
    }
}

impl fmt::Display for Unfit {
    /// A form that `custom` reads back: `serde-untagged` keeps only the text of an
    /// error that passes through it. Users see the words that `reading` makes.
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let json = serde_json::to_string(self).map_err(|_| fmt::Error)?;
        write!(formatter, "{MARK}{json}")
    }
}

impl std::error::Error for Unfit {}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn list_of(length: usize) -> String {
    if length == 0 { "an empty list".to_owned() } else { format!("a list of {length}") }
}

/// The words of a visitor, without names of Rust's types.
fn in_words(allowed: &dyn Expected) -> String {
    match allowed.to_string().as_str() {
        "path string" => "a path".to_owned(),
        rust if rust.starts_with("struct ") => "an object".to_owned(),
        own => own.to_owned(),
    }
}

fn found_in_words(found: &Unexpected<'_>) -> String {
    match found {
        Unexpected::Bool(on) => format!("`{on}`"),
        Unexpected::Unsigned(number) => format!("`{number}`"),
        Unexpected::Signed(number) => format!("`{number}`"),
        Unexpected::Float(number) => format!("`{number:?}`"),
        Unexpected::Str(text) => described(&Value::from(*text)),
        Unexpected::Unit | Unexpected::Option => "null".to_owned(),
        Unexpected::Seq => "a list".to_owned(),
        Unexpected::Map => "an object".to_owned(),
        other => other.to_string(),
    }
}
