//! Which source of a value wins, and which values the file may hold.

mod fields;
mod languages;
mod leftovers;
mod refusals;
mod sources;
mod table;
mod validator;
mod whole;

use super::*;

fn resolve(flags: &Overrides, environment: &[(&str, &str)], file: &str) -> Result<Config> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirrord.json");
    std::fs::write(&path, file).unwrap();
    let environment =
        environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = Overrides { config_file: Some(path.clone()), ..flags.clone() };
    let config = Config::resolve(&flags, &environment, Uuid::from_u128(0xabcd_ef01 << 96))?;
    assert_fits_schema(&path, config.selection.key.key(), &environment);
    Ok(config)
}

/// Fails if a file that resolves is wrong by the schema that editors use.
fn assert_fits_schema(path: &std::path::Path, key: &Key, environment: &Environment) {
    let format = reading::Format::of(path).unwrap();
    let text = std::fs::read_to_string(path).unwrap();
    let rendered = template::render(&text, format, key.as_str(), environment).unwrap();
    let file = reading::parse(&rendered, format).unwrap();
    assert_eq!(validator::complaint(&schema::schema(), &file), None, "{text}");
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
fn a_flag_beats_either_field_of_the_time_to_live() {
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
        (r#""steal""#, Some(IncomingMode::Steal)),
        (r#""mirror""#, Some(IncomingMode::Mirror)),
        (r#""off""#, Some(IncomingMode::Off)),
        ("false", Some(IncomingMode::Off)),
        ("true", None),
        (r#"{"mode": "steal"}"#, Some(IncomingMode::Steal)),
        (r#"{"mode": "off", "http_filter": {"header_filter": "x"}}"#, Some(IncomingMode::Off)),
        // Routing is asked for, but no mode is set: `start` steals.
        (r#"{"ports": [80]}"#, None),
        ("{}", None),
    ] {
        let file = format!(r#"{{"feature": {{"network": {{"incoming": {incoming}}}}}}}"#);
        assert_eq!(resolve(&Overrides::default(), &[], &file).unwrap().incoming.mode, mode, "{incoming}");
    }
    let environment = [("MIRRORD_AGENT_TCP_STEAL_TRAFFIC", "true")];
    assert_eq!(
        resolve(&Overrides::default(), &environment, "{}").unwrap().incoming.mode,
        Some(IncomingMode::Steal)
    );
}

#[test]
fn a_target_is_read_in_each_of_mirrords_forms() {
    for (target, path) in [
        (r#""deployment/shop""#, "deployment/shop"),
        (r#""statefulset/db/container/web""#, "statefulset/db/container/web"),
        (r#"{"path": "deploy/shop"}"#, "deployment/shop"),
        (
            r#"{"path": {"deployment": "shop", "container": "web"}, "namespace": "a"}"#,
            "deployment/shop/container/web",
        ),
        (r#"{"deployment": "shop"}"#, "deployment/shop"),
        (r#"{"stateful_set": "db", "container": "web"}"#, "statefulset/db/container/web"),
        (r#"{"cron_job": "nightly"}"#, "cronjob/nightly"),
        (r#"{"replica_set": "plain"}"#, "replicaset/plain"),
    ] {
        let config = resolve(&Overrides::default(), &[], &format!(r#"{{"target": {target}}}"#)).unwrap();
        assert_eq!(config.selection.target.unwrap().to_string(), path, "{target}");
    }
    for target in [
        r#"{"deployment": "a", "pod": "b"}"#,
        r#"{"container": "a"}"#,
        r#"{"path": "deployment/a", "pod": "b"}"#,
        r#"{"path": {"deployment": "a", "namespace": "b"}}"#,
    ] {
        assert!(
            resolve(&Overrides::default(), &[], &format!(r#"{{"target": {target}}}"#)).is_err(),
            "{target}"
        );
    }
}

#[test]
fn a_list_may_be_a_string_with_semicolons() {
    for labels in [r#"["a*", "b"]"#, r#""a*;b""#, r#"["a*;b"]"#] {
        let file = format!(r#"{{"feature": {{"preview": {{"labels": {{"include": {labels}}}}}}}}}"#);
        let labels = resolve(&Overrides::default(), &[], &file).unwrap().labels;
        assert_eq!(["app", "b", "c"].map(|name| labels.keeps(name)), [true, true, false]);
    }
    let environment = [("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "A;B*")];
    let env = resolve(&Overrides::default(), &environment, "{}").unwrap().env;
    assert_eq!(["A", "BB", "C"].map(|name| env.keep.keeps(name)), [false, false, true]);
}

#[test]
fn files_to_mount_are_checked_before_anything_is_contacted() {
    let big = "x".repeat(1024 * 1024 + 1);
    for (mount, why) in [
        (r#"{"mount_at": "etc/a", "type": "text", "payload": ""}"#.to_owned(), "not the absolute path"),
        (r#"{"mount_at": "/etc/../a", "type": "text", "payload": ""}"#.to_owned(), "not the absolute path"),
        (r#"{"mount_at": "/etc/", "type": "text", "payload": ""}"#.to_owned(), "not the absolute path"),
        (r#"{"mount_at": "/a", "payload": ""}"#.to_owned(), "needs either"),
        (r#"{"mount_at": "/a", "type": "text"}"#.to_owned(), "needs either"),
        (r#"{"mount_at": "/a", "type": "text", "payload": "", "from_file": "b"}"#.to_owned(), "needs either"),
        (r#"{"mount_at": "/a", "type": "binary", "payload": "%"}"#.to_owned(), "not base64"),
        (r#"{"mount_at": "/a", "from_file": "/no/such/file"}"#.to_owned(), "could not read"),
        (r#"{"mount_at": "/b", "type": "text", "payload": ""}"#.to_owned(), "two files are mounted at `/b`"),
        (format!(r#"{{"mount_at": "/a", "type": "text", "payload": "{big}"}}"#), "Kubernetes allows 1048576"),
    ] {
        let file = format!(
            r#"{{"feature": {{"preview": {{"config_mounts": [{mount}], "secret_mounts": [{{"mount_at": "/b", "type": "text", "payload": ""}}]}}}}}}"#
        );
        let error = resolve(&Overrides::default(), &[], &file).unwrap_err();
        assert!(format!("{error:#}").contains(why), "{error:#}");
    }
}

#[test]
fn toml_and_yaml_say_the_same_as_json() {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in [
        ("a.json", r#"{"key": "k", "feature": {"preview": {"ttl_secs": 30, "image": "i:{{ key }}"}}}"#),
        ("a.toml", "key = \"k\"\n[feature.preview]\nttl_secs = 30\nimage = \"i:{{ key }}\"\n"),
        ("a.yaml", "key: k\nfeature:\n  preview:\n    ttl_secs: 30\n    image: i:{{ key }}\n"),
        ("a.yml", "{key: k, feature: {preview: {ttl_secs: 30, image: 'i:{{ key }}'}}}"),
    ] {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        let flags = Overrides { config_file: Some(path), ..Overrides::default() };
        let config = Config::resolve(&flags, &Environment::default(), Uuid::nil()).unwrap();
        assert_eq!(
            (config.image.as_deref(), config.ttl.to_string().as_str()),
            (Some("i:k"), "30s"),
            "{name}"
        );
    }
}

#[test]
fn templates_have_the_functions_and_filters_of_mirrord() {
    let image = |expression: &str| {
        let file = format!(
            r#"{{"key": "feat/Login Page", "target": "deployment/shop", "feature": {{"preview": {{"image": "{expression}"}}}}}}"#
        );
        resolve(&Overrides::default(), &[("MIRRORD_BRANCH_NAME", "Fix/A_b")], &file).unwrap().image.unwrap()
    };
    for (expression, value) in [
        ("shop:{{ key | slugify }}", "shop:feat-login-page"),
        ("shop:{{ git_branch | slugify | truncate(length=5, end='') }}", "shop:fix-a"),
        ("{{ get_random(start=7, end=8) }}", "7"),
        ("{{ 0 | date(format='%Y-%m-%d') }}", "1970-01-01"),
        ("{{ key | urlencode_strict }}", "feat%2FLogin%20Page"),
        ("{{ 2048 | filesizeformat }}", "2 kB"),
    ] {
        assert_eq!(image(expression), value, "{expression}");
    }
    let now: i64 = image("{{ now(timestamp=true) }}").parse().unwrap();
    assert!(now > 1_700_000_000, "{now}");
}

#[test]
fn get_env_reads_the_given_environment_and_not_the_processs() {
    let file = r#"{"target": "deployment/shop", "feature": {"preview": {"image": "shop:{{ get_env(name='TAG') }}"}}}"#;
    let image = |variables: &[(&str, &str)]| {
        resolve(&Overrides::default(), variables, file).map(|config| config.image)
    };
    assert_eq!(image(&[("TAG", "7")]).unwrap().as_deref(), Some("shop:7"));
    assert_eq!(image(&[("TAG", "")]).unwrap().as_deref(), Some("shop:"), "an empty variable is set");
    let said = crate::problem::ErrorReport::of(&image(&[]).unwrap_err()).to_string();
    assert!(said.contains("the environment variable `TAG` is not set"), "{said}");
    // The process that runs this test has a PATH, the given environment has not.
    let file = file.replace("TAG", "PATH");
    assert!(resolve(&Overrides::default(), &[], &file).is_err());
}

#[test]
fn both_variables_of_the_time_to_live_take_the_same_durations() {
    for (text, minutes, seconds) in [
        ("90s", "1m 30s", "1m 30s"),
        ("2h", "2h", "2h"),
        ("infinite", "infinite", "infinite"),
        ("5", "5m", "5s"),
    ] {
        let ttl = |name| resolve(&Overrides::default(), &[(name, text)], "{}").unwrap().ttl.to_string();
        assert_eq!(ttl("MIRRORD_PREVIEW_TTL_MINS"), minutes, "{text}");
        assert_eq!(ttl("MIRRORD_PREVIEW_TTL_SECS"), seconds, "{text}");
    }
    let timeout = [("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS", "5m")];
    assert_eq!(resolve(&Overrides::default(), &timeout, "{}").unwrap().creation_timeout.as_secs(), 300);
}

#[test]
fn a_random_key_is_made_once() {
    let file = r#"{"key": "{{ get_random(end=1000000000000) }}", "target": "deployment/shop",
        "feature": {"preview": {"image": "shop:{{ key }}"}}}"#;
    let config = resolve(&Overrides::default(), &[], file).unwrap();
    assert_eq!(config.image.unwrap(), format!("shop:{}", config.selection.key.key()));
}
