//! What is at a path of field names, such as `feature.preview.image`.

use serde_json::{Map, Value};

/// The value at `path`.
pub(super) fn get<'a>(value: &'a Value, path: &str) -> Option<&'a Value> {
    names(path).try_fold(value, |value, name| value.get(name))
}

/// The value at `path`, to be changed.
pub(super) fn get_mut<'a>(value: &'a mut Value, path: &str) -> Option<&'a mut Value> {
    names(path).try_fold(value, |value, name| value.get_mut(name))
}

/// Removes the value at `path`, and says whether there was one.
pub(super) fn remove(value: &mut Value, path: &str) -> bool {
    let (parent, name) = split(path);
    let parent = get_mut(value, parent).and_then(Value::as_object_mut);
    parent.is_some_and(|fields| fields.shift_remove(name).is_some())
}

/// Whether there is an object with fields at `path`.
pub(super) fn has_fields(value: &Value, path: &str) -> bool {
    get(value, path).and_then(Value::as_object).is_some_and(|fields: &Map<_, _>| !fields.is_empty())
}

/// The parent of a field, empty at the top, and the field's own name.
pub(super) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// A field below `parent`, which is empty at the top.
pub(super) fn join(parent: &str, name: &str) -> String {
    if parent.is_empty() { name.to_owned() } else { format!("{parent}.{name}") }
}

fn names(path: &str) -> impl Iterator<Item = &str> {
    path.split('.').filter(|name| !name.is_empty())
}
