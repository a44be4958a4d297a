//! `stop` with a file that is partly unusable: it warns if it selects more than
//! the user intended.

use super::sources::selection;
use super::*;

fn left(file: &str) -> Selection {
    selection(&Overrides::default(), &[], Some(file)).unwrap()
}

#[test]
fn an_unreadable_target_keeps_its_namespace_and_the_wider_search_is_said() {
    for target in [
        r#"{"path": "deplyment/a", "namespace": "ns"}"#,
        r#"{"path": {"deployment": 3}, "namespace": "ns"}"#,
        r#"{"deployment": "A", "namespace": "ns"}"#,
    ] {
        let found = left(&format!(r#"{{"key": "pr-1", "target": {target}}}"#));
        assert_eq!(found.key.given().unwrap().as_str(), "pr-1");
        assert_eq!((found.target, found.namespace.as_deref()), (None, Some("ns")), "{target}");
        let words = "its target is ignored: every target with this key in namespace `ns` is selected";
        assert!(found.warnings[0].ends_with(words), "{:?}", found.warnings);
    }
    let found = left(r#"{"key": "pr-1", "target": 3}"#);
    let words = "its target is ignored: every target with this key in every namespace is selected";
    assert!(found.warnings[0].ends_with(words), "{:?}", found.warnings);
}

#[test]
fn an_error_beside_a_target_does_not_lose_it() {
    let found = left(r#"{"key": "pr-1", "target": {"path": "deployment/a", "namespce": "ns"}}"#);
    assert_eq!(found.target.unwrap().to_string(), "deployment/a");
    let found = left(r#"{"key": "pr-1", "target": {"path": "deployment/a", "namespace": 3}}"#);
    assert_eq!(found.target.as_ref().unwrap().to_string(), "deployment/a");
    let words = "its namespace is ignored: `deployment/a` with this key in every namespace is selected";
    assert!(found.warnings[0].ends_with(words), "{:?}", found.warnings);
}

#[test]
fn an_invalid_namespace_does_not_lose_the_key() {
    let file = r#"{"key": "pr-1", "target": {"path": "deployment/a", "namespace": "Bad_NS"}}"#;
    let found = left(file);
    assert_eq!((found.key.given().unwrap().as_str(), found.namespace.as_deref()), ("pr-1", None));
    let [warning] = &found.warnings[..] else { panic!("{:?}", found.warnings) };
    assert!(
        warning.starts_with("`target.namespace` is `Bad_NS`, which is not a valid namespace name"),
        "{warning}"
    );
    let words = "it is ignored: `deployment/a` with this key in every namespace is selected";
    assert!(warning.ends_with(words), "{warning}");
    // `start` would create the preview in another namespace.
    assert!(resolve(&Overrides::default(), &[], file).is_err());
    // A flag is never ignored.
    let typed = Overrides { namespace: Some("Bad_NS".to_owned()), ..Overrides::default() };
    let error = selection(&typed, &[], Some(r#"{"key": "pr-1"}"#)).unwrap_err();
    assert!(format!("{error:#}").starts_with("`--namespace` is `Bad_NS`"), "{error:#}");
}

#[test]
fn all_namespaces_is_stronger_than_a_variable_or_the_file() {
    let flags = Overrides { reach: Reach::Everywhere, ..Overrides::default() };
    let file = r#"{"key": "pr-1", "target": {"path": "deplyment/a", "namespace": "ns"}}"#;
    let found = selection(&flags, &[("MIRRORD_TARGET_NAMESPACE", "Bad_NS")], Some(file)).unwrap();
    assert_eq!(found.namespace, None);
    assert!(found.warnings[0].contains("in every namespace"), "{:?}", found.warnings);
}

#[test]
fn a_wrong_value_in_a_weaker_source_does_not_matter() {
    let flags = Overrides {
        ttl: Some("5".parse().unwrap()),
        timeout: Some(Duration::from_secs(7)),
        namespace: Some("ns".to_owned()),
        ..Overrides::default()
    };
    let wrong = [
        ("MIRRORD_PREVIEW_TTL_MINS", "abc"),
        ("MIRRORD_PREVIEW_TTL_SECS", "5"),
        ("MIRRORD_PREVIEW_CREATION_TIMEOUT_SECS", "x"),
        ("MIRRORD_TARGET_NAMESPACE", "Bad_NS"),
    ];
    let config = resolve(&flags, &wrong, "{}").unwrap();
    assert_eq!((config.ttl.to_string().as_str(), config.creation_timeout.as_secs()), ("5m", 7));
    for variable in wrong.iter().filter(|(_, value)| *value != "5") {
        assert!(resolve(&Overrides::default(), &[*variable], "{}").is_err(), "{variable:?}");
    }
    let environment: Environment = [("MIRRORD_KEY".to_owned(), "a\nb".to_owned())].into_iter().collect();
    let by = |named| Selection::resolve(&Overrides::default(), &environment, named, Uuid::nil());
    assert!(by(Named::Otherwise).is_ok() && by(Named::ByKey).is_err());
}

#[test]
fn suggested_commands_have_the_typed_flags_of_the_connection() {
    let flags =
        Overrides { context: Some("a b".to_owned()), kubeconfig: Some("k".into()), ..Overrides::default() };
    let typed = resolve(&flags, &[], "{}").unwrap().selection.typed;
    assert_eq!(typed, [("--context", "a b".to_owned()), ("--kubeconfig", "k".to_owned())]);
    let variables = [("MIRRORD_KUBE_CONTEXT", "c")];
    assert!(resolve(&Overrides::default(), &variables, "{}").unwrap().selection.typed.is_empty());
}

#[test]
fn kubeconfig_names_the_files_that_kubectl_reads() {
    let connection =
        |list| resolve(&Overrides::default(), &[("KUBECONFIG", list)], "{}").unwrap().selection.connection;
    let paths = [PathBuf::from("/a"), PathBuf::from("/b")];
    assert_eq!((connection(":/a:/b").of_kubectl, connection("/a").kubeconfig), (paths.to_vec(), vec![]));
}
