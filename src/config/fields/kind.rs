//! What a field may hold: in words for the documentation, and as a JSON Schema.

use serde_json::{Map, Value, json};

use crate::config::fields;

/// What a field may hold.
#[derive(Clone, Debug)]
pub enum FieldType {
    /// `true` or `false`.
    Boolean,
    /// Any string.
    Text,
    /// A whole number of any size.
    Integer,
    /// An integer from 1 to the largest that Kubernetes counts to.
    Positive,
    /// An integer from 1 to 65535.
    Port,
    /// An integer above 0, or `"infinite"`.
    Life,
    /// One word of a list.
    Word(&'static [&'static str]),
    /// A list of strings, or one string with `;` between the items.
    Names,
    /// An object with names of the user's choice and strings as values.
    Strings,
    /// An object with the fields that the table has below this one.
    Section,
    /// A list of any length.
    List(Box<FieldType>),
    /// A list of two.
    Pair(Box<FieldType>),
    /// Either of several.
    AnyOf(Vec<FieldType>),
}

// === impl FieldType ===

impl FieldType {
    /// The kind in words.
    pub fn in_words(&self) -> String {
        match self {
            Self::Boolean => "boolean".to_owned(),
            Self::Text => "string".to_owned(),
            Self::Integer => "integer".to_owned(),
            Self::Positive => "integer above 0".to_owned(),
            Self::Port => "port".to_owned(),
            Self::Life => "integer above 0, or `\"infinite\"`".to_owned(),
            Self::Word(words) => {
                joined(&words.iter().map(|word| format!("`\"{word}\"`")).collect::<Vec<_>>())
            }
            Self::Names => "string or list of strings".to_owned(),
            Self::Strings => "object of strings".to_owned(),
            Self::Section => "object".to_owned(),
            Self::List(item) => format!("list of {}", plural(item)),
            Self::Pair(item) => format!("pair of {}", plural(item)),
            Self::AnyOf(kinds) => joined(&kinds.iter().map(Self::in_words).collect::<Vec<_>>()),
        }
    }

    /// The forms of the kind as JSON Schemas; `path` is where the table has it.
    pub(crate) fn schemas(&self, path: &str) -> Vec<Value> {
        match self {
            Self::Boolean => vec![json!({"type": "boolean"})],
            Self::Text => vec![json!({"type": "string"})],
            Self::Integer => vec![json!({"type": "integer"})],
            Self::Positive => vec![json!({"type": "integer", "minimum": 1, "maximum": i32::MAX})],
            Self::Port => vec![json!({"type": "integer", "minimum": 1, "maximum": u16::MAX})],
            Self::Life => vec![json!({"type": "integer", "minimum": 1}), json!({"enum": ["infinite"]})],
            Self::Word(words) => vec![json!({"enum": words})],
            Self::Names => {
                vec![json!({"type": "string"}), json!({"type": "array", "items": {"type": "string"}})]
            }
            Self::Strings => {
                vec![json!({"type": "object", "additionalProperties": {"type": "string"}})]
            }
            Self::Section => vec![section(path)],
            Self::List(item) => {
                vec![json!({"type": "array", "items": any_of(item.schemas(&format!("{path}[]")))})]
            }
            Self::Pair(item) => {
                let item = any_of(item.schemas(path));
                vec![json!({"type": "array", "items": item, "minItems": 2, "maxItems": 2})]
            }
            Self::AnyOf(kinds) => kinds.iter().flat_map(|kind| kind.schemas(path)).collect(),
        }
    }
}

/// The schema of an object with the fields that the table has below `path`.
pub(crate) fn section(path: &str) -> Value {
    let properties: Map<String, Value> =
        fields::below(path).map(|field| (field.name().to_owned(), field.schema())).collect();
    let required: Vec<&str> = fields::below(path)
        .filter(|field| field.honoured().is_some_and(|honoured| honoured.is_required))
        .map(fields::Field::name)
        .collect();
    let mut schema = json!({"type": "object", "properties": properties, "additionalProperties": false});
    if !required.is_empty() {
        schema["required"] = json!(required);
    }
    schema
}

/// One schema for several forms. Forms with a type are merged, because keywords
/// such as `minimum` and `properties` apply to one type each: editors then report
/// the wrong value itself instead of "matches none of the schemas".
pub(crate) fn any_of(forms: Vec<Value>) -> Value {
    let (mut types, mut values): (Vec<Value>, Vec<Value>) = (Vec::new(), Vec::new());
    let mut keywords = Map::new();
    for form in forms {
        let Value::Object(mut form) = form else { continue };
        match (form.shift_remove("type"), form.shift_remove("enum")) {
            (Some(name), _) => types.push(name),
            (None, Some(Value::Array(words))) => values.extend(words),
            (None, _) => {}
        }
        keywords.extend(form);
    }
    // `null` alone needs no type beside words.
    if keywords.is_empty() && !values.is_empty() && types == ["null"] {
        types.clear();
        values.push(Value::Null);
    }
    let name = if types.len() == 1 { types.remove(0) } else { json!(types) };
    let has_type = name != json!([]);
    if has_type {
        keywords.shift_insert(0, "type".to_owned(), name);
    }
    match (has_type, values.is_empty()) {
        (true, false) => json!({"anyOf": [keywords, {"enum": values}]}),
        (true, true) => keywords.into(),
        (false, _) => json!({"enum": values}),
    }
}

/// `a`, `a or b`, `a, b or c`.
fn joined(words: &[String]) -> String {
    match words {
        [first @ .., last] if !first.is_empty() => format!("{} or {last}", first.join(", ")),
        words => words.concat(),
    }
}

fn plural(item: &FieldType) -> String {
    match item {
        FieldType::Text => "strings".to_owned(),
        FieldType::Port => "ports".to_owned(),
        FieldType::Section => "objects".to_owned(),
        FieldType::Pair(item) => format!("pairs of {}", plural(item)),
        other => other.in_words(),
    }
}
