//! A request that a filter matches, for the keeper's canary: made from the
//! filter, and judged by it before it is used.

use httparse::Header;

use super::filter::Body;
use super::{Answer, Filter, Head};

/// A request head, without the headers that every request has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sample {
    /// The method.
    pub method: String,
    /// The request target: path and query.
    pub target: String,
    /// Names and values of headers.
    pub headers: Vec<(String, String)>,
}

// === impl Sample ===

impl Default for Sample {
    /// A request that hardly any filter matches, and that changes nothing should it reach
    /// an application past the agent.
    fn default() -> Self {
        Self { method: "OPTIONS".to_owned(), target: "/".to_owned(), headers: Vec::new() }
    }
}

impl Sample {
    /// A request that `filter` matches; `None` where none can be made.
    pub fn of(filter: &Filter) -> Option<Self> {
        let mut sample = Self::default();
        filter.sample(&mut sample)?;
        (sample.is_well_formed() && sample.judge(filter) == Answer::Yes).then_some(sample)
    }

    /// The filter's answer, as the agent will give it. A canary has no body.
    fn judge(&self, filter: &Filter) -> Answer {
        let headers: Vec<Header<'_>> =
            self.headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
        let head = Head { method: &self.method, target: &self.target, authority: None, headers: &headers };
        filter.judge(&head, Body::Unknown, &|| false)
    }

    /// Whether nothing in it ends a line or the head early.
    fn is_well_formed(&self) -> bool {
        let is_printable = |text: &str| text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
        let is_target = self.target.bytes().all(|byte| byte.is_ascii_graphic());
        let has_headers = self.headers.iter().all(|(name, value)| is_token(name) && is_printable(value));
        has_headers && is_target && is_token(&self.method)
    }
}

/// Whether `text` can be a header's name or a method (RFC 9110, 5.6.2).
pub(super) fn is_token(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn sample(filter: &Value) -> Option<Sample> {
        Sample::of(&serde_json::from_value(filter.clone()).unwrap())
    }

    #[test]
    fn a_request_is_made_that_the_filter_matches() {
        for filter in [
            json!("everything"),
            json!({"baggage": "pr-1"}),
            json!({"baggage": "feature/ä 1,2"}),
            json!({"header": "^x-user: ann$"}),
            json!({"header": "x-pr: (12|13)"}),
            json!({"header": "baggage: .*session=[a-z]+-\\d{2,}"}),
            json!({"header": "canary"}),
            json!({"path": "^/api/v[0-9]+/cart$"}),
            json!({"path": "cart"}),
            json!({"method": "post"}),
            json!({"all_of": [{"header": "x-a: 1"}, {"header": "x-b: 2"}, {"path": "^/a"}, {"method": "PUT"}]}),
            json!({"any_of": [{"body": {"query": "$.a", "matches": "b"}}, {"header": "x-a: 1"}]}),
        ] {
            assert!(sample(&filter).is_some(), "{filter}");
        }
    }

    #[test]
    fn a_request_is_not_made_where_the_filter_would_not_match_it() {
        for filter in [
            json!({"body": {"query": "$.a", "matches": "b"}}),
            json!({"header": "^x-user: (?!bot)"}),
            json!({"jq": "true"}),
            json!({"header": "^no header looks like this$"}),
            json!({"path": "^cart"}),
            json!({"header": "x-a: \\n"}),
        ] {
            assert_eq!(sample(&filter), None, "{filter}");
        }
    }
}
