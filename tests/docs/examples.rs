//! Every configuration in the pages and in `examples/` is one that the program
//! takes, without a warning.

use std::fs;
use std::process::Command;

use serde_json::Value;

use super::{Page, assert_is_printed, files, read};

/// Feeds a configuration to the program, which reads it before it looks for the
/// kubeconfig, and finds none.
fn assert_is_taken(name: &str, text: &str, ending: &str) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join(format!("mirrord.{ending}"));
    fs::write(&file, text).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_mirrord"))
        .args([
            "preview",
            "start",
            "-k",
            "pr-12",
            "-t",
            "deployment/shop",
            "-i",
            "registry.example/shop:pr-12",
        ])
        .arg("-f")
        .arg(&file)
        .env_clear()
        .env("MIRRORD_PROGRESS_MODE", "json")
        .env("KUBECONFIG", folder.path().join("none"))
        .env("HOME", folder.path())
        .env("GITHUB_HEAD_REF", "feature-login")
        .current_dir(folder.path())
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let lines: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let is_loaded = lines.iter().any(|line| line["message"] == "configuration loaded");
    let warns = lines.iter().any(|line| line["type"] == "Warning");
    assert!(is_loaded && !warns, "{name} is not taken as it is:\n{text}\n{said}");
}

#[test]
fn every_configuration_in_the_pages_is_taken() {
    let mut taken = 0;
    for page in Page::all() {
        for block in page.blocks() {
            if ["json", "toml"].contains(&block.language) {
                assert_is_taken(&page.path, &block.text, block.language);
                taken += 1;
            }
        }
    }
    assert!(taken >= 10, "only {taken} configurations were found");
}

#[test]
fn every_configuration_in_examples_is_taken() {
    let mut taken = 0;
    for ending in ["json", "toml"] {
        for path in files("examples", &format!(".{ending}")) {
            assert_is_taken(&path, &read(&path), ending);
            taken += 1;
        }
    }
    assert!(taken >= 3, "only {taken} examples were found");
}

#[test]
fn the_example_permissions_are_what_rbac_prints() {
    let output = Command::new(env!("CARGO_BIN_EXE_mirrord"))
        .args(["preview", "rbac", "-n", "staging", "--group", "shop-team"])
        .env_clear()
        .output()
        .unwrap();
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_is_printed("examples/team-rbac.yaml", &printed);
}

#[test]
fn the_example_workflow_is_yaml_and_uses_commands_that_exist() {
    let path = "examples/github-workflow.yml";
    let workflow: Value = serde_saphyr::from_str(&read(path)).unwrap();
    let steps = workflow["jobs"]["preview"]["steps"].as_array().unwrap();
    let commands =
        steps.iter().filter_map(|step| step["run"].as_str()).filter(|run| run.starts_with("mirrord "));
    let mut parsed = 0;
    for command in commands {
        let words = command.split_whitespace();
        <mirrord::cli::Cli as clap::Parser>::try_parse_from(words).unwrap();
        parsed += 1;
    }
    assert_eq!(parsed, 2, "{path} starts and stops a preview");
}
