//! `http_filter`: which requests, in mirrord's words; compiled here, so that
//! nothing is contacted with a pattern that cannot be one.

use anyhow::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::config::environment::Environment;
use crate::config::wrong;
use crate::problem::Problem;
use crate::traffic::Filter;

/// What `http_filter` may hold: exactly one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default, expecting = "a boolean or an object")]
pub(super) struct FilterSection {
    header_filter: Option<String>,
    path_filter: Option<String>,
    method_filter: Option<String>,
    header_filter_jq: Option<String>,
    body_filter: Option<BodySection>,
    all_of: Option<Vec<Condition>>,
    any_of: Option<Vec<Condition>>,
}

/// What is looked for in a body.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct BodySection {
    #[serde(rename = "body")]
    _kind: BodyKind,
    query: String,
    matches: String,
}

/// How a body is read.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
enum BodyKind {
    Json,
}

/// One condition of a list: exactly one of its fields, or the three of a body's.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Condition {
    header: Option<String>,
    path: Option<String>,
    method: Option<String>,
    query: Option<String>,
    body: Option<BodyKind>,
    matches: Option<String>,
}

/// The variables that stand for a filter, and the kind that each makes.
const VARIABLES: &[(&str, &str)] = &[
    ("MIRRORD_HTTP_HEADER_FILTER", "header"),
    ("MIRRORD_HTTP_PATH_FILTER", "path"),
    ("MIRRORD_HTTP_METHOD_FILTER", "method"),
    ("MIRRORD_HTTP_HEADER_FILTER_JQ", "jq"),
];

/// The environment's filter, where it has one.
pub(super) fn of_environment(environment: &Environment) -> Result<Option<Filter>> {
    let set: Vec<(&str, &str, String)> = VARIABLES
        .iter()
        .filter_map(|(variable, kind)| Some((*variable, *kind, environment.text(variable)?)))
        .collect();
    match &set[..] {
        [] => Ok(None),
        [(variable, kind, text)] => Ok(Some(compiled(&json!({*kind: text}), variable)?)),
        [(one, ..), (other, ..), ..] => Err(several(format!("`{one}` and `{other}` are both set")).into()),
    }
}

// === impl FilterSection ===

impl FilterSection {
    /// The filter; `place` is the section's path.
    pub(super) fn resolve(self, place: &str) -> Result<Filter> {
        let mut found: Vec<(&str, Value)> = Vec::new();
        for (name, kind, text) in [
            ("header_filter", "header", self.header_filter),
            ("path_filter", "path", self.path_filter),
            ("method_filter", "method", self.method_filter),
            ("header_filter_jq", "jq", self.header_filter_jq),
        ] {
            found.extend(text.map(|text| (name, json!({kind: text}))));
        }
        if let Some(BodySection { _kind, query, matches }) = self.body_filter {
            found.push(("body_filter", json!({"body": {"query": query, "matches": matches}})));
        }
        for (name, list) in [("all_of", self.all_of), ("any_of", self.any_of)] {
            let Some(list) = list else { continue };
            let conditions: Result<Vec<Value>> = list
                .into_iter()
                .enumerate()
                .map(|(index, one)| {
                    let place = format!("{place}.{name}[{index}]");
                    let (field, wire) = one.wire(&place)?;
                    // Each by itself, so that the one that is wrong is named.
                    compiled(&wire, &format!("{place}.{field}"))?;
                    Ok(wire)
                })
                .collect();
            found.push((name, json!({name: conditions?})));
        }
        match &found[..] {
            // Without it all requests would be taken, which who writes it does not want.
            [] => Err(wrong(format!("`{place}` holds no filter"))
                .because_of(
                    "it must hold one of `header_filter`, `path_filter`, `method_filter`, `header_filter_jq`, \
                     `body_filter`, `all_of`, `any_of`",
                )
                .hint("add one, or remove `http_filter`")
                .into()),
            [(name, wire)] => compiled(wire, &format!("{place}.{name}")),
            [(one, _), (other, _), ..] => {
                Err(several(format!("`{place}` has both `{one}` and `{other}`")).into())
            }
        }
    }
}

// === impl Condition ===

impl Condition {
    /// The condition in the form in which rules travel, and the field that it is.
    fn wire(self, place: &str) -> Result<(&'static str, Value)> {
        const KINDS: &str =
            "a condition is one of {header}, {path}, {method}, {query} or {body: \"json\", query, matches}";
        let Self { header, path, method, query, body, matches } = self;
        let fields = [
            ("header", header.is_some()),
            ("path", path.is_some()),
            ("method", method.is_some()),
            ("query", query.is_some()),
            ("body", body.is_some()),
            ("matches", matches.is_some()),
        ];
        match (header, path, method, query, body, matches) {
            (Some(header), None, None, None, None, None) => Ok(("header", json!({"header": header}))),
            (None, Some(path), None, None, None, None) => Ok(("path", json!({"path": path}))),
            (None, None, Some(method), None, None, None) => Ok(("method", json!({"method": method}))),
            // A jq program over the headers, in mirrord's words.
            (None, None, None, Some(query), None, None) => Ok(("query", json!({"jq": query}))),
            (None, None, None, Some(query), Some(BodyKind::Json), Some(matches)) => {
                Ok(("body", json!({"body": {"query": query, "matches": matches}})))
            }
            _ => {
                let found: Vec<String> =
                    fields.iter().filter(|(_, there)| *there).map(|(name, _)| format!("`{name}`")).collect();
                let why = if found.is_empty() {
                    "it is empty".to_owned()
                } else {
                    format!("it has {} and nothing else", found.join(", "))
                };
                Err(wrong(format!("`{place}` is no condition")).because_of(why).hint(KINDS).into())
            }
        }
    }
}

fn compiled(wire: &Value, place: &str) -> Result<Filter> {
    serde_json::from_value(wire.clone()).map_err(|error| {
        let problem: Error = wrong(format!("`{place}` cannot be used")).because_of(error.to_string()).into();
        problem
    })
}

fn several(what: String) -> Problem {
    wrong(what).hint("one filter can be used; join conditions with `all_of` or `any_of`")
}
