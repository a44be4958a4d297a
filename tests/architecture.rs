//! The arrows between the modules of `src`: a module may use those below it in
//! [`MODULES`], and none above. `docs/architecture.md` says what each is for.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// The modules and what each may use, from the door to the ground.
const MODULES: &[(&str, &[&str])] = &[
    (
        "run",
        &[
            "agent",
            "cli",
            "cluster",
            "completion",
            "config",
            "keeper",
            "output",
            "preview",
            "problem",
            "session",
        ],
    ),
    ("fuzzing", &["agent", "config"]),
    ("completion", &["cli", "cluster", "config", "connection"]),
    (
        "preview",
        &[
            "cluster",
            "config",
            "connection",
            "contract",
            "kubernetes_names",
            "output",
            "problem",
            "session",
            "traffic",
            "words",
            "workload",
        ],
    ),
    ("keeper", &["cluster", "contract", "logging", "problem", "session", "traffic", "words"]),
    ("agent", &["contract", "logging", "problem", "traffic"]),
    ("cluster", &["connection", "contract", "kubernetes_names", "problem", "session", "words", "workload"]),
    ("cli", &["config", "kubernetes_names", "output", "session", "words", "workload"]),
    ("config", &["connection", "kubernetes_names", "problem", "session", "traffic", "words", "workload"]),
    ("output", &["problem", "session"]),
    ("contract", &["problem", "session", "traffic"]),
    ("traffic", &["matching"]),
    ("matching", &[]),
    ("session", &["kubernetes_names", "problem", "words", "workload"]),
    ("workload", &["kubernetes_names", "words"]),
    ("logging", &[]),
    ("connection", &[]),
    ("problem", &[]),
    ("kubernetes_names", &[]),
    ("words", &[]),
];

/// Arrows that are there and should not be, each with its way out.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// The name of the top-level module that a file belongs to.
fn module_of(file: &Path) -> String {
    let first = file.iter().next().and_then(|name| name.to_str()).expect("a file of src has a name");
    first.trim_end_matches(".rs").to_owned()
}

fn rust_files(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder is readable") {
        let path = entry.expect("the folder is readable").path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The modules that a source names behind `crate::`, those in braces too.
fn used(source: &str) -> BTreeSet<String> {
    let code: String = source
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .flat_map(|line| [line, "\n"])
        .collect();
    let mut used = BTreeSet::new();
    for part in code.split("crate::").skip(1) {
        if let Some(list) = part.strip_prefix('{') {
            let mut depth = 0;
            let mut name = String::new();
            for character in list.chars() {
                match character {
                    '{' => depth += 1,
                    '}' if depth == 0 => break,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 && (character.is_alphanumeric() || character == '_') {
                    name.push(character);
                } else if depth == 0 && matches!(character, ',' | ':') {
                    used.insert(std::mem::take(&mut name));
                }
            }
            used.insert(name);
        } else {
            used.insert(
                part.chars()
                    .take_while(|character| character.is_alphanumeric() || *character == '_')
                    .collect(),
            );
        }
    }
    used
}

/// The arrows of `src`: module, module used, and a file that uses it.
fn arrows() -> BTreeMap<(String, String), PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut files = Vec::new();
    rust_files(&root, &mut files);
    assert!(files.len() > 100, "the source is read from {}", root.display());
    let known: BTreeSet<&str> = MODULES.iter().map(|(name, _)| *name).collect();
    let mut arrows = BTreeMap::new();
    for file in files {
        let path = file.strip_prefix(&root).expect("the file is below the root");
        let module = module_of(path);
        if matches!(module.as_str(), "lib" | "main") {
            continue;
        }
        assert!(known.contains(module.as_str()), "`{module}` is not in the table");
        for other in used(&fs::read_to_string(&file).expect("the file is readable")) {
            if other != module && known.contains(other.as_str()) {
                arrows.insert((module.clone(), other), path.to_owned());
            }
        }
    }
    arrows
}

#[test]
fn the_table_points_down() {
    for (place, (module, may_use)) in MODULES.iter().enumerate() {
        for other in *may_use {
            let below = MODULES.iter().position(|(name, _)| name == other);
            assert!(below.is_some_and(|below| below > place), "`{module}` may not use `{other}` above it");
        }
    }
}

#[test]
fn modules_use_only_what_the_table_lets_them() {
    let mut wrong = Vec::new();
    let arrows = arrows();
    for ((module, other), file) in &arrows {
        let (_, may_use) = MODULES.iter().find(|(name, _)| name == module).unwrap();
        let is_known = EXCEPTIONS.contains(&(module.as_str(), other.as_str()));
        if !may_use.contains(&other.as_str()) && !is_known {
            wrong.push(format!("{module} -> {other} ({})", file.display()));
        }
    }
    assert!(wrong.is_empty(), "arrows that are not in the table:\n{}", wrong.join("\n"));
    for (module, other) in EXCEPTIONS {
        let arrow = (module.to_string(), other.to_string());
        assert!(arrows.contains_key(&arrow), "the exception {module} -> {other} is not needed any more");
    }
}

#[test]
fn paths_are_found_with_and_without_braces() {
    let source = "use crate::a::b;\n// crate::no\nuse crate::{c, d::{e, f}, g};\nlet x = crate::h::i();";
    let expected = ["a", "c", "d", "g", "h"];
    assert_eq!(
        used(source).iter().map(String::as_str).filter(|name| !name.is_empty()).collect::<Vec<_>>(),
        expected
    );
}
