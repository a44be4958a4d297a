//! The keeper's canary requests: judged and carried like all others, and answered
//! by the agent, so that no handler of the application or the preview runs.

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

/// A server that counts the bytes it receives.
fn counting(listener: TcpListener) -> (Server, Arc<AtomicUsize>) {
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    let server = Server::new(listener, move |mut stream| {
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            counted.fetch_add(read, Relaxed);
        }
    });
    (server, received)
}

/// A server that notes the requests it receives, and answers each.
fn noting(listener: TcpListener) -> (Server, Arc<Mutex<Vec<String>>>) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&requests);
    let server = Server::new(listener, move |mut stream| {
        let request = read_until(&mut stream, b"\r\n\r\n");
        noted.lock().unwrap().push(String::from_utf8(request).unwrap());
        let _ = stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
    });
    (server, requests)
}

/// The agent's answer to a canary with these further header lines.
fn ask(world: &World, canary: &str, headers: &str) -> Value {
    let mut client = world.connect(8080);
    write!(client, "GET / HTTP/1.1\r\nHost: shop\r\n{headers}x-mirrord-canary: {canary}\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{answer}");
    serde_json::from_str(body).unwrap()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_canary_reaches_the_side_it_would_go_to_and_runs_no_handler() {
    let key = "baggage: mirrord-session=pr-1\r\n";
    let world = World::new();
    let (app, app_bytes) = counting(world.listen(Place::Pod, "0.0.0.0", 8080));
    let (preview, requests) = noting(world.listen(Place::Preview, PREVIEW4, 8080));
    let mut agent = Agent::start(&world, &[]);
    let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &json!({"baggage": "pr-1"}));
    rules["canary"] = "secret".into();
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");

    // A canary reaches the side that it would go to, and not the other.
    let reached = |found: Value, matched: bool, accepted: (usize, usize)| {
        assert_eq!(found, json!({"matched": matched}));
        wait_until("it is accepted", || (app.accepted(), preview.accepted()) == accepted);
    };
    reached(ask(&world, "secret", key), true, (1, 1));
    reached(ask(&world, "secret", ""), false, (2, 1));
    reached(ask(&world, "secret reach", ""), false, (3, 2));
    reached(ask(&world, "secret", ""), false, (4, 2));

    // The answer says that the preview is unreachable.
    drop(preview);
    let found = ask(&world, "secret", key);
    assert_eq!(found["matched"], true);
    assert!(found["unreached"].as_str().unwrap().contains("Connection refused"), "{found}");
    assert_eq!(app_bytes.load(Relaxed), 0, "the application got no request");
    // Servers answer this one themselves.
    let requests = requests.lock().unwrap();
    assert!(requests.iter().all(|one| one.starts_with("OPTIONS * HTTP/1.1\r\n")), "{requests:?}");
    let counts = agent.counts("s1");
    assert_eq!(
        (&counts["passed"], &counts["matched"]),
        (&0.into(), &0.into()),
        "canaries are not counted: {counts}"
    );

    // Without the secret, it is an ordinary request.
    let mut client = world.connect(8080);
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nx-mirrord-canary: secrets\r\n\r\n").unwrap();
    wait_until("the application is asked", || app_bytes.load(Relaxed) > 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_accepts_connections_and_closes_them_does_not_count_as_reached() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let mut agent = Agent::start(&world, &[]);
    let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &json!({"baggage": "pr-1"}));
    rules["canary"] = "secret".into();
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    let found = ask(&world, "secret", "baggage: mirrord-session=pr-1\r\n");
    let why = format!("{PREVIEW4}:8080: it closes the connection without an answer");
    assert_eq!(found, json!({"matched": true, "unanswered": why}));
    assert_eq!(preview.accepted(), 2, "once for HTTP/1 and once for HTTP/2");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_canary_is_answered_when_the_server_speaks_first() {
    let world = World::new();
    let spoken = Arc::new(AtomicUsize::new(0));
    let speaks = Arc::clone(&spoken);
    let received = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&received);
    // Like gRPC's servers in Go: HTTP/2 settings for every client.
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
        stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).unwrap();
        speaks.fetch_add(1, Relaxed);
        let mut buffer = [0; 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            counted.fetch_add(read, Relaxed);
        }
    });
    let mut agent = Agent::start(&world, &[]);
    let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &json!({"baggage": "pr-1"}));
    rules["canary"] = "secret".into();
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    for round in 1..=20 {
        let mut client = world.connect(8080);
        wait_until("the server has spoken", || spoken.load(Relaxed) == round);
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\nx-mirrord-canary: secret\r\n\r\n").unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK") && answer.ends_with(r#"{"matched":false}"#),
            "{answer}"
        );
    }
    assert_eq!(received.load(Relaxed), 0, "neither side got a request");
    // Every other HTTP/1 client gets the server's greeting.
    let mut client = world.connect(8080);
    wait_until("the server has spoken", || spoken.load(Relaxed) == 21);
    client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    let mut settings = [0; 9];
    client.read_exact(&mut settings).unwrap();
    assert_eq!(settings, [0, 0, 0, 4, 0, 0, 0, 0, 0]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_canary_runs_no_handler_where_the_agent_does_not_read_the_connection() {
    let filter = json!({"all_of": [{"method": "DELETE"}, {"path": "^/orders/1$"}]});
    for (arguments, is_read) in [(&[][..], true), (&["--memory-mebibytes", "1"], false)] {
        let world = World::new();
        let heard = Arc::new(Mutex::new(Vec::new()));
        let written = Arc::clone(&heard);
        let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                written.lock().unwrap().extend_from_slice(&buffer[..read]);
                stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").unwrap();
            }
        });
        let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
        let mut agent = Agent::start(&world, arguments);
        let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &filter);
        rules["canary"] = "secret".into();
        assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
        if !is_read {
            wait_until("the budget was checked", || agent.log().contains("\"exceeded\":true"));
        }
        for _ in 0..3 {
            let mut client = world.connect(8080);
            let canary = "x-mirrord-canary-request: DELETE /orders/1\r\nx-mirrord-canary: secret\r\n";
            write!(client, "OPTIONS / HTTP/1.1\r\nhost: shop\r\nconnection: close\r\n{canary}\r\n").unwrap();
            let end = if is_read { &br#"{"matched":true}"#[..] } else { b"connection: close\r\n\r\n" };
            read_until(&mut client, end);
        }
        let heard = String::from_utf8(heard.lock().unwrap().clone()).unwrap();
        let first_lines =
            heard.split("\r\n\r\n").filter(|head| !head.is_empty()).map(|head| head.lines().next());
        let wanted = if is_read { 0 } else { 3 };
        assert_eq!(first_lines.collect::<Vec<_>>(), vec![Some("OPTIONS / HTTP/1.1"); wanted]);
    }
}
