use serde_json::{Value, json};

use super::*;
use crate::config::file::File;
use crate::config::{fates, reading};
use crate::problem::ErrorReport;

fn resolve(variables: &[(&str, &str)], section: impl Into<Value>) -> Result<Incoming> {
    let environment: Environment =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let mut file = json!({"feature": {"network": {"incoming": section.into()}}});
    fates::apply(&mut file)?;
    reading::strict::<File>(file)?.feature.network.incoming.resolve(&environment)
}

#[test]
fn every_field_is_read() {
    let incoming = resolve(
        &[],
        json!({
            "mode": "steal", "ports": [80, 443, 80], "port_mapping": [[8080, 80]], "on_concurrent_steal": "override",
            "http_filter": {"header_filter": "^x-user: ann$"}, "reset_connections": true,
        }),
    )
    .unwrap();
    assert_eq!(incoming.mode, Some(IncomingMode::Steal));
    assert_eq!(incoming.ports.unwrap().into_iter().collect::<Vec<_>>(), [80, 443]);
    assert_eq!(
        incoming.port_mapping,
        [(80, 8080)].into(),
        "the preview listens on 8080 for the application's 80"
    );
    assert_eq!(incoming.on_concurrent_steal, ConcurrentSteal::Override);
    assert_eq!(serde_json::to_value(incoming.filter).unwrap(), json!({"header": "^x-user: ann$"}));
    assert!(incoming.reset_connections);
}

#[test]
fn false_disables_a_section() {
    let none = resolve(&[], json!({"ports": false, "http_filter": null, "port_mapping": false})).unwrap();
    assert_eq!(none, Incoming::default());
}

#[test]
fn ports_or_a_filter_imply_routing() {
    for (section, is_meant) in [
        (json!({"ignore_ports": [9090]}), true),
        (json!({"ports": [80]}), true),
        (json!({"http_filter": {"path_filter": "/"}}), true),
        (json!({"on_concurrent_steal": "continue"}), false),
    ] {
        let incoming = resolve(&[], section).unwrap();
        assert_eq!((incoming.mode, incoming.is_meant), (None, is_meant));
    }
}

#[test]
fn each_kind_of_filter_has_its_wire_form() {
    let body = json!({"body": "json", "query": "$.user", "matches": "^ann$"});
    let wire_body = json!({"body": {"query": "$.user", "matches": "^ann$"}});
    for (section, wire) in [
        (json!({"header_filter": "x-a: 1"}), json!({"header": "x-a: 1"})),
        (json!({"path_filter": "^/cart"}), json!({"path": "^/cart"})),
        (json!({"method_filter": "POST"}), json!({"method": "POST"})),
        (json!({"header_filter_jq": "endswith(\"1\")"}), json!({"jq": "endswith(\"1\")"})),
        (json!({"body_filter": body}), wire_body.clone()),
        (
            json!({"all_of": [{"header": "x-a: 1"}, {"query": "test(\"^x-b: 2\")"}, body]}),
            json!({"all_of": [{"header": "x-a: 1"}, {"jq": "test(\"^x-b: 2\")"}, wire_body]}),
        ),
        (
            json!({"any_of": [{"path": "/a"}, {"method": "PUT"}]}),
            json!({"any_of": [{"path": "/a"}, {"method": "PUT"}]}),
        ),
    ] {
        let filter = resolve(&[], json!({"http_filter": section})).unwrap().filter.unwrap();
        assert_eq!(serde_json::to_value(filter).unwrap(), wire, "{section}");
    }
}

#[test]
fn a_filter_in_the_environment_is_stronger_than_one_in_the_file() {
    let file = json!({"mode": "steal", "http_filter": {"path_filter": "/"}});
    let incoming = resolve(&[("MIRRORD_HTTP_HEADER_FILTER", "x-a: 1")], file).unwrap();
    assert_eq!(serde_json::to_value(incoming.filter).unwrap(), json!({"header": "x-a: 1"}));
}

#[test]
fn a_wrong_value_is_refused_with_its_path() {
    let nothing: &[(&str, &str)] = &[];
    for (variables, section, words) in [
        (
            nothing,
            json!({"http_filter": {"header_filter": "("}}),
            "http_filter.header_filter` cannot be used",
        ),
        (nothing, json!({"http_filter": {"header_filter": ""}}), "an empty pattern would match everything"),
        (
            nothing,
            json!({"http_filter": {"header_filter": "a", "path_filter": "b"}}),
            "both `header_filter` and `path_filter`",
        ),
        (
            nothing,
            json!({"http_filter": {"header_filter": "a", "method_filter": "b"}}),
            "both `header_filter` and `method_filter`",
        ),
        (
            nothing,
            json!({"http_filter": {"header_filter_jq": "while(true; .)"}}),
            "`while` is not available here",
        ),
        (
            nothing,
            json!({"http_filter": {"header_filter_jq": "true", "path_filter": "b"}}),
            "both `path_filter` and `header_filter_jq`",
        ),
        (nothing, json!({"http_filter": {}}), "http_filter` holds no filter"),
        (nothing, json!({"http_filter": {"all_of": []}}), "at least one"),
        (
            nothing,
            json!({"http_filter": {"any_of": [{"header": "a", "path": "b"}]}}),
            "any_of[0]` is not a condition",
        ),
        (nothing, json!({"http_filter": {"any_of": [{"all_of": []}]}}), "any_of[0].all_of`, expected one of"),
        (nothing, json!({"http_filter": {"any_of": [{}]}}), "it is empty"),
        (
            nothing,
            json!({"http_filter": {"any_of": [{"body": "json", "query": "$.a"}]}}),
            "it has `query`, `body`",
        ),
        (nothing, json!({"http_filter": {"body_filter": {"body": "xml"}}}), "must be `json`, not `xml`"),
        (
            nothing,
            json!({"http_filter": {"body_filter": {"body": "json", "query": "no path", "matches": "a"}}}),
            "is not a valid JSONPath",
        ),
        (nothing, json!({"ports": [80], "ignore_ports": [81]}), "both `ports` and `ignore_ports`"),
        (nothing, json!({"ports": []}), "names no port"),
        (nothing, json!({"ports": [0]}), "ports[0]` must be a port"),
        (nothing, json!({"ports": [70000]}), "70000"),
        (nothing, json!({"port_mapping": [[1, 80], [2, 80]]}), "maps a port twice"),
        (nothing, json!({"port_mapping": [[1, 80], [1, 81]]}), "maps a port twice"),
        (nothing, json!({"on_concurrent_steal": "fight"}), "fight"),
        (nothing, json!({"mode": "stael"}), "stael"),
        (
            nothing,
            json!({"tls_delivery": {"protocol": "tcp"}}),
            "`feature.network.incoming.tls_delivery` is not supported yet",
        ),
        (
            &[("MIRRORD_HTTP_HEADER_FILTER", "a"), ("MIRRORD_HTTP_PATH_FILTER", "b")],
            json!({}),
            "`MIRRORD_HTTP_HEADER_FILTER` and `MIRRORD_HTTP_PATH_FILTER` are both set",
        ),
    ] {
        let error = resolve(variables, section.clone()).unwrap_err();
        let said = ErrorReport::of(&error).to_string();
        assert!(said.contains(words), "{section}: {said}");
    }
}
