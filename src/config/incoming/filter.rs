//! `http_filter`: which requests, in mirrord's words; compiled here, so that
//! nothing is contacted with a pattern that cannot be one.

use anyhow::{Error, Result};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::config::environment::Environment;
use crate::config::wrong;
use crate::problem::Problem;
use crate::traffic::Filter;

/// What `http_filter` may hold: exactly one of them.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct FilterSection {
    header_filter: Option<String>,
    path_filter: Option<String>,
    method_filter: Option<String>,
    header_filter_jq: Option<String>,
    body_filter: Option<Value>,
    all_of: Option<Vec<Map<String, Value>>>,
    any_of: Option<Vec<Map<String, Value>>>,
}

/// The variables that stand for a filter, and the kind that each makes.
const VARIABLES: &[(&str, &str)] = &[
    ("MIRRORD_HTTP_HEADER_FILTER", "header"),
    ("MIRRORD_HTTP_PATH_FILTER", "path"),
    ("MIRRORD_HTTP_METHOD_FILTER", "method"),
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
    /// The filter, where the section has one; `place` is the section's path.
    pub(super) fn resolve(self, place: &str) -> Result<Option<Filter>> {
        let mut found: Vec<(&str, Value)> = Vec::new();
        for (name, kind, text) in [
            ("header_filter", "header", self.header_filter),
            ("path_filter", "path", self.path_filter),
            ("method_filter", "method", self.method_filter),
            ("header_filter_jq", "jq", self.header_filter_jq),
        ] {
            found.extend(text.map(|text| (name, json!({kind: text}))));
        }
        if let Some(body) = self.body_filter {
            let body = body.as_object().cloned().unwrap_or_default();
            found.push(("body_filter", condition(body, &format!("{place}.body_filter"))?));
        }
        for (name, list) in [("all_of", self.all_of), ("any_of", self.any_of)] {
            let Some(list) = list else { continue };
            let conditions: Result<Vec<Value>> = list
                .into_iter()
                .enumerate()
                .map(|(index, one)| condition(one, &format!("{place}.{name}[{index}]")))
                .collect();
            found.push((name, json!({name: conditions?})));
        }
        match &found[..] {
            [] => Ok(None),
            [(name, wire)] => Ok(Some(compiled(wire, &format!("{place}.{name}"))?)),
            [(one, _), (other, _), ..] => {
                Err(several(format!("`{place}` has both `{one}` and `{other}`")).into())
            }
        }
    }
}

/// One condition in the form in which rules travel.
fn condition(fields: Map<String, Value>, place: &str) -> Result<Value> {
    const KINDS: &str =
        "a condition is one of {header}, {path}, {method}, {query} or {body: \"json\", query, matches}";
    let problem = |why: String| wrong(format!("`{place}` is no condition")).because_of(why).hint(KINDS);
    if let Some(body) = fields.get("body") {
        if body != "json" {
            return Err(problem(format!("bodies of type {body} cannot be read, only \"json\"")).into());
        }
        let mut fields = fields;
        fields.remove("body");
        return Ok(json!({"body": fields}));
    }
    let names: Vec<&String> = fields.keys().collect();
    match names[..] {
        [name] if ["header", "path", "method"].contains(&name.as_str()) => Ok(fields.into()),
        // A jq program over the headers, in mirrord's words.
        [name] if name == "query" => Ok(json!({"jq": fields[name]})),
        [] => Err(problem("it is empty".to_owned()).into()),
        _ => Err(problem(format!(
            "it has {}",
            names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
        ))
        .into()),
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
