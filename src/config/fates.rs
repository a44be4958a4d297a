//! Applies the table of fields to a file: takes out what counts as absent and
//! what is ignored, and refuses what cannot be honoured. Only honoured fields
//! with a value are left for the types.

use anyhow::Result;
use serde_json::{Value, json};

use super::fields::{self, FIELDS, Fate, Field, FieldType, RefusedField};
use super::path::{get, get_mut, has_fields, join, remove};
use super::wrong;
use crate::problem::Problem;

/// The object that must hold one of its fields, if it is there.
const FILTER: &str = "feature.network.incoming.http_filter";

/// Leaves honoured fields only, and returns a warning for each ignored one.
/// After an error, the file lacks at least what counts as absent.
pub(super) fn apply(file: &mut Value) -> Result<Vec<String>> {
    let held_fields = has_fields(file, FILTER);
    drop_nulls(file, "");
    if let Some(network) = get_mut(file, "feature.network")
        && *network == Value::Bool(false)
    {
        // `incoming` is the only part of the network that a preview honours.
        *network = json!({"incoming": "off"});
    }
    let mut warnings = Vec::new();
    for field in FIELDS.iter() {
        let Some(value) = get(file, &field.path) else { continue };
        match &field.fate {
            _ if field.is_absent(value) => {
                remove(file, &field.path);
            }
            Fate::Honoured(_) => {}
            Fate::Refused(refused) => return Err(refused.problem(&field.path).into()),
            Fate::Ignored(reason) => {
                warnings.push(format!("`{}` is ignored: {reason}", field.path));
                remove(file, &field.path);
            }
        }
    }
    // `{}` is an error of the reader; an object of which nothing is left is absent.
    if held_fields && !has_fields(file, FILTER) {
        remove(file, FILTER);
    }
    Ok(warnings)
}

/// The names below `parent` that are known, but not honoured.
pub(super) fn known<'a>(parent: &'a str) -> impl Iterator<Item = &'a str> {
    let name =
        |field: &'static Field| -> Option<&'a str> { field.honoured().is_none().then(|| field.name()) };
    fields::below(parent).filter_map(name)
}

/// mirrord takes `null` for "absent" in every field. In an object whose names
/// are the user's it is a forgotten value, which the types refuse.
fn drop_nulls(value: &mut Value, path: &str) {
    let honoured = fields::at(path).and_then(Field::honoured);
    if honoured.is_some_and(|honoured| matches!(honoured.kind, FieldType::Strings)) {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            fields.iter_mut().for_each(|(name, value)| drop_nulls(value, &join(path, name)));
        }
        // A null in a list is kept: without it, later items would move.
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(item, &format!("{path}[]"))),
        _ => {}
    }
}

// === impl Field ===

impl Field {
    /// Whether the value means the same as leaving the field out.
    fn is_absent(&self, value: &Value) -> bool {
        match value {
            Value::Bool(false) => self.is_off_if_false,
            Value::Bool(true) => self.is_on_if_true,
            Value::Array(items) => self.is_off_if_empty && items.is_empty(),
            Value::Object(fields) => self.is_off_if_empty && fields.is_empty(),
            _ => false,
        }
    }
}

// === impl RefusedField ===

impl RefusedField {
    fn problem(&self, path: &str) -> Problem {
        let problem = wrong(format!("`{path}` {}", self.what));
        let problem = match self.harm {
            "" => problem,
            harm => problem.because_of(format!("if it were ignored, {harm}")),
        };
        match self.hint {
            "" => problem.hint(format!("remove `{path}`")),
            hint => problem.hint(hint),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_that_count_as_absent_are_taken_out() {
        for (mut written, left) in [
            (json!({"feature": null, "agent": {"image": null}}), json!({"agent": {}})),
            (
                json!({"feature": {"env": {"override": {"A": null}}}}),
                json!({"feature": {"env": {"override": {"A": null}}}}),
            ),
            (json!({"a": [null, {"b": null}]}), json!({"a": [null, {}]})),
            (json!({"feature": {"network": true}}), json!({"feature": {}})),
            (json!({"feature": {"network": false}}), json!({"feature": {"network": {"incoming": "off"}}})),
            (
                json!({"feature": {"network": {"incoming": {"http_filter": true, "ports": false}}}}),
                json!({"feature": {"network": {"incoming": {}}}}),
            ),
            (json!({"feature": {"db_branches": [], "split_queues": {}}}), json!({"feature": {}})),
            (json!({"feature": 3}), json!({"feature": 3})),
        ] {
            assert_eq!(apply(&mut written).unwrap(), Vec::<String>::new());
            assert_eq!(written, left);
        }
        assert!(apply(&mut json!({"feature": {"db_branches": [{}]}})).is_err());
    }
}
