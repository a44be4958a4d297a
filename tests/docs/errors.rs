//! Exit codes and error lines in the pages are those of the program.

use std::fs;

use regex::Regex;

use super::{Page, files_below, read, root};

/// Stands for a value in an error line: `<…>` in the pages, `{…}` in the source.
const VALUE: &str = "\u{1}";

#[test]
fn every_exit_code_is_explained() {
    let source = read("src/problem.rs");
    let code = Regex::new(r"(?m)^    [A-Z][A-Za-z]+ = (\d+),$").unwrap();
    let codes: Vec<&str> = code.captures_iter(&source).map(|found| found.get(1).unwrap().as_str()).collect();
    assert!(codes.len() >= 9, "{codes:?}");
    let (output, troubleshooting) = (read("docs/output.md"), read("docs/troubleshooting.md"));
    for code in codes {
        assert!(output.contains(&format!("| {code} |")), "docs/output.md has no exit code {code}");
        let heading = Regex::new(&format!(r"(?m)^## .*\b{code}\b")).unwrap();
        assert!(heading.is_match(&troubleshooting), "docs/troubleshooting.md has no section for {code}");
    }
}

/// Every text of the source, with values, escapes and line breaks made even.
fn source() -> String {
    let broken = Regex::new(r"\\\n\s*").unwrap();
    let value = Regex::new(r"\{[^{}\n]*\}").unwrap();
    let mut all = String::new();
    for file in files_below(&root().join("src")) {
        let text = fs::read_to_string(&file).unwrap();
        let text = broken.replace_all(&text, "").replace("\\\"", "\"");
        all.push_str(&value.replace_all(&text, VALUE));
    }
    all
}

/// The screens that tests compare.
fn screens() -> String {
    let folders = ["tests/cli/snapshots", "tests/cluster/snapshots"];
    let files = folders.iter().flat_map(|folder| files_below(&root().join(folder)));
    files.map(|file| fs::read_to_string(file).unwrap()).collect()
}

#[test]
fn every_error_line_in_troubleshooting_can_be_said() {
    let page = Page::read("docs/troubleshooting.md".to_owned());
    let (source, screens) = (source(), screens());
    let value = Regex::new("<[^>]*>").unwrap();
    let (mut checked, mut unknown) = (0, Vec::new());
    for block in page.blocks().iter().filter(|block| block.language == "text") {
        for line in block.text.lines() {
            let line = line.trim_start();
            let line = ["error: ", "caused by: "]
                .iter()
                .fold(line, |line, prefix| line.strip_prefix(prefix).unwrap_or(line));
            let in_source = source.contains(&*value.replace_all(line, VALUE));
            let on_screen: Vec<String> = value.split(line).map(regex::escape).collect();
            if !in_source && !Regex::new(&on_screen.join(".+?")).unwrap().is_match(&screens) {
                unknown.push(line.to_owned());
            }
            checked += 1;
        }
    }
    assert!(checked >= 30, "only {checked} lines were found");
    assert!(unknown.is_empty(), "docs/troubleshooting.md quotes lines that nothing says: {unknown:#?}");
}
