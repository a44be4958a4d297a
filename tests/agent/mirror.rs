//! Copies reach the preview, and never delay the original.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Response};
use serde_json::json;

use crate::http2;
use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{OTHER_PREVIEW4, PREVIEW4, Place, World, read_until, wait_until};

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stuck_mirror_delays_no_request_and_its_copies_are_counted() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _stuck = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let mut agent = Agent::start(&world, &[]);
    // The path decides whether a request is mirrored.
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let mut client = world.connect(8080);
    let body = vec![b'x'; 64 * 1024];
    let mut takes = |path: &str| {
        let start = Instant::now();
        for _ in 0..400 {
            write!(client, "POST {path} HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
            client.write_all(&body).unwrap();
            read_until(&mut client, format!("app {path} 65536\n").as_bytes());
        }
        start.elapsed()
    };
    let (before, mirrored, after) = (takes("/"), takes("/m"), takes("/"));
    let counts = agent.counts("s1");
    report!(
        "400 requests of 64 KiB beside a stuck mirror: {mirrored:?}; unmirrored {before:?}, {after:?}; {counts}"
    );
    assert!(mirrored < before.max(after) * 3, "{mirrored:?}, unmirrored {before:?}, {after:?}");
    assert!(counts["dropped"].as_u64().unwrap() > 300, "{counts}");
    assert!(agent.memory_kibibytes("VmRSS:") < 64 * 1024);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_mirror_gets_copies_of_matching_requests() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let mut client = world.connect(8080);
    for path in ["/m1", "/other", "/m2", "/m3"] {
        write!(client, "GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        read_until(&mut client, format!("app {path} 0\n").as_bytes());
    }
    wait_until("three copies are counted", || agent.counts("s1")["mirrored"] == 3);
    assert_eq!(agent.counts("s1")["passed"], 1);
    assert_eq!(preview.accepted(), 1, "one connection for all copies of one client connection");
}

/// Sends one request with a body and trailers, which the application answers.
async fn post(sender: &SendRequest<Bytes>, path: &str, body: Bytes) {
    let mut sender = sender.clone().ready().await.unwrap();
    let length = body.len();
    let (response, mut up) = sender.send_request(http2::request(path, None), false).unwrap();
    up.send_data(body, false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("x-end", path.parse().unwrap());
    up.send_trailers(trailers).unwrap();
    let response = response.await.unwrap();
    assert_eq!(response.headers()["x-served-by"], "app");
    let (text, _) = http2::drain(&mut response.into_body()).await;
    assert_eq!(text, format!("app {path} {length}").into_bytes());
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_mirror_gets_copies_of_http2_streams_with_bodies_and_trailers() {
    let (world, runtime) = (World::new(), http2::runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let (seen, listener) = (Arc::new(Mutex::new(Vec::new())), world.listen(Place::Preview, PREVIEW4, 8080));
    listener.set_nonblocking(true).unwrap();
    let copies = Arc::clone(&seen);
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        while let Some(Ok((request, mut respond))) = connection.accept().await {
            let copies = Arc::clone(&copies);
            tokio::spawn(async move {
                let (path, key) = (request.uri().path().to_owned(), request.headers()["x-big"].len());
                let (body, trailers) = http2::drain(&mut request.into_body()).await;
                let end = trailers.map(|trailers| trailers["x-end"].to_str().unwrap().to_owned());
                // The agent discards this response, which is longer than any window.
                let response = Response::builder().status(500).body(()).unwrap();
                let mut answer = respond.send_response(response, false).unwrap();
                answer.send_data(Bytes::from(vec![b'x'; 3_000_000]), true).unwrap();
                copies.lock().unwrap().push((path, key, body.len(), end));
            });
        }
    });
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let client = world.connect(8080);
    runtime.block_on(async {
        let sender = http2::connect(client).await;
        for (path, length) in [("/m0", 0), ("/m1", 10), ("/other", 10), ("/m2", 300_000)] {
            post(&sender, path, Bytes::from(vec![b'x'; length])).await;
        }
        let mut sender = sender.ready().await.unwrap();
        let (response, _) = sender.send_request(http2::request("/m3", None), true).unwrap();
        assert_eq!(response.await.unwrap().headers()["x-served-by"], "app");
    });
    wait_until("four copies are counted", || agent.counts("s1")["mirrored"] == 4);
    wait_until("four copies have arrived", || seen.lock().unwrap().len() == 4);
    let mut seen = seen.lock().unwrap().clone();
    seen.sort();
    let copy =
        |path: &str, length, end: bool| (path.to_owned(), 20_000, length, end.then(|| path.to_owned()));
    let expected =
        [copy("/m0", 0, true), copy("/m1", 10, true), copy("/m2", 300_000, true), copy("/m3", 0, false)];
    assert_eq!(seen, expected);
    let counts = agent.counts("s1");
    assert_eq!((&counts["passed"], &counts["dropped"]), (&1.into(), &0.into()), "{counts}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stuck_mirror_delays_no_http2_stream_and_its_copies_are_counted() {
    let (world, runtime) = (World::new(), http2::runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _stuck = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let client = world.connect(8080);
    let [before, mirrored, after] = runtime.block_on(async {
        let sender = http2::connect(client).await;
        let mut taken = [Duration::ZERO; 3];
        for (path, taken) in ["/", "/m", "/"].into_iter().zip(&mut taken) {
            let start = Instant::now();
            for _ in 0..200 {
                post(&sender, path, Bytes::from(vec![b'x'; 64 * 1024])).await;
            }
            *taken = start.elapsed();
        }
        taken
    });
    let counts = agent.counts("s1");
    report!(
        "200 streams of 64 KiB beside a stuck mirror: {mirrored:?}; unmirrored {before:?}, {after:?}; {counts}"
    );
    assert!(mirrored < before.max(after) * 3, "{mirrored:?}, unmirrored {before:?}, {after:?}");
    assert!(counts["dropped"].as_u64().unwrap() > 100, "{counts}");
    assert!(agent.memory_kibibytes("VmRSS:") < 64 * 1024);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_upgrade_is_not_copied_and_counts_as_dropped() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n").unwrap();
        let mut byte = [0];
        while let Ok(1) = stream.read(&mut byte) {
            stream.write_all(&byte).unwrap();
        }
    });
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "/"}));
    let mut client = world.connect(8080);
    client.write_all(b"GET /chat HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
    read_until(&mut client, b"\r\n\r\n");
    client.write_all(b"both ways").unwrap();
    read_until(&mut client, b"both ways");
    let counts = agent.counts("s1");
    assert_eq!((&counts["dropped"], &counts["mirrored"]), (&1.into(), &0.into()), "{counts}");
    assert_eq!(preview.accepted(), 0);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_copy_counts_once_a_pod_of_the_preview_responds() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    // It reads one request and closes.
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let head = read_until(&mut stream, b"\r\n\r\n");
        if head.starts_with(b"GET /m") {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
        }
    });
    let other = Server::http(world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "other");
    let mut agent = Agent::start(&world, &[]);
    let take = |agent: &mut Agent, pod: &str| {
        let mut rules = agent.snapshot("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/"}));
        rules["preview"] = json!([pod]);
        assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    };
    take(&mut agent, PREVIEW4);
    let mut client = world.connect(8080);
    let mut ask = |path: &str| {
        write!(client, "GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        read_until(&mut client, format!("app {path} 0\n").as_bytes());
    };
    for copies in 1..=3 {
        ask("/m");
        wait_until("the copy is answered", || agent.counts("s1")["mirrored"] == copies);
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(preview.accepted(), 3, "a connection that was closed carries no copy");
    ask("/lost");
    wait_until("a copy without a response is dropped", || agent.counts("s1")["dropped"] == 1);
    take(&mut agent, OTHER_PREVIEW4);
    for _ in 0..2 {
        ask("/m");
    }
    wait_until("the others are counted", || agent.counts("s1")["mirrored"] == 5);
    assert_eq!(other.accepted(), 1);
    take(&mut agent, PREVIEW4);
    ask("/m");
    wait_until("a pod that left the preview gets no more copies", || preview.accepted() == 5);
}

/// A filter over the content of a body.
fn ann() -> serde_json::Value {
    json!({"body": {"query": "$.user", "matches": "^ann$"}})
}

/// Answers requests whose paths are the lengths of their bodies. Sends `interim`
/// after each head, and calls `record` with each request.
fn answer_by_length(mut stream: TcpStream, interim: &str, record: impl Fn(&[u8])) {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while let Ok(1) = stream.read(&mut byte) {
        bytes.push(byte[0]);
        if bytes.ends_with(b"\r\n\r\n") {
            stream.write_all(interim.as_bytes()).unwrap();
            let head = String::from_utf8_lossy(&bytes).into_owned();
            let mut body = vec![0; head.split(['/', ' ']).nth(2).unwrap().parse().unwrap()];
            if stream.read_exact(&mut body).is_err() {
                return;
            }
            bytes.append(&mut body);
            record(&bytes);
            bytes.clear();
            stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").unwrap();
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_body_filter_of_a_mirror_sees_later_pieces_and_delays_nothing() {
    const CONTINUE: &str = "HTTP/1.1 100 Continue\r\n\r\n";
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |stream| {
        answer_by_length(stream, CONTINUE, |_| {});
    });
    let seen = Arc::new(Mutex::new(Vec::new()));
    let copied = Arc::clone(&seen);
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), move |stream| {
        answer_by_length(stream, "", |bytes| copied.lock().unwrap().extend_from_slice(bytes));
    });
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &ann());
    let mut client = world.connect(8080);
    let json = |user: &str, more: usize| format!(r#"{{"user":"{user}","more":"{}"}}"#, "x".repeat(more));
    let sized = |body: String| (format!("Content-Length: {}", body.len()), body);
    let chunks = "7;ext=1\r\n{\"user\"\r\n7\r\n:\"ann\"}\r\n0\r\nend: of\r\n\r\n".to_owned();
    let chunk = |content: &str| format!("{:x}\r\n{content}\r\n", content.len());
    let mut expected = String::new();
    for (is_copied, (framing, body)) in [
        (true, sized(json("ann", 0))),
        (false, sized(json("bob", 0))),
        (true, ("Transfer-Encoding: chunked".to_owned(), chunks)),
        (false, sized(json("ann", 100_000))),
        (
            false,
            (
                "Transfer-Encoding: chunked".to_owned(),
                chunk(&json("ann", 60_000)) + &chunk(&" ".repeat(9_000)) + "0\r\n\r\n",
            ),
        ),
        (true, sized(json("ann", 50_000))),
        (false, sized(String::new())),
    ] {
        let head = format!("POST /{} HTTP/1.1\r\n{framing}\r\n\r\n", body.len());
        client.write_all(head.as_bytes()).unwrap();
        if !body.is_empty() {
            read_until(&mut client, CONTINUE.as_bytes());
        }
        for piece in [&body[..body.len() / 2], &body[body.len() / 2..]] {
            client.write_all(piece.as_bytes()).unwrap();
            thread::sleep(Duration::from_millis(20));
        }
        read_until(&mut client, b"204 No Content\r\n\r\n");
        if is_copied {
            expected.push_str(&(head + &body));
        }
    }
    wait_until("three copies are counted", || agent.counts("s1")["mirrored"] == 3);
    let counts = agent.counts("s1");
    assert_eq!((&counts["passed"], &counts["dropped"]), (&4.into(), &0.into()), "{counts}");
    assert!(*seen.lock().unwrap() == expected.as_bytes());
    // A request that broke off half way matches no filter.
    client.write_all(b"POST /14 HTTP/1.1\r\nContent-Length: 14\r\n\r\n{").unwrap();
    read_until(&mut client, CONTINUE.as_bytes());
    drop(client);
    wait_until("the request is counted", || agent.counts("s1")["passed"] == 5);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_request_decided_by_its_head_does_not_wait_for_body_filters_of_mirrors() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mirror = Server::http(world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "mirror");
    let mut agent = Agent::start(&world, &[]);
    agent.steal(&[8080]);
    for (session, filter) in [("s2", json!({"path": "/"})), ("s3", ann()), ("s4", ann())] {
        let mut rules = agent.snapshot(session, session, "mirror", &[8080], &filter);
        rules["preview"] = json!([OTHER_PREVIEW4]);
        assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    }
    let mut client = world.connect(8080);
    let body = r#"{"user":"ann"}"#;
    for (number, (head, name)) in
        [("", "app"), ("baggage: mirrord-session=pr-1\r\n", "preview")].into_iter().enumerate()
    {
        write!(client, "POST / HTTP/1.1\r\n{head}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        wait_until("the copy has begun", || mirror.accepted() == 2 * number + 1 || number > 0);
        let counts =
            |agent: &mut Agent, session: &str, what: &str| agent.counts(session)[what].as_u64().unwrap();
        wait_until("the request is counted", || {
            counts(&mut agent, "s1", "matched") + counts(&mut agent, "s1", "passed") == number as u64 + 1
        });
        assert_eq!(counts(&mut agent, "s3", "passed") + counts(&mut agent, "s3", "mirrored"), number as u64);
        client.write_all(body.as_bytes()).unwrap();
        read_until(&mut client, format!("{name} / {}\n", body.len()).as_bytes());
        for session in ["s2", "s3", "s4"] {
            wait_until("the copy is counted", || {
                counts(&mut agent, session, "mirrored") == number as u64 + 1
            });
        }
    }
    assert_eq!((preview.accepted(), mirror.accepted()), (1, 3));
    let matched = agent.counts("s1");
    assert_eq!((&matched["matched"], &matched["passed"]), (&1.into(), &1.into()), "{matched}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_kept_for_a_filter_count_against_the_sessions_budget() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &ann());
    // Each sends 60 KB of its body. Together that is more than the 4 MiB of a session.
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let mut client = world.connect(8080);
            write!(client, "POST / HTTP/1.1\r\nContent-Length: 65000\r\n\r\n{}", " ".repeat(60_000)).unwrap();
            client
        })
        .collect();
    wait_until("some copies are given up", || agent.counts("s1")["dropped"].as_u64() > Some(25));
    drop(clients);
    wait_until("all requests are counted", || {
        let counts = agent.counts("s1");
        counts["dropped"].as_u64().unwrap() + counts["passed"].as_u64().unwrap() == 100
    });
    // Once there is room, bytes are kept again.
    let mut client = world.connect(8080);
    let dropped = agent.counts("s1")["dropped"].as_u64();
    write!(client, "POST / HTTP/1.1\r\nContent-Length: 60000\r\n\r\n{}", " ".repeat(60_000)).unwrap();
    read_until(&mut client, b"app / 60000\n");
    assert_eq!(agent.counts("s1")["dropped"].as_u64(), dropped);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_body_filter_of_a_mirror_sees_http2_data_and_delays_nothing() {
    let (world, runtime) = (World::new(), http2::runtime());
    let seen = Arc::new(Mutex::new(Vec::new()));
    for (place, address) in [(Place::Pod, "0.0.0.0"), (Place::Preview, PREVIEW4)] {
        let (listener, seen) = (world.listen(place, address, 8080), Arc::clone(&seen));
        listener.set_nonblocking(true).unwrap();
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let mut connection = h2::server::handshake(stream).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                let seen = Arc::clone(&seen);
                tokio::spawn(async move {
                    // The response begins before the request is whole.
                    let mut answer = respond.send_response(Response::new(()), false).unwrap();
                    let (body, trailers) = http2::drain(&mut request.into_body()).await;
                    answer.send_data(Bytes::from("answer"), true).unwrap();
                    if place == Place::Preview {
                        seen.lock().unwrap().push((body, trailers.is_some()));
                    }
                });
            }
        });
    }
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &ann());
    let client = world.connect(8080);
    let long = |more: usize| format!(r#"{{"user":"ann","more":"{}"}}"#, "x".repeat(more)).into_bytes();
    let (ann_long, too_long) = (long(50_000), long(70_000));
    let bodies = [&br#"{"user":"ann"}"#[..], br#"{"user":"bob"}"#, &ann_long, &too_long, b""];
    runtime.block_on(async {
        let mut sender = http2::connect(client).await;
        for (body, with_trailers) in bodies.into_iter().zip([false, true].into_iter().cycle()) {
            let (response, mut up) = sender.send_request(http2::request("/", None), false).unwrap();
            let mut response =
                tokio::time::timeout(Duration::from_millis(500), response).await.unwrap().unwrap();
            for piece in [&body[..body.len() / 2], &body[body.len() / 2..]] {
                up.send_data(Bytes::copy_from_slice(piece), false).unwrap();
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            if with_trailers {
                up.send_trailers(HeaderMap::new()).unwrap();
            } else {
                up.send_data(Bytes::new(), true).unwrap();
            }
            assert_eq!(http2::drain(response.body_mut()).await.0, b"answer");
            sender = sender.ready().await.unwrap();
        }
    });
    wait_until("two copies are counted", || agent.counts("s1")["mirrored"] == 2);
    let counts = agent.counts("s1");
    assert_eq!((&counts["passed"], &counts["dropped"]), (&3.into(), &0.into()), "{counts}");
    wait_until("two copies have arrived", || seen.lock().unwrap().len() == 2);
    let seen = seen.lock().unwrap();
    assert!(seen.contains(&(bodies[0].to_vec(), false)) && seen.contains(&(ann_long.clone(), false)));
}
