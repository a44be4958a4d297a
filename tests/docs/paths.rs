//! Links and paths in the pages lead to something.

use regex::Regex;

use super::{Page, read, root};

/// Where paths in code spans may begin.
const FOLDERS: &[&str] = &["src/", "tests/", "docs/", "examples/", "completions/", "findings/", ".ci/"];

/// The names that a heading's link may have, in the form of common hosts: lower
/// case, words joined by `-`, punctuation left out.
fn anchors(text: &str) -> Vec<String> {
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings
        .map(|heading| {
            let kept = heading.trim_start_matches('#').trim().to_lowercase();
            let kept = kept.chars().filter(|one| one.is_alphanumeric() || " -_".contains(*one));
            kept.map(|one| if one == ' ' { '-' } else { one }).collect()
        })
        .collect()
}

#[test]
fn every_relative_link_leads_to_a_file_and_a_heading() {
    let link = Regex::new(r"\]\(([^)\s]+)\)").unwrap();
    for page in Page::all() {
        let folder = root().join(&page.path).parent().unwrap().to_owned();
        for (number, line) in page.prose() {
            for target in link.captures_iter(line).map(|found| found.get(1).unwrap().as_str()) {
                if target.contains("://") || target.starts_with("mailto:") {
                    continue;
                }
                let (path, anchor) = target.split_once('#').unwrap_or((target, ""));
                let file = if path.is_empty() { root().join(&page.path) } else { folder.join(path) };
                assert!(file.exists(), "{}:{number} links to `{target}`, which is not there", page.path);
                if !anchor.is_empty() {
                    let text = std::fs::read_to_string(&file).unwrap();
                    let known = anchors(&text);
                    assert!(
                        known.iter().any(|one| one == anchor),
                        "{}:{number} links to `{target}`; the headings are {known:?}",
                        page.path
                    );
                }
            }
        }
    }
}

#[test]
fn every_path_in_code_exists() {
    let span = Regex::new(r"`([^`]+)`").unwrap();
    for page in Page::all() {
        let inline = page.prose().into_iter().flat_map(|(_, line)| {
            span.captures_iter(line)
                .map(|found| found.get(1).unwrap().as_str().to_owned())
                .collect::<Vec<_>>()
        });
        let blocks = page.blocks();
        let fenced = blocks.iter().filter(|block| block.language == "sh").map(|block| block.text.clone());
        for code in inline.chain(fenced) {
            let words = code.split(|one: char| one.is_whitespace() || "\"'()=".contains(one));
            for word in words.filter(|word| FOLDERS.iter().any(|folder| word.starts_with(folder))) {
                // `src/workload/KIND.rs` stands for any.
                let is_placeholder = word.contains(['*', '{', '<']) || word.chars().any(char::is_uppercase);
                let path = word.trim_end_matches(['/', ',', '.', ':', ';']);
                assert!(is_placeholder || root().join(path).exists(), "{}: there is no `{path}`", page.path);
            }
        }
    }
}

/// The architecture page names modules as `preview/plan`, without `src/`.
#[test]
fn every_module_in_the_architecture_page_exists() {
    let text = read("docs/architecture.md");
    let rows = text.lines().filter(|line| line.starts_with("| `"));
    let cell = Regex::new(r"`([a-z_0-9/]+)`").unwrap();
    let mut checked = 0;
    for row in rows {
        let first = row.split('|').nth(1).unwrap();
        for name in cell.captures_iter(first).map(|found| found.get(1).unwrap().as_str()) {
            let name = name.trim_end_matches('/');
            let source = root().join("src");
            let exists = source.join(format!("{name}.rs")).exists() || source.join(name).exists();
            assert!(exists, "docs/architecture.md names the module `{name}`, which is not there");
            checked += 1;
        }
    }
    assert!(checked > 15, "only {checked} modules are named");
}

/// The folders that the crates.io package leaves out have no page that another
/// page needs.
#[test]
fn the_package_keeps_pages_and_examples() {
    let manifest = read("Cargo.toml");
    let excluded = manifest.lines().find(|line| line.starts_with("exclude")).unwrap_or_default();
    for kept in ["docs", "examples", "README", "completions"] {
        assert!(!excluded.contains(&format!("\"{kept}")), "the package leaves out {kept}");
    }
}

/// `tests/architecture.rs` names every module; its table is the source.
#[test]
fn the_architecture_page_names_every_module() {
    let table = read("tests/architecture.rs");
    let table = table.split_once("const MODULES").unwrap().1.split_once("];").unwrap().0;
    let name = Regex::new(r#"\(\s*"([a-z_]+)","#).unwrap();
    let page = read("docs/architecture.md");
    for module in name.captures_iter(table).map(|found| found.get(1).unwrap().as_str()) {
        let is_named = page.contains(&format!("`{module}`")) || page.contains(&format!("`{module}/"));
        assert!(is_named || module == "fuzzing", "docs/architecture.md does not name `{module}`");
    }
}

/// One minimum Rust version: `Cargo.toml` has it, all else repeats it.
#[test]
fn the_minimum_rust_version_is_the_same_everywhere() {
    let version = Regex::new(r#"(?m)^rust-version = "([0-9.]+)""#).unwrap();
    let manifest = read("Cargo.toml");
    let version = version.captures(&manifest).unwrap().get(1).unwrap().as_str();
    for (path, words) in [
        ("README.md", "Rust <version> or newer"),
        ("CONTRIBUTING.md", "Rust <version> or newer"),
        ("tests/run", "install Rust <version> or newer"),
        ("tests/demo", "install Rust <version> or newer"),
        ("Dockerfile", "FROM rust:<version>-"),
    ] {
        let words = words.replace("<version>", version);
        assert!(read(path).contains(&words), "{path} does not say `{words}`");
    }
}
