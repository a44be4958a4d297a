//! A value does not depend on the language of the file: keys that look like
//! numbers, words that look like booleans, names that look like syntax.

use super::*;
use crate::problem::ErrorReport;

fn written(name: &str, variables: &[(&str, &str)], text: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join(name);
    std::fs::write(&path, text).unwrap();
    let flags = Overrides { config_file: Some(path), ..Overrides::default() };
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Config::resolve(&flags, &environment, Uuid::nil())
}

#[test]
fn a_number_as_key_is_its_digits_or_an_error() {
    for (name, number, digits) in [
        ("a.json", "42", Some("42")),
        ("a.json", "-7", Some("-7")),
        ("a.json", "18446744073709551615", Some("18446744073709551615")),
        ("a.json", "12e45", None),
        ("a.json", "1.10", None),
        ("a.json", "1e3", None),
        ("a.json", "123456789012345678901234567890", None),
        ("a.yaml", "42", Some("42")),
        ("a.yaml", "12e45", None),
        ("a.yaml", "1.10", None),
        ("a.yaml", "1e3", None),
        ("a.yaml", "007", None),
        ("a.yaml", "0x1F", None),
        ("a.yaml", "+5", None),
        ("a.yaml", "123456789012345678901234567890", None),
        ("a.yaml", "\"007\"", Some("007")),
        ("a.toml", "42", Some("42")),
        ("a.toml", "1.10", None),
        ("a.toml", "1e3", None),
        ("a.toml", "inf", None),
        ("a.toml", "nan", None),
        ("a.toml", "1_000", None),
        ("a.toml", "0x10", None),
        ("a.toml", "\"1.10\"", Some("1.10")),
    ] {
        let text = match name {
            "a.json" => format!(r#"{{"key": {number}}}"#),
            "a.toml" => format!("key = {number}\n"),
            _ => format!("key: {number}\n"),
        };
        match (written(name, &[], &text), digits) {
            (Ok(config), Some(digits)) => assert_eq!(config.selection.key.given().unwrap().as_str(), digits),
            (Err(error), None) => {
                let said = ErrorReport::of(&error).to_string();
                assert!(said.contains("`key` is a number that is read as `"), "{text}: {said}");
                assert!(said.ends_with("hint: put it in quotes"), "{text}: {said}");
            }
            (found, _) => panic!("{text}: {found:?}"),
        }
    }
    for number in [".inf", ".nan"] {
        assert!(written("a.yaml", &[], &format!("key: {number}\n")).is_err(), "{number}");
    }
    assert!(written("a.yaml", &[], "key: ~\n").unwrap().selection.key.given().is_none());
}

#[test]
fn words_that_older_yaml_took_for_booleans_are_words() {
    let incoming = |text: &str| {
        let text = format!("feature:\n  network:\n    incoming: {text}\n");
        written("a.yaml", &[], &text).unwrap().incoming.mode
    };
    for text in ["off", "{mode: off}", "{mode: \"off\"}", "false"] {
        assert_eq!(incoming(text), Some(IncomingMode::Off), "{text}");
    }
    let text = "feature:\n  env:\n    override: {DEBUG: on, COUNTRY: no, REALLY: yes}\n";
    let set = written("a.yaml", &[], text).unwrap().env.set;
    assert_eq!(set.into_values().collect::<Vec<_>>(), ["no", "on", "yes"]);
}

#[test]
fn a_template_cannot_end_the_string_around_it() {
    let (key, branch) = (r#"a", "operator": true, "kube_context": "b"#, r#"x"y\z"#);
    let json = r#"{"feature": {"preview": {"image": "i:{{ key }}-{{ git_branch }}"}}}"#;
    let variables = [("MIRRORD_KEY", key), ("MIRRORD_BRANCH_NAME", branch)];
    let config = written("a.json", &variables, json).unwrap();
    assert_eq!(config.image.unwrap(), format!("i:{key}-{branch}"));
    assert_eq!(config.selection.connection.context, None);
    for (name, text) in [
        ("a.toml", "kube_context = 'c'\n[feature.preview]\nimage = 'i:{{ key }}'\n"),
        ("a.yaml", "feature:\n  preview:\n    image: i:{{ key }}\n"),
    ] {
        for key in ["it's", "a\"b", "a\\b"] {
            let said =
                ErrorReport::of(&written(name, &[("MIRRORD_KEY", key)], text).unwrap_err()).to_string();
            assert!(said.contains(&format!("the key `{key}` cannot be written into this file")), "{said}");
        }
        let plain = written(name, &[("MIRRORD_KEY", "feat/x#1")], text).unwrap();
        assert_eq!(plain.image.as_deref(), Some("i:feat/x#1"), "{name}");
        let branch = text.replace("key", "git_branch");
        assert!(written(name, &[("MIRRORD_BRANCH_NAME", "it's")], &branch).is_err());
    }
    let yaml = "feature:\n  preview:\n    image: i:{{ key }}\n";
    for key in ["a #b", "a: b", "a, b", "a}", "a:"] {
        assert!(written("a.yaml", &[("MIRRORD_KEY", key)], yaml).is_err(), "{key}");
    }
    // A key that the file does not use may hold any character.
    assert!(written("a.yaml", &[("MIRRORD_KEY", "it's")], "operator: true\n").is_ok());
    let itself = ErrorReport::of(&written("a.yaml", &[], "key: pr-{{ key }}\n").unwrap_err()).to_string();
    assert!(itself.contains("`key` is made from `{{ key }}`, itself"), "{itself}");
}

#[test]
fn two_yaml_documents_are_refused() {
    let said = ErrorReport::of(&written("a.yaml", &[], "key: a\n---\nkey: b\n").unwrap_err()).to_string();
    assert!(said.contains("it holds more than one YAML document; a configuration is one document"), "{said}");
}
