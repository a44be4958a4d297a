//! Variables of the preview's container that are set, whatever the target's
//! value is. The configuration contributes some; so does every feature that
//! sends the preview elsewhere.

use std::fmt;

use serde_json::{Map, Value, json};

use crate::config::env::Env;

/// A variable that is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Override {
    /// The variable's name.
    pub(crate) name: String,
    /// Its value.
    pub(crate) value: OverrideValue,
    /// The section of the configuration that asks for it.
    pub(crate) because: &'static str,
}

/// The value of an [`Override`].
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum OverrideValue {
    /// This text, which may be a password: it is not in the `Debug` output.
    Literal(String),
    /// A field of a Secret in the target's namespace, which only the pod reads.
    #[cfg_attr(not(test), expect(dead_code, reason = "database branches will be the first contributor"))]
    SecretReference {
        /// The Secret's name.
        secret: String,
        /// The field.
        key: String,
    },
}

/// The variables that `feature.env` sets.
pub(crate) fn configured(env: &Env) -> Vec<Override> {
    let set = env.set.iter().map(|(name, value)| Override {
        name: name.clone(),
        value: OverrideValue::Literal(value.clone()),
        because: "feature.env",
    });
    set.collect()
}

/// Sets the variables of a container, in the order of `overrides`: the last one
/// of a name holds.
pub(super) fn apply(container: &mut Map<String, Value>, overrides: &[Override], warnings: &mut Vec<String>) {
    if overrides.is_empty() {
        return;
    }
    let mut variables = container.remove("env").and_then(|env| env.as_array().cloned()).unwrap_or_default();
    for (index, one) in overrides.iter().enumerate() {
        let earlier = overrides[..index].iter().rev().find(|earlier| earlier.name == one.name);
        if let Some(earlier) = earlier.filter(|earlier| earlier.because != one.because) {
            warnings.push(format!(
                "variable `{}` is set by `{}` and by `{}`: the latter holds",
                one.name, earlier.because, one.because
            ));
        }
        let replacement = one.variable();
        // Later variables may refer to this one, so it keeps its place.
        match variables.iter_mut().find(|variable| variable["name"] == one.name.as_str()) {
            Some(variable) => *variable = replacement,
            None => variables.push(replacement),
        }
    }
    container.insert("env".to_owned(), variables.into());
}

// === impl Override ===

impl Override {
    fn variable(&self) -> Value {
        match &self.value {
            OverrideValue::Literal(value) => json!({"name": self.name, "value": value}),
            OverrideValue::SecretReference { secret, key } => {
                json!({"name": self.name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}})
            }
        }
    }
}

// === impl OverrideValue ===

impl fmt::Debug for OverrideValue {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Literal(_) => formatter.write_str("Literal(…)"),
            Self::SecretReference { secret, key } => write!(formatter, "SecretReference({secret}/{key})"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(name: &str, value: &str, because: &'static str) -> Override {
        Override { name: name.to_owned(), value: OverrideValue::Literal(value.to_owned()), because }
    }

    #[test]
    fn overrides_replace_in_place_and_the_last_one_holds() {
        let reference = Override {
            name: "PASSWORD".to_owned(),
            value: OverrideValue::SecretReference { secret: "branch".to_owned(), key: "password".to_owned() },
            because: "feature.db_branches",
        };
        let overrides = [
            literal("URL", "one", "feature.env"),
            literal("NEW", "1", "feature.env"),
            literal("URL", "two", "feature.db_branches"),
            reference,
        ];
        let container = json!({"env": [
            {"name": "URL", "valueFrom": {"configMapKeyRef": {"name": "db", "key": "url"}}},
            {"name": "AFTER", "value": "$(URL)/x"},
        ]});
        let mut container = container.as_object().unwrap().clone();
        let mut warnings = Vec::new();
        apply(&mut container, &overrides, &mut warnings);
        assert_eq!(
            container["env"],
            json!([
                {"name": "URL", "value": "two"},
                {"name": "AFTER", "value": "$(URL)/x"},
                {"name": "NEW", "value": "1"},
                {"name": "PASSWORD", "valueFrom": {"secretKeyRef": {"name": "branch", "key": "password"}}},
            ])
        );
        assert_eq!(
            warnings,
            ["variable `URL` is set by `feature.env` and by `feature.db_branches`: the latter holds"]
        );
    }

    #[test]
    fn a_literal_is_not_in_the_debug_output() {
        assert!(!format!("{:?}", literal("PASSWORD", "hunter2", "feature.env")).contains("hunter2"));
    }
}
