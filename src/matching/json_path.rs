//! JSON paths (RFC 9535), with mirrord's own function `typeof`.

mod cost;

use std::borrow::Cow;

use serde_json::Value;
use serde_json_path::functions::{NodesType, ValueType};

/// A compiled JSON path.
///
/// It keeps the text that it was written in, and equality is that of the texts:
/// the text that `serde_json_path` (0.7) prints of a path is not always the same
/// path, or a valid one.
#[derive(Clone, Debug)]
pub struct Path {
    text: String,
    compiled: serde_json_path::JsonPath,
}

// === impl Path ===

impl Path {
    /// Compiles `text`. The error says why it cannot be used.
    pub fn compile(text: &str) -> Result<Self, String> {
        let compiled = serde_json_path::JsonPath::parse(text)
            .map_err(|error| format!("`{text}` is not a valid JSONPath: {error}"))?;
        cost::check(text).map_err(|why| format!("`{text}` could take too long: {why}"))?;
        Ok(Self { text: text.to_owned(), compiled })
    }

    /// The path as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The values that the path selects in `value`, as texts: a string by its
    /// characters, any other value by its JSON.
    pub fn texts<'a>(&self, value: &'a Value) -> impl Iterator<Item = Cow<'a, str>> {
        self.compiled.query(value).into_iter().map(|node| match node {
            Value::String(text) => Cow::Borrowed(text.as_str()),
            other => Cow::Owned(other.to_string()),
        })
    }
}

impl PartialEq for Path {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Path {}

/// `typeof(@)`: the type of the selected values, where all have the same. An
/// addition of mirrord's to the functions of RFC 9535.
#[serde_json_path::function(name = "typeof")]
fn type_of(nodes: NodesType<'_>) -> ValueType<'_> {
    let mut types = nodes.iter().map(|node| match node {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    });
    match types.next() {
        Some(first) if types.all(|other| other == first) => ValueType::Value(first.into()),
        _ => ValueType::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typeof_tells_types_apart() {
        for (query, value, finds) in [
            ("$.books[?(typeof(@) == 'number')]", json!({"books": [1111, 2224]}), true),
            ("$.books[?(typeof(@) == 'number')]", json!({"books": ["1111", "2224"]}), false),
            ("$.books[?typeof(@) == 'string']", json!({"books": ["1111", "2224"]}), true),
            // Values of several types have none in common.
            ("$[?typeof(@[*]) == 'number']", json!([[4, 4]]), true),
            ("$[?typeof(@[*]) == 'number']", json!([[4, "4"]]), false),
            ("$[?typeof(@.a) == 'null']", json!([{"a": null, "b": 4}]), true),
            ("$[?typeof(@.a) == 'null']", json!([{"b": 4}]), false),
        ] {
            let path = Path::compile(query).unwrap();
            assert_eq!(path.texts(&value).any(|text| text.contains('4')), finds, "{query} {value}");
        }
    }

    #[test]
    fn a_string_is_its_characters_and_any_other_value_its_json() {
        let value = json!(["a\"b", 1, null, {"c": [true]}]);
        let texts: Vec<Cow<'_, str>> = Path::compile("$[*]").unwrap().texts(&value).collect();
        assert_eq!(texts, ["a\"b", "1", "null", "{\"c\":[true]}"]);
        assert!(Path::compile("no path").unwrap_err().contains("not a valid JSONPath"));
    }
}
