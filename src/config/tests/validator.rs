//! The keywords of JSON Schema that `mirrord-schema.json` uses. An unknown
//! keyword fails the test: it would be checked by editors, and not here.

use serde_json::Value;

/// What is wrong with `value` by `schema`, if anything is.
pub(super) fn complaint(schema: &Value, value: &Value) -> Option<String> {
    let rules = schema.as_object().expect("a schema is an object");
    rules.iter().find_map(|(keyword, rule)| match keyword.as_str() {
        "$schema" | "title" | "description" => None,
        "type" => {
            let names: Vec<&str> = match rule {
                Value::Array(names) => names.iter().filter_map(Value::as_str).collect(),
                one => one.as_str().into_iter().collect(),
            };
            let fits = names.iter().any(|name| is_type(value, name));
            (!fits).then(|| format!("{value} is not of type {rule}"))
        }
        "enum" => (!rule.as_array()?.contains(value)).then(|| format!("{value} is not in {rule}")),
        "minimum" => (value.as_f64()? < rule.as_f64()?).then(|| format!("{value} is below {rule}")),
        "maximum" => (value.as_f64()? > rule.as_f64()?).then(|| format!("{value} is above {rule}")),
        "minItems" => (value.as_array()?.len() < length(rule)).then(|| format!("{value} is too short")),
        "maxItems" => (value.as_array()?.len() > length(rule)).then(|| format!("{value} is too long")),
        "items" => value.as_array()?.iter().find_map(|item| complaint(rule, item)),
        "properties" => value.as_object()?.iter().find_map(|(name, value)| {
            let complaint = complaint(rule.get(name)?, value)?;
            Some(format!("{name}: {complaint}"))
        }),
        "additionalProperties" => value.as_object()?.iter().find_map(|(name, value)| {
            if rules.get("properties").is_some_and(|known| known.get(name).is_some()) {
                return None;
            }
            match rule {
                Value::Bool(false) => Some(format!("{name} is unknown")),
                other => complaint(other, value),
            }
        }),
        "required" => {
            let missing = rule
                .as_array()?
                .iter()
                .find(|name| name.as_str().is_some_and(|name| value.get(name).is_none()));
            missing.filter(|_| value.is_object()).map(|name| format!("{name} is missing"))
        }
        "anyOf" => {
            let complaints: Vec<_> = rule.as_array()?.iter().map(|form| complaint(form, value)).collect();
            complaints
                .iter()
                .all(Option::is_some)
                .then(|| complaints.into_iter().flatten().collect::<Vec<_>>().join("; "))
        }
        other => panic!("the keyword `{other}` is not known here"),
    })
}

fn length(rule: &Value) -> usize {
    usize::try_from(rule.as_u64().expect("a length is a number")).expect("a length is small")
}

fn is_type(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("the type `{other}` is not known here"),
    }
}
