//! Whole screens: both streams and the exit code of each verb in each mode, and the final
//! content of a terminal.

use std::num::NonZero;
use std::process::Stdio;

use regex::Regex;

use crate::support::{Screen, World, screen, with_shop};

/// Every verb, in an order in which each has something to show.
const COMMANDS: &[&[&str]] = &[
    &["status"],
    &["doctor", "-t", "deployment/shop"],
    &["rbac"],
    &["start", "-t", "deployment/shop", "-i", "mirrord-test/shop:preview", "--dry-run", "-o", "name"],
    &["start", "-t", "deployment/shop", "-i", "mirrord-test/shop:preview"],
    &["status"],
    &["status", "-o", "wide"],
    &["status", "-o", "name"],
    &["status", "-o", "json"],
    &["extend", "--ttl", "2h"],
    &["stop"],
    &["stop"],
    &["stop", "--ignore-not-found"],
    &["start", "-t", "deployment/sho", "-i", "mirrord-test/shop:preview"],
    &["start", "-t", "deployment/shop", "-i", "mirrord-test/shop:crash"],
    &["status", "--failed"],
];

/// Patterns of text that differs from run to run, and the replacements. A replacement has
/// the same width where columns must stay aligned.
const DIFFERENT: &[(&str, &str)] = &[
    (r"test-screens-[0-9a-f]{6}", "staging-namespace-1"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", "2026-01-01T00:00:00Z"),
    (r"(preview-(?:session|keeper)-deployment-shop)-[0-9a-f]{8}-[0-9a-z]{5}", "$1-1a2b3c4d-abcde"),
    (r"(preview-(?:session|keeper)-deployment-shop)-[0-9a-f]{8}", "$1-1a2b3c4d"),
    (r"(session|SESSION|Z  )([^0-9a-f\n]*)[0-9a-f]{8}\b", "${1}${2}1a2b3c4d"),
    (r"shop-[0-9a-f]{8,10}-[0-9a-z]{5}", "shop-94d47446c-74lwn"),
    (r"\(in [0-9hms ]+\)", "(in 59m 59s)"),
    (r"\b(?:1h )?59m \d\ds\b", "59m 59s"),
    (r"\b\d+ms\b", "9ms"),
    ("leftSeconds\":( ?)[0-9]+", "leftSeconds\":${1}3599"),
    (r"kernel [^ \n]*[0-9a-z]", "kernel 6.1.0"),
    (r"Kubernetes v[0-9.]+", "Kubernetes v1.34.4"),
    // In a table, padding makes up for a missing digit.
    (r"(  )\d\ds(  )", "${1}9s $2"),
    (r"(  )\d+s( *\n| *$|  )", "${1}9s$2"),
    (r"\b\d+s ago", "9s ago"),
];

/// The screen without the text that differs from run to run, such as the reasons for
/// waiting.
fn settled(text: &str) -> String {
    let said = ["✓", "x", "!", "*", "info:", "caused by:", "hint:"];
    let waits = |line: &str| match line.strip_prefix("err:   ") {
        Some(words) => !words.starts_with(' ') && !said.iter().any(|mark| words.starts_with(mark)),
        None => line.starts_with("out: {\"type\":\"Info\""),
    };
    let lines: Vec<&str> = text.lines().filter(|line| !waits(line)).map(str::trim_end).collect();
    DIFFERENT.iter().fold(lines.join("\n"), |text, (pattern, word)| {
        Regex::new(&format!("(?m){pattern}")).unwrap().replace_all(&text, *word).into_owned()
    })
}

/// The arguments of one command of the session.
fn arguments<'a>(line: &[&'a str], world: &'a World) -> Vec<&'a str> {
    let mut all = vec!["preview", line[0], "-n", &world.namespace];
    if !["doctor", "rbac"].contains(&line[0]) {
        all.extend(["-k", "機能/π"]);
    }
    all.extend(&line[1..]);
    all
}

/// Runs the session in one mode.
async fn screens_in(world: &World, mode: &str) -> String {
    let mut screens = String::new();
    for line in COMMANDS {
        let variables = [("MIRRORD_PROGRESS_MODE", mode), ("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")];
        let Screen { stdout, stderr, code } = world.mirrord_with(&variables, &arguments(line, world)).await;
        screens.push_str(&format!("$ mirrord preview {}\n", line.join(" ")));
        for (name, text) in [("out", stdout), ("err", stderr)] {
            text.lines().for_each(|line| screens.push_str(&format!("{name}: {line}\n")));
        }
        screens.push_str(&format!("exit {}\n\n", code.unwrap()));
    }
    settled(&screens)
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn every_verb_leaves_its_screen_in_a_pipe() {
    with_shop("screens", |world| async move {
        insta::assert_snapshot!(screens_in(&world, "simple").await);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn every_verb_leaves_its_screen_with_progress_off() {
    with_shop("screens", |world| async move {
        insta::assert_snapshot!(screens_in(&world, "off").await);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn every_verb_leaves_its_screen_as_json_lines() {
    with_shop("screens", |world| async move {
        let screens = screens_in(&world, "json").await;
        for line in screens.lines().filter_map(|line| line.strip_prefix("out: ")) {
            serde_json::from_str::<serde_json::Map<String, serde_json::Value>>(line).unwrap();
        }
        assert!(!screens.contains("err: "), "{screens}");
        insta::assert_snapshot!(screens);
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn every_verb_leaves_its_screen_on_a_terminal() {
    with_shop("screens", |world| async move {
        let mut screens = String::new();
        for line in COMMANDS {
            let (shown, code) = on_a_terminal(&world, line, 120, &[]).await;
            screens.push_str(&format!("$ mirrord preview {}\n{shown}\nexit {code}\n\n", line.join(" ")));
        }
        insta::assert_snapshot!(settled(&screens));
    })
    .await;
}

#[tokio::test]
#[ignore = "needs a cluster: tests/run"]
async fn a_narrow_terminal_without_colours_shows_the_same_words() {
    with_shop("screens", |world| async move {
        let start = ["start", "-t", "deployment/shop", "-i", "mirrord-test/shop:preview"];
        let plain = [("NO_COLOR", "1")];
        let written = written(&world, &start, 40, &plain).await;
        let colours = Regex::new("\u{1b}\\[[0-9;]*m").unwrap();
        let painted: Vec<_> = colours.find_iter(&written).map(|found| found.as_str()).collect();
        assert!(painted.iter().all(|code| *code == "\u{1b}[0m"), "{painted:?}");
        let (shown, code) = shown(&written, 40);
        assert_eq!(code, 0, "{shown}");
        // Wrapped lines hold the same words.
        let flat = |text: &str| text.split_whitespace().collect::<String>();
        for words in
            ["✓ preview pod is ready", "* key: 機能/π", "* stop: mirrord preview stop --key '機能/π'"]
        {
            assert!(flat(&shown).contains(&flat(words)), "{shown}");
        }
        assert!(!shown.contains("waiting for"), "{shown}");
    })
    .await;
}

/// The final content of a terminal with so many columns, and the exit code.
async fn on_a_terminal(
    world: &World,
    line: &[&str],
    columns: u16,
    variables: &[(&str, &str)],
) -> (String, i32) {
    shown(&written(world, line, columns, variables).await, columns)
}

/// All that a command writes to a terminal, and its exit code behind it.
async fn written(world: &World, line: &[&str], columns: u16, variables: &[(&str, &str)]) -> String {
    let words = arguments(line, world).into_iter().map(|word| format!("'{word}'")).collect::<Vec<_>>();
    let command = format!(
        "stty cols {columns} rows 200; '{}' {}; echo \"exit $?\"",
        env!("CARGO_BIN_EXE_mirrord"),
        words.join(" ")
    );
    let child = tokio::process::Command::new("script")
        .env_clear()
        .env("PATH", "/usr/bin:/bin")
        .env("TERM", "xterm-256color")
        .env("LANG", "C.UTF-8")
        .env("KUBECONFIG", &world.kubeconfig)
        .env("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "steal")
        .envs(variables.iter().copied())
        .args(["-qec", &command, "/dev/null"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .unwrap();
    screen(child).await.success().stdout.clone()
}

/// The final content of a terminal with so many columns after this output.
fn shown(written: &str, columns: u16) -> (String, i32) {
    let mut terminal = vt100::Parser::new(NonZero::new(200).unwrap(), NonZero::new(columns).unwrap(), 0);
    terminal.process(written.as_bytes());
    let rows: Vec<String> = terminal.screen().rows(0, columns).collect();
    let text = rows.join("\n");
    let (shown, code) = text.trim_end().rsplit_once("exit ").unwrap();
    (shown.trim_end().to_owned(), code.parse().unwrap())
}
