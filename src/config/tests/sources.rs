//! The environment above the file, field by field; and the parts of a file that
//! commands use which only find environments.

use super::*;

fn env(variables: &[(&str, &str)], file: &str) -> Env {
    resolve(&Overrides::default(), variables, file).unwrap().env
}

#[test]
fn the_kubeconfig_comes_from_the_flag_the_environment_or_the_file() {
    let file = r#"{"kubeconfig": "/file:/more"}"#;
    let variables = [("MIRRORD_KUBECONFIG", "/env")];
    let flags = Overrides { kubeconfig: Some("/flag".into()), ..Overrides::default() };
    let none = Overrides::default();
    for (flags, variables, file, paths) in [
        (&flags, &variables[..], file, vec!["/flag"]),
        (&none, &variables[..], file, vec!["/env"]),
        (&none, &[], file, vec!["/file", "/more"]),
        (&none, &[], "{}", vec![]),
    ] {
        let connection = resolve(flags, variables, file).unwrap().selection.connection;
        let paths: Vec<PathBuf> = paths.into_iter().map(PathBuf::from).collect();
        assert_eq!(connection.kubeconfig, paths);
    }
}

#[test]
fn the_file_says_whether_invalid_certificates_are_accepted() {
    for (file, believed) in [
        (r#"{"accept_invalid_certificates": true}"#, Some(true)),
        (r#"{"accept_invalid_certificates": false}"#, Some(false)),
        ("{}", None),
    ] {
        let connection = resolve(&Overrides::default(), &[], file).unwrap().selection.connection;
        assert_eq!(connection.accept_invalid_certificates, believed, "{file}");
    }
}

#[test]
fn a_filter_in_the_environment_beats_the_files() {
    let file =
        r#"{"feature": {"network": {"incoming": {"mode": "steal", "http_filter": {"path_filter": "/"}}}}}"#;
    for (variable, text, kind) in [
        ("MIRRORD_HTTP_METHOD_FILTER", "post", "method"),
        ("MIRRORD_HTTP_HEADER_FILTER_JQ", "endswith(\"1\")", "jq"),
    ] {
        let filter = resolve(&Overrides::default(), &[(variable, text)], file).unwrap().incoming.filter;
        assert_eq!(serde_json::to_value(filter).unwrap(), serde_json::json!({kind: text}));
    }
}

#[test]
fn variables_are_chosen_by_the_environment_before_the_file() {
    let file = r#"{"feature": {"env": {"include": ["A"]}}}"#;
    let kept = |env: &Env| ["A", "B1", "C"].map(|name| env.keep.keeps(name));
    assert_eq!(kept(&env(&[], file)), [true, false, false]);
    assert_eq!(kept(&env(&[("MIRRORD_OVERRIDE_ENV_VARS_INCLUDE", "B*;C")], file)), [false, true, true]);
    assert_eq!(kept(&env(&[("MIRRORD_OVERRIDE_ENV_VARS_EXCLUDE", "B?")], "{}")), [true, false, true]);
    assert_eq!(kept(&env(&[], r#"{"feature": {"env": false}}"#)), [false, false, false]);
    assert_eq!(kept(&env(&[], r#"{"feature": {"env": true}}"#)), [true, true, true]);
}

#[test]
fn a_file_of_variables_is_read_below_override_and_unset() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.display().to_string()
    };
    let (ours, theirs) = (path("ours", "A=1\nB=2\nAws_Profile=me\n"), path("theirs", "C=3\n"));
    let file = format!(
        r#"{{"feature": {{"env": {{"env_file": "{ours}", "override": {{"B": "9"}}, "unset": "AWS_PROFILE"}}}}}}"#
    );
    let pairs =
        |env: Env| env.set.into_iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>();
    assert_eq!(pairs(env(&[], &file)), ["A=1", "B=9"]);
    assert_eq!(pairs(env(&[("MIRRORD_OVERRIDE_ENV_VARS_FILE", &theirs)], &file)), ["B=9", "C=3"]);
}

#[test]
fn values_are_mapped_by_name_and_variables_unset_in_any_case() {
    let file =
        r#"{"feature": {"env": {"mapping": {"(.+)_TIMEOUT": "${1}-1000"}, "unset": "AWS_PROFILE;B"}}}"#;
    let env = env(&[], file);
    let (pattern, value) = &env.mapping[0];
    let mut expanded = String::new();
    pattern.captures("DB_TIMEOUT").unwrap().expand(value, &mut expanded);
    assert_eq!(expanded, "DB-1000");
    assert_eq!(
        ["AWS_PROFILE", "aws_Profile", "b", "AWS"].map(|name| env.unsets(name)),
        [true, true, true, false]
    );
}

#[test]
fn the_log_level_is_passed_on_as_it_is_written() {
    for level in ["off", "WARN", "mirrord=debug,warn"] {
        let file = format!(r#"{{"agent": {{"log_level": "{level}"}}}}"#);
        let agent = resolve(&Overrides::default(), &[], &file).unwrap().agent;
        assert_eq!(agent.log_level.as_deref(), Some(level));
    }
}

#[test]
fn the_agents_image_is_one_reference_or_two_parts() {
    let version = env!("CARGO_PKG_VERSION");
    for (image, reference) in [
        (r#""a/b:1""#, "a/b:1".to_owned()),
        (r#"{"registry": "a/b", "tag": "1"}"#, "a/b:1".to_owned()),
        (r#"{"registry": "a/b"}"#, format!("a/b:{version}")),
        (r#"{"tag": "1"}"#, "mirrord:1".to_owned()),
        ("null", format!("mirrord:{version}")),
    ] {
        let file = format!(r#"{{"agent": {{"image": {image}}}}}"#);
        assert_eq!(resolve(&Overrides::default(), &[], &file).unwrap().agent.image, reference);
        let variables = [("MIRRORD_AGENT_IMAGE", "ours:2")];
        assert_eq!(resolve(&Overrides::default(), &variables, &file).unwrap().agent.image, "ours:2");
    }
}

/// The selection that `stop` reads from a file.
pub(super) fn selection(
    flags: &Overrides,
    variables: &[(&str, &str)],
    file: Option<&str>,
) -> Result<Selection> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mirrord.json");
    std::fs::write(&path, file.unwrap_or_default()).unwrap();
    let environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let flags = Overrides { config_file: file.map(|_| path), ..flags.clone() };
    Selection::resolve(&flags, &environment, Named::ByKey, Uuid::nil())
}

#[test]
fn a_file_that_start_refuses_still_tells_stop_the_key_and_where_to_look() {
    let file = r#"{"key": "k", "kube_context": "staging", "target": {"path": "deployment/shop", "namespace": "shop"},
        "feature": {"db_branches": [{"type": "pg"}], "nonsense": 1}}"#;
    let selection = selection(&Overrides::default(), &[], Some(file)).unwrap();
    assert_eq!(selection.key.given().unwrap().as_str(), "k");
    assert_eq!(selection.connection.context.as_deref(), Some("staging"));
    assert_eq!(selection.namespace.as_deref(), Some("shop"));
    assert_eq!(selection.target.unwrap().to_string(), "deployment/shop");
    let [warning] = &selection.warnings[..] else { panic!("{:?}", selection.warnings) };
    assert!(warning.contains("`feature.db_branches` is not supported yet"), "{warning}");
    assert!(warning.ends_with("only its key, its target and its connection are used"), "{warning}");
}

#[test]
fn an_unusable_target_is_ignored_where_the_key_is_given() {
    let file = r#"{"key": "k", "kube_context": "staging", "target": "targetless"}"#;
    let found = selection(&Overrides::default(), &[], Some(file)).unwrap();
    assert_eq!((found.connection.context.as_deref(), found.target.is_none()), (Some("staging"), true));
    assert!(found.warnings[0].contains("targetless"), "{:?}", found.warnings);
    // Without a key nothing says which environments to find.
    assert!(selection(&Overrides::default(), &[], Some(r#"{"target": "targetless"}"#)).is_err());
    // `start` needs the target.
    assert!(resolve(&Overrides::default(), &[], file).is_err());
}

#[test]
fn an_unusable_target_in_the_environment_is_ignored_where_the_key_is_given() {
    let variables = [("MIRRORD_IMPERSONATED_TARGET", "targetless")];
    let keyed = Overrides { key: Some("k".parse().unwrap()), ..Overrides::default() };
    let found = selection(&keyed, &variables, None).unwrap();
    assert!(found.target.is_none());
    assert!(
        found.warnings[0].contains("`MIRRORD_IMPERSONATED_TARGET` holds `targetless`"),
        "{:?}",
        found.warnings
    );
    let both = [variables[0], ("MIRRORD_KEY", "k")];
    assert!(selection(&Overrides::default(), &both, None).is_ok());
    assert!(selection(&Overrides::default(), &variables, None).is_err());
    assert!(resolve(&keyed, &variables, "{}").is_err());
}
