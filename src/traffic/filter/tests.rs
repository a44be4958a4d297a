//! The filters against a second implementation that is written to be read and
//! shares no code with the first; and the places outside of this module that
//! have to know each kind of condition.

use httparse::Header;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use super::baggage::Baggage;
use super::*;

/// A request, from a small alphabet so that matches are common.
#[derive(Clone, Debug)]
struct Request {
    method: String,
    target: String,
    authority: Option<String>,
    headers: Vec<(String, String)>,
    body: String,
}

fn requests() -> impl Strategy<Value = Request> {
    let names = prop::sample::select(vec!["baggage", "Baggage", "x-user", "X-User", "host", "cookie"]);
    let values = prop_oneof![
        "[a-c=,; %-]{0,12}",
        prop::sample::select(vec![
            "mirrord-session=pr-1",
            "mirrord-session=pr-12",
            "a=b, mirrord-session=pr%2D1;p=q",
            "ann",
            "shop.local",
            "mirrord-session = pr-1 ,x",
        ])
        .prop_map(str::to_owned),
    ];
    (
        prop::sample::select(vec!["GET", "POST", "post", "PURGE"]),
        "(/[ab]{0,2}){1,2}(\\?[ab=]{0,3})?",
        prop::option::of(prop::sample::select(vec!["shop.local", "other"])),
        prop::collection::vec((names.prop_map(str::to_owned), values), 0..4),
        prop::sample::select(vec!["", "{\"a\":\"b\"}", "{\"a\":1}", "{\"a\":[\"b\"]}", "no json"]),
    )
        .prop_map(|(method, target, authority, headers, body)| Request {
            method: method.to_owned(),
            target,
            authority: authority.map(str::to_owned),
            headers,
            body: body.to_owned(),
        })
}

fn conditions() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["pr-1", "pr-12", "", "b"]).prop_map(|key| json!({ "baggage": key })),
        prop::sample::select(vec!["^x-user: ann$", "HOST: shop", "a", "baggage: .*pr-1$"])
            .prop_map(|text| json!({ "header": text })),
        prop::sample::select(vec!["^/a$", "b", "\\?a", "^/[AB]+/"]).prop_map(|text| json!({ "path": text })),
        prop::sample::select(vec!["ann", "shop", "x-user: a"])
            .prop_map(|text| json!({ "jq": format!("contains(\"{text}\")") })),
        prop::sample::select(vec!["get", "POST", "purge"]).prop_map(|text| json!({ "method": text })),
        prop::sample::select(vec!["^b$", "1", "."])
            .prop_map(|text| json!({ "body": { "query": "$.a", "matches": text } })),
    ]
}

fn filters() -> impl Strategy<Value = Value> {
    let lists = (prop::bool::ANY, prop::collection::vec(conditions(), 1..4))
        .prop_map(|(all, list)| if all { json!({ "all_of": list }) } else { json!({ "any_of": list }) });
    prop_oneof![conditions(), lists]
}

/// The second implementation.
fn matches(filter: &Value, request: &Request) -> bool {
    let (kind, value) = filter.as_object().unwrap().iter().next().unwrap();
    let insensitive =
        |text: &str, line: &str| regex::Regex::new(&format!("(?i){text}")).unwrap().is_match(line);
    let text = value.as_str().unwrap_or_default();
    match kind.as_str() {
        "all_of" => value.as_array().unwrap().iter().all(|inner| matches(inner, request)),
        "any_of" => value.as_array().unwrap().iter().any(|inner| matches(inner, request)),
        "method" => request.method.to_lowercase() == text.to_lowercase(),
        "path" => {
            let path = request.target.split('?').next().unwrap();
            insensitive(text, path) || insensitive(text, &request.target)
        }
        "header" | "jq" => {
            let mut lines: Vec<String> =
                request.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
            if let Some(authority) = &request.authority
                && !request.headers.iter().any(|(name, _)| name == "host")
            {
                lines.push(format!("host: {authority}"));
            }
            lines.iter().any(|line| match text.strip_prefix("contains(\"") {
                Some(part) if kind == "jq" => {
                    let (name, value) = line.split_once(": ").unwrap();
                    format!("{}: {value}", name.to_lowercase()).contains(part.strip_suffix("\")").unwrap())
                }
                _ => insensitive(text, line),
            })
        }
        "baggage" => {
            let values: Vec<&str> = request
                .headers
                .iter()
                .filter(|(name, _)| name.to_lowercase() == "baggage")
                .map(|(_, value)| value.as_str())
                .collect();
            values.join(",").split(',').any(|member| {
                let pair = member.split(';').next().unwrap();
                pair.split_once('=').is_some_and(|(name, value)| {
                    name.trim() == "mirrord-session" && value.trim().replace("%2D", "-") == text
                })
            })
        }
        "body" => serde_json::from_str::<Value>(&request.body).is_ok_and(|body| {
            let pattern = regex::Regex::new(value["matches"].as_str().unwrap()).unwrap();
            body.get("a").is_some_and(|node| {
                pattern.is_match(&node.as_str().map_or_else(|| node.to_string(), str::to_owned))
            })
        }),
        _ => unreachable!(),
    }
}

fn judged(filter: &Value, request: &Request, body: Body<'_>) -> Answer {
    let filter: Filter = serde_json::from_value(filter.clone()).unwrap();
    let headers: Vec<Header<'_>> =
        request.headers.iter().map(|(name, value)| Header { name, value: value.as_bytes() }).collect();
    let head = Head {
        method: &request.method,
        target: &request.target,
        authority: request.authority.as_deref(),
        headers: &headers,
    };
    filter.judge(&head, body, &|| false)
}

#[test]
fn every_kind_is_fuzzed_and_is_compared_with_the_second_implementation() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fuzz/seeds/filters");
    let files = std::fs::read_dir(folder).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let seeds: String = files.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).collect();
    let mut runner = TestRunner::deterministic();
    let compared: Vec<Value> =
        (0..200).map(|_| conditions().new_tree(&mut runner).unwrap().current()).collect();
    for FilterKind { name, .. } in KINDS {
        assert!(
            seeds.contains(&format!("{{\"{name}\":")),
            "tests/fuzz/seeds/filters has no seed with `{name}`"
        );
        assert!(compared.iter().any(|condition| condition.get(name).is_some()), "`{name}` is not compared");
    }
}

/// Agents and keepers of other versions send and read these.
#[test]
fn the_wire_form_of_every_kind_stays_readable() {
    let wires = [
        json!("everything"),
        json!({"baggage": "feature/ä 1"}),
        json!({"header": "^x-user: (?!bot)"}),
        json!({"path": "^/cart"}),
        json!({"method": "Post"}),
        json!({"jq": "test(\"^x-user: ann$\")"}),
        json!({"body": {"query": "$.a", "matches": "^b$"}}),
        json!({"all_of": [{"path": "^/cart"}, {"body": {"query": "$.a", "matches": "^b$"}}]}),
        json!({"any_of": [{"method": "get"}, "everything"]}),
    ];
    for wire in &wires {
        let filter: Filter = serde_json::from_value(wire.clone()).unwrap();
        assert_eq!(serde_json::to_value(&filter).unwrap(), *wire);
    }
    for FilterKind { name, .. } in KINDS {
        assert!(wires.iter().any(|wire| wire.get(name).is_some()), "`{name}` has no fixed wire form");
    }
}

#[test]
fn every_kind_of_several_fields_tells_about_each() {
    for syntax in KINDS.iter().filter_map(|kind| kind.syntax.as_ref()) {
        let parts: Vec<&str> = syntax.parts.iter().map(|part| part.name).collect();
        let fields = if let [_] = syntax.fields { &[] } else { syntax.fields };
        assert_eq!(parts, fields, "{}", syntax.filter);
    }
}

#[test]
fn every_kind_is_in_the_documentation() {
    let page = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/filters.md")).unwrap();
    for syntax in KINDS.iter().filter_map(|kind| kind.syntax.as_ref()) {
        for name in [Some(syntax.filter), syntax.variable].into_iter().flatten() {
            assert!(page.contains(&format!("`{name}`")), "docs/filters.md does not name `{name}`");
        }
        for name in syntax.fields {
            assert!(
                page.contains(&format!("\"{name}\": ")),
                "docs/filters.md shows no condition with `{name}`"
            );
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(2_000) })]

    #[test]
    fn every_filter_agrees_with_the_second_implementation(filter in filters(), request in requests()) {
        let expected = matches(&filter, &request);
        let whole = judged(&filter, &request, Body::Whole(request.body.as_bytes()));
        prop_assert_eq!(whole == Answer::Yes, expected);
        // An answer to the head alone does not change with the body.
        match judged(&filter, &request, Body::Unread) {
            Answer::Body => {}
            decided => prop_assert_eq!(decided == Answer::Yes, expected),
        }
    }

    #[test]
    fn any_bytes_in_baggage_are_read_without_a_panic_and_match_only_with_the_member(value in prop::collection::vec(any::<u8>(), 0..64)) {
        let headers = [Header { name: "baggage", value: &value }];
        let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
        let filter = Filter::Baggage(Baggage::new("pr-1"));
        if filter.judge(&head, Body::Unread, &|| false) == Answer::Yes {
            prop_assert!(value.windows(15).any(|window| window == b"mirrord-session"));
        }
    }
}

#[test]
fn a_host_filter_means_the_same_in_http1_and_http2() {
    let filter: Filter = serde_json::from_value(json!({"header": "^host: shop"})).unwrap();
    let host = [Header { name: "Host", value: b"shop.local" }];
    let http1 = Head { method: "GET", target: "/", authority: None, headers: &host };
    let http2 = Head { method: "GET", target: "/", authority: Some("shop.local"), headers: &[] };
    assert_eq!(filter.judge(&http1, Body::Unread, &|| false), Answer::Yes);
    assert_eq!(filter.judge(&http2, Body::Unread, &|| false), Answer::Yes);
}

#[test]
fn a_slow_condition_does_not_match_once_the_judgement_has_taken_too_long() {
    let headers = [Header { name: "x-user", value: b"ann" }];
    let head = Head { method: "GET", target: "/", authority: None, headers: &headers };
    let body = Body::Whole(br#"{"user":"ann"}"#);
    for (condition, is_slow) in [
        (json!({"jq": r#"test("ann")"#}), true),
        (json!({"header": r"[\w-]{36}|ann"}), true),
        (json!({"body": {"query": "$.user", "matches": "ann"}}), true),
        (json!({"header": "ann"}), false),
        (json!({"method": "GET"}), false),
    ] {
        let filter: Filter = serde_json::from_value(condition.clone()).unwrap();
        assert_eq!(filter.judge(&head, body, &|| false), Answer::Yes, "{condition}");
        assert_eq!(filter.judge(&head, body, &|| true) == Answer::No, is_slow, "{condition}");
    }
}
