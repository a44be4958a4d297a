//! What a wrong file is told: the path, what was found, what is allowed; in the
//! words of the file, never in those of the program.

use super::*;
use crate::problem::Report;

fn said(variables: &[(&str, &str)], file: &str) -> String {
    let error = resolve(&Overrides::default(), variables, file).unwrap_err();
    let report = Report::of(&error);
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
fn a_body_filter_is_nothing_but_a_body_filter() {
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
fn a_list_is_no_object_and_types_are_named_as_the_file_names_them() {
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
            r#"{"agent": {"image_pull_secrets": [{"secret-key": "x"}]}}"#.to_owned(),
            "unknown field `agent.image_pull_secrets[0].secret-key`, expected `name`",
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
fn a_wrong_port_or_filter_is_blamed_where_it_is() {
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
    ] {
        let said = said(&[], &file);
        assert!(said.contains(&format!("{PATH}{words}")), "{file}: {said}");
    }
}

#[test]
fn what_contradicts_itself_is_refused() {
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
        let said = Report::of(&error).to_string();
        assert!(said.contains(words), "{name}: {said}");
    }
}
