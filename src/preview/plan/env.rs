//! The variables of the preview's container.

use serde_json::{Map, Value, json};

use crate::config::env::{Env, Keep};

/// Keeps, drops and maps the target's variables as `feature.env` says. Values that
/// come from ConfigMaps and Secrets stay references.
pub(super) fn change(container: &mut Map<String, Value>, env: &Env, warnings: &mut Vec<String>) {
    let mut variables = container.remove("env").and_then(|env| env.as_array().cloned()).unwrap_or_default();
    let name = |variable: &Value| variable.get("name").and_then(Value::as_str).unwrap_or_default().to_owned();
    variables.retain(|variable| {
        let name = name(variable);
        env.keep.keeps(&name) && !env.unsets(&name)
    });
    for variable in &mut variables {
        let name = name(variable);
        for (pattern, value) in &env.mapping {
            if let Some(captures) = pattern.captures(&name) {
                let mut expanded = String::new();
                captures.expand(value, &mut expanded);
                *variable = json!({"name": name, "value": expanded});
            }
        }
    }
    if !variables.is_empty() {
        container.insert("env".to_owned(), variables.into());
    }
    sources(container, env, warnings);
}

/// `envFrom` brings variables whose names are not in the template. They are dropped
/// where every name is excluded; otherwise they cannot be told apart here.
fn sources(container: &mut Map<String, Value>, env: &Env, warnings: &mut Vec<String>) {
    if container.get("envFrom").and_then(Value::as_array).is_none_or(Vec::is_empty) {
        return;
    }
    let all_but_all = matches!(&env.keep, Keep::AllBut(patterns) if patterns.match_any(""));
    if all_but_all {
        container.remove("envFrom");
    } else if !matches!(env.keep, Keep::All) || !env.unset.is_empty() || !env.mapping.is_empty() {
        warnings.push(
            "variables from a whole ConfigMap or Secret (`envFrom`) are not changed: the target does not list their names"
                .to_owned(),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::super::overrides;
    use super::*;

    fn changed(env: &Env) -> (Value, Vec<String>) {
        let mut warnings = Vec::new();
        let container = json!({"name": "web", "envFrom": [{"configMapRef": {"name": "all"}}], "env": [
            {"name": "A", "value": "1"},
            {"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}},
            {"name": "CONNECT_TIMEOUT", "value": "500"},
        ]});
        let mut container = container.as_object().unwrap().clone();
        change(&mut container, env, &mut warnings);
        overrides::apply(&mut container, &overrides::configured(env), &mut warnings);
        (json!([container.get("env"), container.get("envFrom").is_some()]), warnings)
    }

    #[test]
    fn variables_are_kept_dropped_set_and_mapped() {
        let password =
            json!({"name": "DB_PASSWORD", "valueFrom": {"secretKeyRef": {"name": "db", "key": "password"}}});
        let only = Env { keep: Keep::Only(vec!["DB_*".to_owned()].into()), ..Env::default() };
        assert_eq!(changed(&only).0, json!([[password], true]));
        assert!(changed(&only).1[0].contains("envFrom"));
        let none = Env { keep: Keep::AllBut(vec!["*".to_owned()].into()), ..Env::default() };
        assert_eq!(changed(&none), (json!([null, false]), Vec::new()));
        let set = Env {
            // In any case, as mirrord does.
            unset: vec!["connect_Timeout".to_owned()],
            set: [("A".to_owned(), "2".to_owned()), ("B".to_owned(), "3".to_owned())].into(),
            ..Env::default()
        };
        let expected = json!([{"name": "A", "value": "2"}, password, {"name": "B", "value": "3"}]);
        assert_eq!(changed(&set).0, json!([expected, true]));
        let mapped = Env {
            mapping: vec![(regex::Regex::new("(.+)_TIMEOUT").unwrap(), "$1-slow".to_owned())],
            ..Env::default()
        };
        assert_eq!(changed(&mapped).0[0][2], json!({"name": "CONNECT_TIMEOUT", "value": "CONNECT-slow"}));
        assert_eq!(changed(&Env::default()).1, Vec::<String>::new());
    }
}
