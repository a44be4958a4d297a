//! Errors about a file name the path, what was found and what is allowed, in the
//! words of the file format.

use super::*;
use crate::problem::ErrorReport;

fn said(variables: &[(&str, &str)], file: &str) -> String {
    let error = resolve(&Overrides::default(), variables, file).unwrap_err();
    let report = ErrorReport::of(&error);
    assert_eq!(report.exit, Exit::Usage, "{file}");
    report.to_string()
}

fn incoming(fields: &str) -> String {
    format!(r#"{{"feature": {{"network": {{"incoming": {fields}}}}}}}"#)
}

fn filter(fields: &str) -> String {
    incoming(&format!(r#"{{"mode": "steal", "http_filter": {fields}}}"#))
}

#[test]
fn a_body_filter_has_exactly_its_three_fields() {
    const PATH: &str = "`feature.network.incoming.http_filter.body_filter";
    for (written, words) in [
        (r#"{"header": "x"}"#, ".header`, expected one of `body`, `query`, `matches`"),
        (r#"{"query": ".x"}"#, "` needs the field `body`"),
        (r#"{"body": "json", "query": "$.x"}"#, "` needs the field `matches`"),
        (r#""x""#, "` must be an object, not `\"x\"`"),
        (r#"["json", "$.x", "y"]"#, "` must be an object, not a list"),
        (r#"{"body": "xml", "query": "$.x", "matches": "y"}"#, ".body` must be `json`, not `xml`"),
    ] {
        let said = said(&[], &filter(&format!(r#"{{"body_filter": {written}}}"#)));
        assert!(said.contains(&format!("{PATH}{words}")), "{said}");
    }
}

#[test]
fn a_wrong_type_is_named_in_the_words_of_the_format() {
    for (file, words) in [
        (r#"{"agent": ["img"]}"#, "`agent` must be an object, not a list"),
        (r#"{"feature": []}"#, "`feature` must be an object, not a list"),
        (r#"{"feature": {"preview": ["img"]}}"#, "`feature.preview` must be an object, not a list"),
        (r#"{"feature": {"preview": "img"}}"#, "`feature.preview` must be an object, not `\"img\"`"),
        (
            r#"{"feature": {"preview": {"labels": ["a"]}}}"#,
            "`feature.preview.labels` must be an object, not a list",
        ),
        (r#"{"feature": {"network": []}}"#, "`feature.network` must be a boolean or an object, not a list"),
        (r#"{"feature": {"network": 3}}"#, "`feature.network` must be a boolean or an object, not `3`"),
        (r#"{"feature": {"env": ["A"]}}"#, "`feature.env` must be a boolean, or {"),
        (
            r#"{"feature": {"env": {"override": ["A=1"]}}}"#,
            "`feature.env.override` must be an object, not a list",
        ),
        (
            r#"{"feature": {"env": {"override": {"A": null}}}}"#,
            "`feature.env.override.A` must be a string, not null",
        ),
        (
            r#"{"feature": {"env": {"override": {"A": 1}}}}"#,
            "`feature.env.override.A` must be a string, not `1`",
        ),
        (
            r#"{"feature": {"env": {"unset": 3}}}"#,
            "`feature.env.unset` must be a string or a list of strings, not `3`",
        ),
        (r#"{"feature": {"env": {"env_file": 3}}}"#, "`feature.env.env_file` must be a path, not `3`"),
        (
            r#"{"feature": {"preview": {"config_mounts": {}}}}"#,
            "`feature.preview.config_mounts` must be a list, not an object",
        ),
        (
            r#"{"feature": {"preview": {"config_mounts": [["/a"]]}}}"#,
            "`feature.preview.config_mounts[0]` must be an object, not a list",
        ),
        (
            r#"{"feature": {"preview": {"config_mounts": [{}]}}}"#,
            "`feature.preview.config_mounts[0]` needs the field `mount_at`",
        ),
        (
            r#"{"feature": {"preview": {"replicas": "two"}}}"#,
            "`feature.preview.replicas` must be an integer above 0, not `\"two\"`",
        ),
        (r#"{"feature": {"preview": {"replicas": -1}}}"#, "not `-1`"),
        (r#"{"feature": {"preview": {"replicas": 1.5}}}"#, "not `1.5`"),
        (
            r#"{"agent": {"image_pull_policy": "Sometimes"}}"#,
            "must be one of `Always`, `IfNotPresent`, `Never`, not `Sometimes`",
        ),
        (
            r#"{"agent": {"image_pull_policy": 3}}"#,
            "must be one of `Always`, `IfNotPresent`, `Never`, not `3`",
        ),
        (r#"{"agent": {"image": ["a"]}}"#, "`agent.image` must be an image like"),
        (r#"{"agent": {"log_level": 3}}"#, "`agent.log_level` must be a string, not `3`"),
        (r#"{"operator": "yes"}"#, "`operator` must be a boolean, not `\"yes\"`"),
        (r#"{"target": [1]}"#, "`target` must be a target like"),
    ] {
        let said = said(&[], file);
        assert!(said.contains(words), "{file}: {said}");
        for word in ["struct ", "array", "sequence", "map,", "u16", "u64", "invalid type"] {
            assert!(!said.contains(word), "{file}: {said}");
        }
    }
}

#[test]
fn an_unknown_field_or_word_is_named_with_its_path_and_the_nearest_known_one() {
    for (file, words, nearest) in [
        (r#"{"tagret": "pod/a"}"#.to_owned(), "unknown field `tagret`", "target"),
        (
            filter(r#"{"hedaer_filter": "x"}"#),
            "unknown field `feature.network.incoming.http_filter.hedaer_filter`",
            "header_filter",
        ),
        (
            filter(r#"{"any_of": [{"path": "/"}, {"haeder": "x"}]}"#),
            "`feature.network.incoming.http_filter.any_of[1].haeder`",
            "header",
        ),
        (
            incoming(r#"{"mode": "stael"}"#),
            "`feature.network.incoming.mode` must be one of `steal`, `mirror`, `off`, not `stael`",
            "steal",
        ),
        (incoming(r#""mirorr""#), "`feature.network.incoming` must be one of", "mirror"),
        (
            incoming(r#"{"on_concurrent_steal": "overide"}"#),
            "`feature.network.incoming.on_concurrent_steal` must be one of",
            "override",
        ),
        (
            r#"{"agent": {"image": {"registy": "a"}}}"#.to_owned(),
            "unknown field `agent.image.registy`",
            "registry",
        ),
        (
            r#"{"agent": {"image_pull_secrets": [{"nmae": "x"}]}}"#.to_owned(),
            "unknown field `agent.image_pull_secrets[0].nmae`, expected `name`",
            "name",
        ),
        (
            r#"{"target": {"path": "pod/a", "namespce": "b"}}"#.to_owned(),
            "unknown field `target.namespce`",
            "namespace",
        ),
    ] {
        let said = said(&[], &file);
        assert!(said.contains(words), "{file}: {said}");
        assert!(said.contains(&format!("hint: did you mean `{nearest}`?")), "{file}: {said}");
    }
}

#[test]
fn a_wrong_port_or_filter_is_named_with_its_path() {
    const PATH: &str = "`feature.network.incoming.";
    for (file, words) in [
        (
            incoming(r#"{"ports": [80, 70000]}"#),
            "ports[1]` must be a port, an integer from 1 to 65535, not `70000`",
        ),
        (incoming(r#"{"ports": [0]}"#), "ports[0]` must be a port, an integer from 1 to 65535, not `0`"),
        (
            incoming(r#"{"ports": ["80"]}"#),
            "ports[0]` must be a port, an integer from 1 to 65535, not `\"80\"`",
        ),
        (incoming(r#"{"ports": 80}"#), "ports` must be a list, not `80`"),
        (
            incoming(r#"{"ignore_ports": [-1]}"#),
            "ignore_ports[0]` must be a port, an integer from 1 to 65535, not `-1`",
        ),
        (incoming(r#"{"port_mapping": [[80]]}"#), "port_mapping[0]` must be a list of 2, not a list of 1"),
        (
            incoming(r#"{"port_mapping": [[80, 81, 82]]}"#),
            "port_mapping[0]` must be a list of 2, not a list of 3",
        ),
        (incoming(r#"{"port_mapping": [80]}"#), "port_mapping[0]` must be a list of 2, not `80`"),
        (filter(r#"{"header_filter": 3}"#), "http_filter.header_filter` must be a string, not `3`"),
        (filter(r#""x""#), "http_filter` must be a boolean or an object, not `\"x\"`"),
        (
            filter(r#"{"all_of": [{"body": "json", "query": 3}]}"#),
            "http_filter.all_of[0].query` must be a string, not `3`",
        ),
        (
            filter(r#"{"all_of": [{"body": 3, "query": "$.a", "matches": "b"}]}"#),
            "http_filter.all_of[0].body` must be `json`, not `3`",
        ),
        (filter(r#"{"all_of": ["a"]}"#), "http_filter.all_of[0]` must be an object, not `\"a\"`"),
        (filter(r#"{"any_of": {"header": "a"}}"#), "http_filter.any_of` must be a list, not an object"),
    ] {
        let said = said(&[], &file);
        assert!(said.contains(&format!("{PATH}{words}")), "{file}: {said}");
    }
}

#[test]
fn contradictions_are_refused() {
    for (variables, file, words) in [
        (
            None,
            r#"{"feature": {"env": {"override": {"A": "1"}, "unset": ["A"]}}}"#,
            "`feature.env` both sets and unsets `A`",
        ),
        (
            None,
            r#"{"feature": {"env": {"override": {"A": "1"}, "unset": "b;a"}}}"#,
            "`feature.env` both sets and unsets `A`",
        ),
        (
            None,
            r#"{"feature": {"env": {"include": "A", "exclude": "B"}}}"#,
            "`feature.env.include` and `feature.env.exclude` exclude each other",
        ),
        (
            Some(("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "A")),
            r#"{"feature": {"env": {"exclude": "B"}}}"#,
            "`MIRRORD_OVERRIDE_ENV_VARS_INCLUDE` and `feature.env.exclude` exclude each other",
        ),
        (
            Some(("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "A")),
            r#"{"feature": {"env": {"include": "B"}}}"#,
            "`feature.env.include` and `MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE` exclude each other",
        ),
        (
            Some(("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "A")),
            r#"{"feature": {"env": false}}"#,
            "`MIRRORD_OVERRIDE_ENV_VARS_INCLUDE` and `feature.env` exclude each other",
        ),
    ] {
        let variables: Vec<(&str, &str)> = variables.into_iter().collect();
        let said = said(&variables, file);
        assert!(said.contains(words), "{file}: {said}");
    }
}

#[test]
fn a_field_that_is_written_twice_is_refused_in_every_language() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text, words) in [
        ("a.json", r#"{"key": "a", "key": "b"}"#, "`key` is written twice"),
        (
            "b.json",
            r#"{"feature": {"preview": {"image": "a", "image": "b"}}}"#,
            "`feature.preview.image` is written twice",
        ),
        (
            "c.json",
            r#"{"feature": {"env": {"override": {"A": "1", "A": "2"}}}}"#,
            "`feature.env.override.A` is written twice",
        ),
        ("a.toml", "key = \"a\"\nkey = \"b\"\n", "line 2, column 1"),
        ("a.yaml", "key: a\nkey: b\n", "duplicate mapping key: key\n"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let flags = Overrides { config_file: Some(path), ..Overrides::default() };
        let error = Config::resolve(&flags, &Environment::default(), Uuid::nil()).unwrap_err();
        let said = ErrorReport::of(&error).to_string();
        assert!(said.contains(words), "{name}: {said}");
    }
}

#[test]
fn secrets_in_a_file_of_variables_are_not_printed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secrets.env");
    for (text, place) in [
        ("A=1\n\nTOKEN=hunter2 and more\n", "line 3, at `TOKEN` is not `NAME=value`"),
        ("# x\nexport TOKEN=hunter2 and more\n", "line 2, at `TOKEN` is not `NAME=value`"),
        ("A=1\nhunter2\n", "line 2 is not `NAME=value`"),
        ("A=1\nhunter2/Zm9v=\n", "line 2 is not `NAME=value`"),
        ("A=1\nTOKEN=\"hunter2\nmore\n", "line 2, at `TOKEN` is not `NAME=value`"),
    ] {
        std::fs::write(&path, text).unwrap();
        let said = said(&[("MIRRORD_OVERRIDE_ENV_VARS_FILE", path.to_str().unwrap())], "{}");
        assert!(said.contains("secrets.env") && said.contains(place), "{said}");
        assert!(!said.contains("hunter2") && !said.contains("more"), "{said}");
    }
}

#[test]
fn the_nearest_name_is_near_and_may_be_one_that_is_ignored() {
    for (file, name) in [
        (r#"{"feature": {"other": 1}}"#, None),
        (r#"{"feature": {"hostnme": 1}}"#, Some("hostname")),
        (r#"{"feature": {"db_branch": 1}}"#, Some("db_branches")),
        (r#"{"telmetry": 1}"#, Some("telemetry")),
        (r#"{"agent": {"epemeral": 1}}"#, Some("ephemeral")),
        (r#"{"feature": {"network": {"otgoing": 1}}}"#, Some("outgoing")),
        (r#"{"feature": {"network": {"x": 1}}}"#, None),
        (r#"{"feature": {"network": {"incoming": {"edom": "off"}}}}"#, None),
        (r#"{"feature": {"network": {"incoming": {"moed": "off"}}}}"#, Some("mode")),
    ] {
        let said = said(&[], file);
        let hint = name.map(|name| format!("hint: did you mean `{name}`?"));
        assert_eq!(
            said.lines().find(|line| line.contains("hint:")).map(str::trim),
            hint.as_deref(),
            "{said}"
        );
    }
    assert!(resolve(&Overrides::default(), &[], r#"{"multi_cluster": {}}"#).is_ok());
}

#[test]
fn invalid_values_are_refused() {
    for (file, words) in [
        (r#"{"agent": {"image": ""}}"#, "`agent.image` is ``, which is not an image"),
        (r#"{"agent": {"image": {"registry": ""}}}"#, "which is not an image"),
        (r#"{"agent": {"service_account": ""}}"#, "`agent.service_account` is ``"),
        (r#"{"agent": {"service_account": "Ann"}}"#, "`agent.service_account` is `Ann`"),
        (r#"{"agent": {"labels": {"a b": "c"}}}"#, "`agent.labels`: `a b: c` is not a valid label"),
        (r#"{"agent": {"labels": {"a/b/c": "d"}}}"#, "is not a valid label"),
        (r#"{"agent": {"labels": {"a": "-"}}}"#, "is not a valid label"),
        (r#"{"feature": {"env": {"include": ""}}}"#, "`feature.env.include` names no variable"),
        (r#"{"feature": {"env": {"include": ";"}}}"#, "`feature.env.include` names no variable"),
        (r#"{"feature": {"env": {"include": []}}}"#, "`feature.env.include` names no variable"),
        (
            r#"{"feature": {"preview": {"config_mounts": [{"mount_at": "//etc/a", "type": "text", "payload": ""}],
                "secret_mounts": [{"mount_at": "/etc//a", "type": "text", "payload": ""}]}}}"#,
            "two files are mounted at `/etc/a`",
        ),
        (r#"{"feature": {"preview": {"replicas": 1.0}}}"#, "must be an integer above 0, not `1.0`"),
        (
            r#"{"feature": {"preview": {"replicas": 99999999999}}}"#,
            "must be an integer above 0, up to 2147483647, not `99999999999`",
        ),
        (
            r#"{"target": {"path": "deployment/a", "container": "web"}}"#,
            "`container` does not stand beside `path`: write `deployment/a/container/web`",
        ),
    ] {
        let said = said(&[], file);
        assert!(said.contains(words), "{file}: {said}");
    }
    let said = said(&[("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", ";")], "{}");
    assert!(said.contains("`MIRRORD_OVERRIDE_ENV_VARS_INCLUDE` names no variable"), "{said}");
    let labels = r#"{"agent": {"labels": {"team": "", "a.b/c": "d_e.f"}}}"#;
    assert!(resolve(&Overrides::default(), &[], labels).is_ok());
}

#[test]
fn a_pattern_that_is_wrong_is_named_with_its_place_and_position() {
    let said = said(&[], &filter(r#"{"all_of": [{"header": "a(b"}]}"#));
    assert!(
        said.contains("`feature.network.incoming.http_filter.all_of[0].header` cannot be used"),
        "{said}"
    );
    let own = fancy_regex::Regex::new("a(b").unwrap_err();
    assert!(said.contains(&format!("`a(b` is not a valid regular expression: {own}")), "{said}");
}

#[test]
fn a_filter_without_a_field_is_refused() {
    let said = said(&[], &filter("{}"));
    assert!(said.contains("`feature.network.incoming.http_filter` holds no filter"), "{said}");
    // `null` and ignored fields count as absent.
    for section in [r#"{"ports": [80]}"#, r#"{"header_filter": null}"#] {
        assert_eq!(resolve(&Overrides::default(), &[], &filter(section)).unwrap().incoming.filter, None);
    }
}

/// A pipe without a writer would block the command, and a device would fill its memory.
#[test]
fn only_regular_files_of_a_bounded_size_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let [fifo, huge, zero] = ["fifo", "huge", "zero"].map(|name| folder.path().join(name));
    assert!(std::process::Command::new("mkfifo").arg(&fifo).status().unwrap().success());
    // A sparse file.
    std::fs::File::create(&huge).unwrap().set_len(1 << 40).unwrap();
    std::os::unix::fs::symlink("/dev/zero", &zero).unwrap();
    for (path, why) in [
        (&fifo, "it is not a regular file"),
        (&zero, "it is not a regular file"),
        (&huge, "it has more than 1048576 bytes"),
    ] {
        let at = path.display();
        for file in [
            format!(r#"{{"feature": {{"env": {{"env_file": "{at}"}}}}}}"#),
            format!(
                r#"{{"feature": {{"preview": {{"config_mounts": [{{"mount_at": "/a", "from_file": "{at}"}}]}}}}}}"#
            ),
            format!(
                r#"{{"feature": {{"preview": {{"secret_mounts": [{{"mount_at": "/a", "from_file": "{at}"}}]}}}}}}"#
            ),
        ] {
            let error = format!("{:#}", resolve(&Overrides::default(), &[], &file).unwrap_err());
            assert!(error.contains(why) && error.contains(&at.to_string()), "{error}");
        }
        let variables = [("MIRRORD_OVERRIDE_ENV_VARS_FILE", path.to_str().unwrap())];
        assert!(resolve(&Overrides::default(), &variables, "{}").is_err());
        let why = why.replace("1048576", "8388608");
        let flags = Overrides { config_file: Some(path.clone()), ..Overrides::default() };
        let error = Config::resolve(&flags, &Environment::default(), Uuid::nil()).unwrap_err();
        assert!(format!("{error:#}").contains(&why), "{error:#}");
    }
}
