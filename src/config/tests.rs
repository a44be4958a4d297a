//! Which source of a value wins, and what the file may hold.

use super::*;

fn resolve(flags: &Overrides, environment: &[(&str, &str)], file: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirrord.json");
    std::fs::write(&path, file).unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = Overrides { config_file: Some(path), ..flags.clone() };
    Config::resolve(&flags, &environment, Uuid::from_u128(0xabcd_ef01 << 96))
}

#[test]
fn a_flag_beats_the_environment_beats_the_file_beats_the_default() {
    let file = r#"{"key": "file", "target": {"path": "deployment/file", "namespace": "file"}, "kube_context": "file",
        "feature": {"preview": {"image": "file", "ttl_secs": 30, "creation_timeout_secs": 3, "replicas": 3}}}"#;
    let environment = [
        ("MIRRORD_KEY", "env"),
        ("MIRRORD_IMPERSONATED_TARGET", "deployment/env"),
        ("MIRRORD_TARGET_NAMESPACE", "env"),
        ("MIRRORD_KUBE_CONTEXT", "env"),
        ("MIRRORD_PREVIEW_IMAGE", "env"),
        ("MIRRORD_PREVIEW_TTL_MINS", "2"),
        ("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS", "2"),
        ("MIRRORD_PREVIEW_REPLICAS", "2"),
    ];
    let flags = Overrides {
        key: Some("flag".parse().unwrap()),
        target: Some("deployment/flag".parse().unwrap()),
        namespace: Some("flag".into()),
        context: Some("flag".into()),
        image: Some("flag".into()),
        ttl: Some("1s".parse().unwrap()),
        timeout: Some(Duration::from_secs(1)),
        ..Overrides::default()
    };
    let shown = |config: Config| {
        let selection = config.selection;
        format!(
            "{} {:?} {:?} {:?} {:?} {} {:?} {}",
            selection.key.key(),
            selection.target,
            selection.namespace,
            selection.connection.context,
            config.image,
            config.ttl,
            config.creation_timeout,
            config.replicas
        )
    };
    let none = Overrides::default();
    assert_eq!(
        shown(resolve(&flags, &environment, file).unwrap()),
        r#"flag Some(Target(deployment/flag)) Some("flag") Some("flag") Some("flag") 1s 1s 2"#
    );
    assert_eq!(
        shown(resolve(&none, &environment, file).unwrap()),
        r#"env Some(Target(deployment/env)) Some("env") Some("env") Some("env") 2m 2s 2"#
    );
    assert_eq!(
        shown(resolve(&none, &[], file).unwrap()),
        r#"file Some(Target(deployment/file)) Some("file") Some("file") Some("file") 30s 3s 3"#
    );
    assert_eq!(shown(resolve(&none, &[], "{}").unwrap()), "abcde None None None None 1h 60s 1");
}

#[test]
fn a_flag_beats_either_way_of_writing_the_time_to_live() {
    let flags = Overrides { ttl: Some("5".parse().unwrap()), ..Overrides::default() };
    let file = r#"{"feature": {"preview": {"ttl_secs": 30}}}"#;
    assert_eq!(resolve(&flags, &[], file).unwrap().ttl, "5".parse().unwrap());
}

#[test]
fn the_key_may_come_from_any_function_and_is_used_everywhere() {
    for (file, key) in [
        (r#"{"key": "a"}"#, "a"),
        (r#"{"key": 42}"#, "42"),
        (r#"{"key": "pr-{{ get_env(name="NONE_OF_OURS", default="7") }}"}"#, "pr-7"),
        // As the public Action leaves it: quotes in one field, a key in another.
        (
            r#"{"key": "abc", "target": "deployment/{{ get_env(name="NONE_OF_OURS", default="shop") }}"}"#,
            "abc",
        ),
        (r#"{"key": "{{ git_branch }}"}"#, "feat/x"),
    ] {
        let config = resolve(&Overrides::default(), &[("MIRRORD_BRANCH_NAME", "feat/x")], file).unwrap();
        assert_eq!(config.selection.key, KeySource::Given(key.parse().unwrap()), "{file}");
    }
    let file = r#"{"key": "quo\"te", "feature": {"preview": {"image": "shop:{{key}}-{{ key }}"}}}"#;
    assert_eq!(resolve(&Overrides::default(), &[], file).unwrap().image.unwrap(), "shop:quo\"te-quo\"te");
}

#[test]
fn a_mode_is_read_in_each_of_mirrords_forms() {
    for (incoming, mode) in [
        (r#""steal""#, Some(Mode::Steal)),
        (r#""mirror""#, Some(Mode::Mirror)),
        (r#""off""#, Some(Mode::Off)),
        ("false", Some(Mode::Off)),
        ("true", None),
        (r#"{"mode": "steal"}"#, Some(Mode::Steal)),
        (r#"{"mode": "off", "http_filter": {"header_filter": "x"}}"#, Some(Mode::Off)),
        (r#"{"ports": [80]}"#, Some(Mode::Mirror)),
        ("{}", None),
    ] {
        let file = format!(r#"{{"feature": {{"network": {{"incoming": {incoming}}}}}}}"#);
        assert_eq!(resolve(&Overrides::default(), &[], &file).unwrap().incoming, mode, "{incoming}");
    }
    let environment = [("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "true")];
    assert_eq!(resolve(&Overrides::default(), &environment, "{}").unwrap().incoming, Some(Mode::Steal));
}
