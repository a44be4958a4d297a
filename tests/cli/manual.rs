//! The manual page.

use super::screen;

#[test]
fn the_manual_page_holds_every_verb_and_its_flags() {
    let page = screen(&["man"], &[], &[]);
    assert!(page.ends_with("--- stderr\n--- exit code 0\n"), "{page}");
    assert!(page.contains(".TH mirrord 1"), "{page}");
    for (verb, flag) in [
        ("START", "dry\\-run"),
        ("STATUS", "failed"),
        ("STOP", "ignore\\-not\\-found"),
        ("EXTEND", "ttl"),
        ("DOCTOR", "target"),
        ("RBAC", "service\\-account"),
    ] {
        let heading = format!(".SH \"MIRRORD PREVIEW {verb}\"");
        let section = page.split(&heading).nth(1).unwrap_or_else(|| panic!("no {heading} in {page}"));
        let section = section.split("\n.SH ").next().unwrap();
        assert!(section.contains(&format!("\\-\\-{flag}")), "no {flag} in {section}");
    }
}

#[test]
fn the_manual_page_names_every_verb_of_the_help() {
    let help = screen(&["preview", "--help"], &[], &[]);
    let page = screen(&["man"], &[], &[]);
    let verbs = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    for verb in verbs.lines().filter_map(|line| line.split_whitespace().next()).filter(|verb| *verb != "help")
    {
        assert!(
            page.contains(&format!("\"MIRRORD PREVIEW {}\"", verb.to_uppercase())),
            "no {verb} in {page}"
        );
    }
}

#[test]
fn help_and_manual_page_explain_exit_codes_and_output() {
    for screen in [screen(&["preview", "--help"], &[], &[]), screen(&["man"], &[], &[])] {
        let plain = screen.replace("\\-", "-");
        for words in ["Exit codes: 0 done", "130 interrupted", "MIRRORD_PROGRESS_MODE"] {
            assert!(plain.contains(words), "no {words} in {screen}");
        }
    }
}
