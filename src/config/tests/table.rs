//! The table of fields against mirrord's own names, against the types that read
//! the file, and against the JSON Schema that is made from it.

use serde_json::{Value, json};

use super::fields::{HONOURED, REFUSED, WARNED, parsed, with};
use super::validator::complaint;
use crate::config::fields::{FIELDS, Fate, Field, FieldType, at};
use crate::config::schema::schema;
use crate::config::{fates, path, reading};
use crate::problem::ErrorReport;

/// Every property name of mirrord's published schema, versions 3.250 to 3.264.
/// `[]` stands for the items of a list.
const UPSTREAM_NAMES: &str = include_str!("upstream_names.txt");

/// The row of the table that decides about a path: its own, or the row of the
/// nearest field around it, if the table does not list the fields inside of that.
fn row(name: &str) -> Option<&'static Field> {
    let mut around = name;
    loop {
        match at(around) {
            Some(field) if around == name => return Some(field),
            // An object that the table lists has no other fields.
            Some(field) if field.honoured().is_some_and(|honoured| holds_section(&honoured.kind)) => {
                return None;
            }
            Some(field) => return Some(field),
            None if around.is_empty() => return None,
            None => around = around.strip_suffix("[]").unwrap_or_else(|| path::split(around).0),
        }
    }
}

fn holds_section(kind: &FieldType) -> bool {
    match kind {
        FieldType::Section => true,
        FieldType::List(item) => holds_section(item),
        FieldType::AnyOf(kinds) => kinds.iter().any(holds_section),
        _ => false,
    }
}

/// A file with `value` at a path in which `[]` stands for the one item of a list.
fn file_with(name: &str, value: Value) -> Value {
    name.rsplit('.').fold(value, |value, name| match name.strip_suffix("[]") {
        Some(list) => json!({list: [value]}),
        None => json!({name: value}),
    })
}

#[test]
fn every_name_of_mirrords_schema_has_a_fate() {
    let missing: Vec<&str> = UPSTREAM_NAMES.lines().filter(|name| row(name).is_none()).collect();
    assert!(missing.is_empty(), "without a row in the table: {missing:#?}");
    assert!(UPSTREAM_NAMES.lines().count() > 250);
}

#[test]
fn no_name_of_mirrords_schema_is_an_unknown_field() {
    for name in UPSTREAM_NAMES.lines() {
        for value in [json!(true), json!("x"), json!(1), json!({}), json!([])] {
            let mut file = file_with(name, value);
            let read =
                fates::apply(&mut file).and_then(|_| reading::strict::<crate::config::file::File>(file));
            let said = read.err().map(|error| ErrorReport::of(&error).to_string()).unwrap_or_default();
            assert!(!said.contains("unknown field"), "{name}: {said}");
        }
    }
}

#[test]
fn each_path_has_one_row() {
    let mut paths: Vec<&str> = FIELDS.iter().map(|field| &*field.path).collect();
    paths.sort_unstable();
    let all = paths.len();
    paths.dedup();
    assert_eq!(paths.len(), all);
    for field in FIELDS.iter().filter(|field| !field.parent().is_empty()) {
        let parent = at(field.parent().trim_end_matches("[]"));
        let is_object =
            parent.and_then(Field::honoured).is_some_and(|honoured| holds_section(&honoured.kind));
        assert!(is_object, "{} is in an object that the table does not have", field.path);
    }
}

/// The types know the fields that the table honours, and no others.
#[test]
fn the_table_honours_the_fields_that_the_types_read() {
    let sections = FIELDS.iter().filter(|field| field.honoured().is_some_and(|one| holds_section(&one.kind)));
    let objects = sections.map(|field| match &field.honoured().unwrap().kind {
        FieldType::List(_) => format!("{}[]", field.path),
        _ => field.path.to_string(),
    });
    for object in objects.chain([String::new()]) {
        let unknown = path::join(&object, "no_field_of_this_name");
        let error = reading::strict::<crate::config::file::File>(file_with(&unknown, json!(1))).unwrap_err();
        let said = format!("{error:#}");
        let mut known: Vec<&str> = said
            .split("expected ")
            .nth(1)
            .unwrap_or_else(|| panic!("{said}"))
            .split('`')
            .skip(1)
            .step_by(2)
            .collect();
        let honoured = FIELDS.iter().filter(|field| field.parent() == object && field.honoured().is_some());
        let mut honoured: Vec<&str> = honoured.map(Field::name).collect();
        known.sort_unstable();
        honoured.sort_unstable();
        assert_eq!(known, honoured, "{object}");
    }
}

#[test]
fn the_schema_accepts_honoured_and_ignored_fields_and_no_others() {
    for (path, value) in HONOURED {
        let file = parsed(&with(path, parsed(value)));
        assert_eq!(complaint(&schema(), &file), None, "{file}");
    }
    for path in WARNED {
        for value in [json!(true), json!({"a": [1]}), Value::Null] {
            let file = parsed(&with(path, value));
            assert_eq!(complaint(&schema(), &file), None, "{file}");
        }
    }
    for (path, value, _) in
        REFUSED.iter().filter(|(path, value, _)| (*path, *value) != ("target", r#""targetless""#))
    {
        let file = parsed(&with(path, parsed(value)));
        assert!(complaint(&schema(), &file).is_some(), "{file}");
    }
    for file in [json!({"tagret": 1}), json!({"feature": {"preview": {"imagee": "x"}}}), json!([])] {
        assert!(complaint(&schema(), &file).is_some(), "{file}");
    }
}

/// Values of every type at every path: the schema accepts all values that the
/// reader accepts, and none whose type the reader refuses.
#[test]
fn reader_and_schema_agree_about_types() {
    let schema = schema();
    let words = ["steal", "abort", "text", "json", "Always", "infinite", "deployment/shop", "x"];
    let mut values: Vec<Value> = words.map(Value::from).into();
    values.extend([
        json!(null),
        json!(true),
        json!(false),
        json!(0),
        json!(1),
        json!(-1),
        json!(1.5),
        json!(70_000),
    ]);
    values.extend([
        json!(3_000_000_000_u32),
        json!([]),
        json!(["a"]),
        json!([1]),
        json!([0]),
        json!([[1, 2]]),
        json!([[1]]),
    ]);
    values.extend([json!([{}]), json!([null]), json!({}), json!({"a": "b"}), json!({"a": 1})]);
    for field in FIELDS.iter() {
        // The reader looks at the key before it looks at the file.
        if field.path == "key" {
            continue;
        }
        for value in &values {
            let written = file_with(&field.path, value.clone());
            let complaint = complaint(&schema, &written);
            let mut file = written.clone();
            let read =
                fates::apply(&mut file).and_then(|_| reading::strict::<crate::config::file::File>(file));
            match read {
                Ok(_) => assert_eq!(complaint, None, "{written} is accepted by the reader"),
                Err(error) => {
                    let said = format!("{error:#}");
                    let is_type = said.contains("must be")
                        || said.contains("unknown field")
                        || said.contains("needs the field");
                    let is_refused = matches!(field.fate, Fate::Refused(_));
                    assert!(complaint.is_some() || !(is_type || is_refused), "{written}: {said}");
                }
            }
        }
    }
}
