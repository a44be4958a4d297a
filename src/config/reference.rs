//! The tables of `docs/configuration.md`, made from the table of fields.

use super::fields::{FIELDS, Fate, Field, FieldType, Honoured, Reason};

/// The headings, and the fields below each: those whose path begins with it and
/// with no other heading that is longer.
const SECTIONS: &[(&str, &str)] = &[
    ("", "Top level"),
    ("target", "`target`"),
    ("feature.preview", "`feature.preview`"),
    ("feature.env", "`feature.env`"),
    ("feature.network", "`feature.network`"),
    ("agent", "`agent`"),
];

/// The honoured fields, a table for each section.
pub fn honoured() -> String {
    let mut text = String::new();
    for (section, heading) in SECTIONS {
        text.push_str(&format!("### {heading}\n\n"));
        text.push_str("| field | type | default | meaning | flag | environment |\n");
        text.push_str("| --- | --- | --- | --- | --- | --- |\n");
        for field in FIELDS.iter().filter(|field| section_of(&field.path) == *section) {
            if let Some(honoured) = field.honoured().filter(|honoured| is_listed(field, honoured)) {
                text.push_str(&row(field, honoured));
            }
        }
        text.push('\n');
    }
    text
}

/// Whether the field has a row of its own: not a plain object, whose fields have
/// rows, nor a field that another object has with the same name and meaning.
fn is_listed(field: &Field, honoured: &Honoured) -> bool {
    let first = FIELDS.iter().find(|other| {
        other.name() == field.name() && other.honoured().is_some_and(|one| one.meaning == honoured.meaning)
    });
    let is_plain_object = matches!(honoured.kind, FieldType::Section) && honoured.default.is_empty();
    !is_plain_object && first.is_some_and(|first| first.path == field.path)
}

/// The ignored fields, a row for each reason.
pub fn ignored() -> String {
    let reasons = [Reason::LocalRuns, Reason::Operator, Reason::OtherAgents, Reason::EveryPort];
    let row = |reason: Reason| {
        let fields =
            FIELDS.iter().filter(|field| matches!(field.fate, Fate::Ignored(other) if other == reason));
        let names: Vec<String> = fields.map(|field| format!("`{}`", field.path)).collect();
        format!("| {} | {reason} |\n", names.join(", "))
    };
    format!("| fields | ignored because |\n| --- | --- |\n{}", reasons.map(row).concat())
}

/// The refused fields, a row each.
pub fn refused() -> String {
    let mut text = "| field | refused because | instead |\n| --- | --- | --- |\n".to_owned();
    for field in FIELDS.iter() {
        let Fate::Refused(refused) = &field.fate else { continue };
        let why = if refused.harm.is_empty() {
            format!("it {}", refused.what)
        } else {
            format!("it {}; if it were ignored, {}", refused.what, refused.harm)
        };
        text.push_str(&format!("| `{}` | {why} | {} |\n", field.path, refused.hint));
    }
    text
}

fn row(field: &Field, honoured: &Honoured) -> String {
    let cells = [
        format!("`{}`", field.path),
        kind(field, honoured),
        if honoured.is_required { "required".to_owned() } else { honoured.default.to_owned() },
        honoured.meaning.clone().into_owned(),
        quoted(honoured.flag.split(", ").filter(|flag| !flag.is_empty())),
        quoted(honoured.variables.iter().copied()),
    ];
    // Empty cells are written without a space, as `| |`.
    let cells = cells
        .map(|cell| if cell.is_empty() { String::new() } else { format!(" {}", cell.replace('|', "\\|")) });
    format!("|{} |\n", cells.join(" |"))
}

/// The type, and the booleans that stand for "nothing said".
fn kind(field: &Field, honoured: &Honoured) -> String {
    let mut words = honoured.kind.in_words();
    let has_boolean =
        matches!(&honoured.kind, FieldType::AnyOf(kinds) if matches!(kinds[..], [FieldType::Boolean, ..]));
    for (is_taken, word) in [(field.is_on_if_true, "`true`"), (field.is_off_if_false, "`false`")] {
        if is_taken && !has_boolean {
            words.push_str(&format!(" or {word}"));
        }
    }
    words
}

fn quoted<'a>(names: impl Iterator<Item = &'a str>) -> String {
    names.map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn section_of(path: &str) -> &'static str {
    let contains = |section: &str| {
        path.strip_prefix(section)
            .is_some_and(|rest| section.is_empty() || rest.is_empty() || rest.starts_with(['.', '[']))
    };
    let sections = SECTIONS.iter().map(|(section, _)| *section).filter(|section| contains(section));
    sections.max_by_key(|section| section.len()).expect("every path begins with the empty one")
}
