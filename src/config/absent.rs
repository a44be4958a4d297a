//! What counts as absent: mirrord takes `null` for "nothing said" in every
//! field, and a boolean where a section can be turned on or off as a whole.
//! One pass over the tree, so that types need not know of it.

use serde_json::{Value, json};

use super::path::{get as field, has_fields, join, remove};

/// Objects whose names are the user's: a null in them is a value left out by
/// mistake, which the strict reading refuses.
const OF_USERS: &[&str] =
    &["feature.env.override", "feature.env.mapping", "agent.labels", "agent.annotations"];

/// Fields for which `false` says that there is none.
const OFF: &[&str] = &[
    "feature.network.incoming.ports",
    "feature.network.incoming.ignore_ports",
    "feature.network.incoming.port_mapping",
    "feature.network.incoming.http_filter",
    "feature.network.incoming.on_concurrent_steal",
    "feature.network.incoming.tls_delivery",
    "feature.network.incoming.https_delivery",
    "feature.db_branches",
    "feature.split_queues",
    "feature.preview.idle",
];

/// Sections for which `true` says no more than their absence.
const ON: &[&str] = &["feature.network", "feature.network.incoming.http_filter"];

/// Fields for which nothing inside says that there is none.
const EMPTY: &[&str] = &["feature.db_branches", "feature.split_queues"];

/// The section that must hold one of its fields, if it is there.
const FILTER: &str = "feature.network.incoming.http_filter";

/// Takes out of a file what says as much as if it were not there.
pub(super) fn leave_out(value: &mut Value) {
    // `{}` is a mistake that its reader tells; one in which nothing is said is none.
    let says_fields = has_fields(value, FILTER);
    drop_nulls(value, "");
    if says_fields && !has_fields(value, FILTER) {
        remove(value, FILTER);
    }
    for path in ON.iter().filter(|path| field(value, path) == Some(&Value::Bool(true))).collect::<Vec<_>>() {
        remove(value, path);
    }
    // Turned off as a whole, the network has nothing left that a preview honours but this.
    if let Some(network) = value.pointer_mut("/feature/network")
        && *network == Value::Bool(false)
    {
        *network = json!({"incoming": "off"});
    }
    for path in OFF {
        if field(value, path) == Some(&Value::Bool(false)) {
            remove(value, path);
        }
    }
    for path in EMPTY {
        let is_empty = match field(value, path) {
            Some(Value::Array(items)) => items.is_empty(),
            Some(Value::Object(fields)) => fields.is_empty(),
            _ => false,
        };
        if is_empty {
            remove(value, path);
        }
    }
}

fn drop_nulls(value: &mut Value, path: &str) {
    if OF_USERS.contains(&path) {
        return;
    }
    match value {
        Value::Object(fields) => {
            fields.retain(|_, value| !value.is_null());
            for (name, value) in fields {
                let path = join(path, name);
                drop_nulls(value, &path);
            }
        }
        // A list keeps its places; objects in it are no objects of users.
        Value::Array(items) => items.iter_mut().for_each(|item| drop_nulls(item, "[]")),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_says_nothing_is_taken_out() {
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
            (json!({"feature": {"db_branches": [{}]}}), json!({"feature": {"db_branches": [{}]}})),
            (json!({"feature": 3}), json!({"feature": 3})),
        ] {
            leave_out(&mut written);
            assert_eq!(written, left);
        }
    }
}
