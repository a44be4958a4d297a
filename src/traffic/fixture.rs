//! Rules for tests, here and in other modules.

use serde_json::{Value, json};

use super::Rules;

/// Rules as they are sent: of the session `s1` that steals what carries its key
/// on port 80, with the fields of `changes` in place of its own.
pub(crate) fn wire(changes: &Value) -> Value {
    let mut rules = json!({
        "version": 1, "session": "s1", "generation": 1, "key": "pr-1", "order": 1, "lease_seconds": 60,
        "mode": "steal", "ports": [{"port": 80}], "filter": {"baggage": "pr-1"}, "preview": [],
    });
    for (name, value) in changes.as_object().expect("the changes are fields of rules") {
        rules[name] = value.clone();
    }
    rules
}

/// The same as a value.
pub(crate) fn rules(changes: &Value) -> Rules {
    Rules::read(wire(changes)).expect("the changes leave the rules valid")
}
