//! Screens of the binary without a cluster, with stdout, stderr and exit code together:
//! usage, configuration, a cluster that does not answer.
//!
//! `INSTA_UPDATE=always cargo test --test cli` accepts what has changed.
#![expect(clippy::unwrap_used, reason = "tests fail by panicking")]

mod completions;
mod configuration;
mod connection;
mod interrupts;
mod listing;
mod live;
mod log;
mod manual;
mod rbac;
mod usage;

use std::io::Write as _;
use std::process::{Command, Stdio};

/// Runs `mirrord` in an empty environment, in an empty folder that holds
/// `files`, and returns the whole screen.
#[must_use = "a screen is there to be compared"]
fn screen(arguments: &[&str], environment: &[(&str, &str)], files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, content) in files {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let stdin = files.iter().find(|(name, _)| *name == "stdin").map_or("", |(_, content)| content);
    let mut child = Command::new(env!("CARGO_BIN_EXE_mirrord"))
        .env_clear()
        // A cluster that refuses connections, where a test does not say otherwise.
        .env("KUBECONFIG", folder.path().join("kubeconfig"))
        .envs(environment.iter().copied())
        .args(arguments)
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may have ended already.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    let output = child.wait_with_output().unwrap();
    let text = |bytes: Vec<u8>| {
        let text = String::from_utf8(bytes).unwrap();
        text.replace(&folder.path().display().to_string(), "FOLDER")
    };
    format!(
        "$ mirrord {}\n--- stdout\n{}--- stderr\n{}--- exit code {}\n",
        arguments.join(" "),
        text(output.stdout),
        text(output.stderr),
        output.status.code().unwrap()
    )
}

/// Several screens in one snapshot.
fn screens(commands: &[&[&str]]) -> String {
    commands.iter().map(|arguments| screen(arguments, &[], &[])).collect::<Vec<_>>().join("\n")
}
