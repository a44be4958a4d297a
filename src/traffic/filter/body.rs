//! `body`: what a JSONPath finds in a JSON body. The relay hands the body over
//! whole, within bounds, and only where the rest of the filter matched.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json_path::JsonPath;
use serde_json_path::functions::{NodesType, ValueType};

use super::pattern::{Case, Pattern};

/// How much of a body is held back for a filter. Larger ones do not match.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSONPath (RFC 9535) and a pattern, case-sensitive, over what it finds: a
/// string by its characters, anything else by its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct JsonBody {
    query: Query,
    pattern: Pattern,
}

/// A path, and the words it was given in: these cross the wire. What
/// `serde_json_path` prints of a path is not always the path, or even one.
#[derive(Clone, Debug)]
struct Query {
    text: String,
    path: JsonPath,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    query: String,
    matches: String,
}

// === impl JsonBody ===

impl JsonBody {
    /// Whether a node of the body matches. A body that is no JSON has none.
    pub fn matches(&self, body: &[u8]) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return false };
        let mut search = self.pattern.search();
        self.query.path.query(&value).iter().any(|node| match node {
            Value::String(text) => search.is_match(text.as_bytes()),
            other => search.is_match(other.to_string().as_bytes()),
        })
    }
}

impl TryFrom<Wire> for JsonBody {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let path = JsonPath::parse(&wire.query)
            .map_err(|error| format!("`{}` is no JSONPath: {error}", wire.query))?;
        let query = Query { text: wire.query, path };
        Ok(Self { query, pattern: Pattern::compile(&wire.matches, Case::Matters)? })
    }
}

impl From<JsonBody> for Wire {
    fn from(filter: JsonBody) -> Self {
        Self { query: filter.query.text, matches: filter.pattern.into() }
    }
}

// === impl Query ===

impl PartialEq for Query {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

impl Eq for Query {}

/// `typeof(@)` in a path: the kind of what the nodes are, where it is one.
/// mirrord adds it to the functions of RFC 9535.
#[serde_json_path::function(name = "typeof")]
fn type_of(nodes: NodesType<'_>) -> ValueType<'_> {
    let mut kinds = nodes.iter().map(|node| match node {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    });
    match kinds.next() {
        Some(kind) if kinds.all(|other| other == kind) => ValueType::Value(kind.into()),
        _ => ValueType::Nothing,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn typeof_tells_kinds_apart() {
        for (query, body, matches) in [
            ("$.books[?(typeof(@) == 'number')]", json!({"books": [1111, 2224]}), true),
            ("$.books[?(typeof(@) == 'number')]", json!({"books": ["1111", "2224"]}), false),
            ("$.books[?typeof(@) == 'string']", json!({"books": ["1111", "2224"]}), true),
            // Nodes of several kinds have none.
            ("$[?typeof(@[*]) == 'number']", json!([[4, 4]]), true),
            ("$[?typeof(@[*]) == 'number']", json!([[4, "4"]]), false),
            ("$[?typeof(@.a) == 'null']", json!([{"a": null, "b": 4}]), true),
            ("$[?typeof(@.a) == 'null']", json!([{"b": 4}]), false),
        ] {
            let filter =
                JsonBody::try_from(Wire { query: query.to_owned(), matches: "4".to_owned() }).unwrap();
            assert_eq!(filter.matches(body.to_string().as_bytes()), matches, "{query} {body}");
        }
    }

    /// What `serde_json_path` prints of these is another path, or none.
    #[test]
    fn a_path_crosses_the_wire_in_its_own_words() {
        let body = json!({"a": {"b": 4}, "it's": 4, "c\\d": 4, "e\nf": 4});
        for query in ["$..b", "$.a..*", r#"$["it's"]"#, r"$['it\'s']", r"$['c\\d']", r"$['e\nf']", "$[?@..b]"]
        {
            let given = json!({"query": query, "matches": "4"});
            let filter: JsonBody = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(serde_json::to_value(&filter).unwrap(), given);
            assert!(filter.matches(body.to_string().as_bytes()), "{query}");
        }
    }
}
