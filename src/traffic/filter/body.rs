//! `body`: a pattern over the values that a JSON path selects in a JSON body. The
//! agent waits for the body, within bounds, where every other condition matched.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::kind::{Condition, IsOver, Part, Syntax};
use crate::matching::{Case, JsonPath, Pattern};
use crate::traffic::{Head, Sample};

/// How much of a body is kept for a filter, in bytes. A longer body does not
/// match.
pub const MAX_BODY_BYTES: usize = 64 * 1024;

/// A JSON path (RFC 9535) and a pattern, for which case matters, over the values
/// that it selects: a string by its characters, any other value by its JSON.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Wire", into = "Wire")]
pub struct JsonBody {
    query: JsonPath,
    matches: Pattern,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Wire {
    query: String,
    matches: String,
}

// === impl JsonBody ===

impl Condition for JsonBody {
    const SYNTAX: Option<Syntax> = Some(Syntax {
        filter: "body_filter",
        meaning: "A condition for a JSON body.",
        variable: None,
        fields: &["body", "query", "matches"],
        parts: &[
            Part { name: "body", meaning: "How the body is read.", values: &["json"] },
            Part { name: "query", meaning: "A JSONPath, with mirrord's function `typeof(@)`.", values: &[] },
            Part {
                name: "matches",
                meaning: "A regular expression for a value that the JSONPath selects.",
                values: &[],
            },
        ],
    });

    const READS_BODY: bool = true;

    type Written = [String; 3];

    /// A body that is not JSON does not match.
    fn matches(&self, _: &Head<'_>, body: &[u8], is_over: IsOver<'_>) -> bool {
        let Ok(value) = serde_json::from_slice::<Value>(body) else { return false };
        let mut search = self.matches.search();
        self.query.texts(&value).any(|text| !is_over() && search.is_match(text.as_bytes()))
    }

    /// A canary has no body.
    fn sample(&self, _: &mut Sample) -> Option<()> {
        None
    }
}

impl TryFrom<[String; 3]> for JsonBody {
    type Error = String;

    fn try_from([_, query, matches]: [String; 3]) -> Result<Self, String> {
        Self::try_from(Wire { query, matches })
    }
}

impl TryFrom<Wire> for JsonBody {
    type Error = String;

    fn try_from(Wire { query, matches }: Wire) -> Result<Self, String> {
        Ok(Self { query: JsonPath::compile(&query)?, matches: Pattern::compile(&matches, Case::Matters)? })
    }
}

impl From<JsonBody> for Wire {
    fn from(JsonBody { query, matches }: JsonBody) -> Self {
        Self { query: query.as_str().to_owned(), matches: matches.as_str().to_owned() }
    }
}

impl fmt::Display for JsonBody {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("requests with a matching body")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// `serde_json_path` prints some of these as another path, or as an invalid one.
    #[test]
    fn a_path_crosses_the_wire_as_it_was_written() {
        let body = json!({"a": {"b": 4}, "it's": 4, "c\\d": 4, "e\nf": 4});
        let head = Head { method: "POST", target: "/", authority: None, headers: &[] };
        for query in ["$..b", "$.a..*", r#"$["it's"]"#, r"$['it\'s']", r"$['c\\d']", r"$['e\nf']", "$[?@..b]"]
        {
            let given = json!({"query": query, "matches": "4"});
            let filter: JsonBody = serde_json::from_value(given.clone()).unwrap();
            assert_eq!(serde_json::to_value(&filter).unwrap(), given);
            assert!(filter.matches(&head, body.to_string().as_bytes(), &|| false), "{query}");
        }
    }
}
