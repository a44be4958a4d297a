//! The pages are true: links and paths exist, examples can be read, error lines
//! and exit codes are those of the program.
//!
//! `MIRRORD_UPDATE_DOCS=1 cargo test --test docs` rewrites the files that the
//! program prints: `docs/cli.md`, `docs/configuration.md`, `mirrord-schema.json`
//! and `examples/team-rbac.yaml`.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod configuration;
mod errors;
mod examples;
mod paths;
mod reference;

use std::fs;
use std::path::{Path, PathBuf};

/// The longest line of README and of prose in the other pages, in characters.
const MAX_LINE: usize = 120;

/// The longest README, in lines.
const MAX_README_LINES: usize = 170;

/// A page: its path in the repository and its text.
struct Page {
    path: String,
    text: String,
}

/// A fenced block of a page.
struct Block<'a> {
    language: &'a str,
    text: String,
}

// === impl Page ===

impl Page {
    /// Every page of the repository, README first.
    fn all() -> Vec<Self> {
        let mut paths = vec!["README.md".into(), "CHANGELOG.md".into(), "CONTRIBUTING.md".into()];
        paths.push("SECURITY.md".into());
        for folder in ["docs", "examples"] {
            paths.extend(files(folder, ".md"));
        }
        paths.into_iter().map(Self::read).collect()
    }

    fn read(path: String) -> Self {
        let text = read(&path);
        Self { path, text }
    }

    /// The fenced blocks.
    fn blocks(&self) -> Vec<Block<'_>> {
        let mut blocks = Vec::new();
        let mut open: Option<Block<'_>> = None;
        for line in self.text.lines() {
            match (line.trim_start().strip_prefix("```"), &mut open) {
                (Some(language), None) => open = Some(Block { language, text: String::new() }),
                (Some(_), Some(_)) => blocks.extend(open.take()),
                (None, Some(block)) => {
                    block.text.push_str(line);
                    block.text.push('\n');
                }
                (None, None) => {}
            }
        }
        assert!(open.is_none(), "{}: a fenced block has no end", self.path);
        blocks
    }

    /// The lines outside of fenced blocks, with their numbers from 1.
    fn prose(&self) -> Vec<(usize, &str)> {
        let mut is_fenced = false;
        let lines = (1..).zip(self.text.lines()).filter(|(_, line)| {
            let is_fence = line.trim_start().starts_with("```");
            is_fenced ^= is_fence;
            !is_fence && !is_fenced
        });
        lines.collect()
    }
}

/// Fails if the file at `path` differs from `printed`, or rewrites it on request.
#[expect(clippy::disallowed_methods, reason = "the request to rewrite is for tests alone")]
fn assert_is_printed(path: &str, printed: &str) {
    if std::env::var_os("MIRRORD_UPDATE_DOCS").is_some() {
        fs::write(root().join(path), printed).unwrap();
    }
    assert!(
        read(path) == printed,
        "{path} differs from the output of the program; rewrite it with MIRRORD_UPDATE_DOCS=1"
    );
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The files directly below `folder` whose names end with `ending`, sorted.
fn files(folder: &str, ending: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(folder)).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut found: Vec<String> =
        names.filter(|name| name.ends_with(ending)).map(|name| format!("{folder}/{name}")).collect();
    found.sort_unstable();
    found
}

/// Every file below `folder`, at any depth.
fn files_below(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    entries.flat_map(|path| if path.is_dir() { files_below(&path) } else { vec![path] }).collect()
}

#[test]
fn readme_is_short_and_no_line_of_prose_is_long() {
    for page in Page::all() {
        let is_readme = page.path == "README.md";
        let lines = page.text.lines().count();
        assert!(!is_readme || lines <= MAX_README_LINES, "README.md has {lines} lines");
        let checked = if is_readme { (1..).zip(page.text.lines()).collect() } else { page.prose() };
        for (number, line) in checked {
            let is_short = line.chars().count() <= MAX_LINE || (!is_readme && line.starts_with('|'));
            assert!(is_short, "{}:{number} has more than {MAX_LINE} characters", page.path);
        }
    }
}
