//! `docs/configuration.md` and `mirrord-schema.json` are made from the table of
//! fields that the program reads with.

use mirrord::config::{reference, schema};

use super::{assert_is_printed, files, read};

#[test]
fn the_schema_is_the_programs() {
    let schema = serde_json::to_string_pretty(&schema::schema()).unwrap();
    assert_is_printed("mirrord-schema.json", &format!("{schema}\n"));
}

#[test]
fn the_tables_of_the_page_are_the_programs() {
    let page = read("docs/configuration.md");
    let tables = [
        ("honoured", reference::honoured()),
        ("ignored", reference::ignored()),
        ("refused", reference::refused()),
    ];
    let printed = tables.iter().fold(page, |page, (name, table)| {
        let (begin, end) = (format!("<!-- begin: {name} -->"), format!("<!-- end: {name} -->"));
        let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("`{begin}` is missing"));
        let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("`{end}` is missing"));
        format!("{before}{begin}\n\n{}\n\n{end}{after}", table.trim_end())
    });
    assert_is_printed("docs/configuration.md", &printed);
}

#[test]
fn examples_name_the_schema() {
    for path in files("examples", ".json") {
        assert!(
            read(&path).contains(r#""$schema": "../mirrord-schema.json""#),
            "{path} does not name the schema"
        );
    }
}
