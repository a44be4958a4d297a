//! A digest of the template, to detect that a target has changed since it was
//! copied.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Source;
use crate::kubernetes_names::hash;

// === impl Source ===

impl Source {
    /// The digest of the template; `None` for a live pod, which Kubernetes keeps
    /// changing.
    pub fn digest(&self) -> Option<String> {
        let mut text = String::new();
        canonical(&Value::Object(self.template.clone()), &mut text);
        (!self.lived).then(|| hash(&text, 16))
    }
}

/// JSON with sorted names and without nulls, which a newer API server may leave
/// out.
fn canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let fields: BTreeMap<_, _> = fields.iter().filter(|(_, value)| !value.is_null()).collect();
            text.push('{');
            for (name, value) in fields {
                text.push_str(&Value::from(name.as_str()).to_string());
                text.push(':');
                canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(values) => {
            text.push('[');
            for value in values {
                canonical(value, text);
                text.push(',');
            }
            text.push(']');
        }
        plain => text.push_str(&plain.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_template_is_compared_by_content_not_by_order_or_nulls() {
        let source =
            |template: Value| Source { template: template.as_object().unwrap().clone(), ..Source::default() };
        let one = source(json!({"a": {"b": [1, {"c": "x"}]}, "d": null}));
        assert_eq!(one.digest(), source(json!({"e": null, "a": {"b": [1, {"c": "x"}]}})).digest());
        for other in [
            json!({"a": {"b": [1, {"c": "y"}]}}),
            json!({"a": {"b": [{"c": "x"}, 1]}}),
            json!({"a": {"b": [1, {"c": "x"}]}, "f": 0}),
            json!({"a": {"b": [1, "c", "x"]}}),
        ] {
            assert_ne!(one.digest(), source(other.clone()).digest(), "{other}");
        }
        assert_eq!(Source { lived: true, ..one }.digest(), None);
    }
}
