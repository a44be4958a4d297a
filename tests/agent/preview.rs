//! Previews that are slow, break off or are replaced, and applications that are
//! restarted: other connections are not affected.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};
use socket2::SockRef;

use crate::http2;
use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::shop::Shop;
use crate::support::{OTHER_PREVIEW4, PREVIEW4, Place, World, read_until, wait_until};

const PLAIN: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
const KEYED: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\nbaggage: mirrord-session=pr-1\r\n\r\n";

/// Makes these pods the session's preview.
fn move_preview(agent: &mut Agent, ports: &[u16], pods: &Value) {
    let mut rules = agent.snapshot("s1", "pr-1", "steal", ports, &json!({"baggage": "pr-1"}));
    rules["preview"] = pods.clone();
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
}

fn reset(stream: &TcpStream) {
    SockRef::from(stream).set_linger(Some(Duration::ZERO)).unwrap();
}

/// Answers once: one half at once and the other after `pause`.
fn halves(pause: Duration) -> impl Fn(TcpStream) {
    move |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nfirst");
        thread::sleep(pause);
        let _ = stream.write_all(b" last");
        let _ = stream.read(&mut [0]);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_slow_preview_delays_its_own_requests_only() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), halves(Duration::from_secs(2)));
    let _agent = Agent::stealing(&world, &[8080]);
    let mut waiting: Vec<_> = (0..50).map(|_| world.connect(8080)).collect();
    for client in &mut waiting {
        client.write_all(KEYED).unwrap();
    }
    let start = Instant::now();
    let mut other = world.connect(8080);
    for _ in 0..100 {
        other.write_all(PLAIN).unwrap();
        read_until(&mut other, b"app / 0\n");
    }
    let elapsed = start.elapsed();
    report!("100 requests beside 50 that wait for a slow preview: {elapsed:?}");
    assert!(elapsed < Duration::from_secs(1), "{elapsed:?}");
    for client in &mut waiting {
        read_until(client, b"first last");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_resets_half_way_resets_that_client_only() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf").unwrap();
        thread::sleep(Duration::from_millis(100));
        reset(&stream);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let (mut one, mut other) = (world.connect(8080), world.connect(8080));
    one.write_all(KEYED).unwrap();
    read_until(&mut one, b"half");
    assert_eq!(one.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    other.write_all(PLAIN).unwrap();
    read_until(&mut other, b"app / 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_resets_under_http2_ends_its_own_streams_only() {
    let (world, runtime) = (World::new(), http2::runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = world.listen(Place::Preview, PREVIEW4, 8080);
    preview.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let preview = tokio::net::TcpListener::from_std(preview).unwrap();
        let (stream, _) = preview.accept().await.unwrap();
        SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
        let mut connection = h2::server::handshake(stream).await.unwrap();
        let (_request, mut respond) = connection.accept().await.unwrap().unwrap();
        let mut body = respond.send_response(http::Response::new(()), false).unwrap();
        body.send_data(Bytes::from("half"), false).unwrap();
        let on = std::future::poll_fn(|context| connection.poll_closed(context));
        // Half of the response is sent; then the connection is dropped with a reset.
        let _ = tokio::time::timeout(Duration::from_millis(200), on).await;
    });
    let mut agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = http2::connect(client).await;
        let (response, _) = sender.send_request(http2::request("/", Some("pr-1")), true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        assert!(body.data().await.unwrap().is_err(), "half a response is not a whole one");
        let (response, _) = sender.send_request(http2::request("/", None), true).unwrap();
        assert_eq!(response.await.unwrap().headers()["x-served-by"], "app");
        // The preview no longer listens.
        let (response, _) = sender.send_request(http2::request("/", Some("pr-1")), true).unwrap();
        assert_eq!(response.await.unwrap().status(), 503);
    });
    assert_eq!(agent.counts("s1")["unavailable"], 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_replaced_preview_finishes_its_requests_and_the_next_one_goes_to_the_successor() {
    let (world, runtime) = (World::new(), http2::runtime());
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _old = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), halves(Duration::from_secs(1)));
    let _new = Server::http(world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "new");
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8081), "app");
    http2::serve(&runtime, world.listen(Place::Preview, PREVIEW4, 8081), "old");
    http2::serve(&runtime, world.listen(Place::Preview, OTHER_PREVIEW4, 8081), "new");
    let mut agent = Agent::stealing(&world, &[8080, 8081]);
    let mut client = world.connect(8080);
    client.write_all(KEYED).unwrap();
    read_until(&mut client, b"first");
    let stream = world.connect(8081);
    runtime.block_on(async {
        let mut sender = http2::connect(stream).await;
        let (under_way, mut body) = sender.send_request(http2::request("/", Some("pr-1")), false).unwrap();
        body.send_data(Bytes::from("abc"), false).unwrap();
        tokio::time::sleep(Duration::from_millis(200)).await;
        move_preview(&mut agent, &[8080, 8081], &json!([OTHER_PREVIEW4]));
        let (next, _) = sender.send_request(http2::request("/next", Some("pr-1")), true).unwrap();
        assert_eq!(next.await.unwrap().headers()["x-served-by"], "new");
        body.send_data(Bytes::from("def"), true).unwrap();
        let response = under_way.await.unwrap();
        assert_eq!(http2::drain(&mut response.into_body()).await.0, b"old / 6");
    });
    read_until(&mut client, b" last");
    client.write_all(KEYED).unwrap();
    read_until(&mut client, b"new / 0\n");
    move_preview(&mut agent, &[8080, 8081], &json!([]));
    client.write_all(KEYED).unwrap();
    let answer = String::from_utf8(read_until(&mut client, b"\n")).unwrap();
    assert!(answer.contains("503") && answer.contains("no preview pod is ready"), "{answer}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_application_that_is_restarted_binds_its_port_while_clients_hold_connections() {
    let world = World::new();
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let app = Shop::start(&world);
    wait_until("the application listens", || world.try_connect(Place::Pod, "127.0.0.1", 8080).is_ok());
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut held: Vec<_> = (0..20).map(|_| world.connect(8080)).collect();
    let (last, others) = held.split_last_mut().unwrap();
    for client in others.iter_mut() {
        client.write_all(PLAIN).unwrap();
        read_until(client, b"\n");
    }
    // An exchange with the preview is under way, and outlives the application.
    last.write_all(KEYED).unwrap();
    read_until(last, b"preview / 0\n");
    drop(app);
    for client in others {
        let end = client.read(&mut [0]);
        assert!(matches!(&end, Ok(0)) || end.is_err(), "the application is gone, and so is its connection");
    }
    wait_until("connections are refused", || {
        world.try_connect(Place::Client, crate::support::POD4, 8080).is_err()
    });
    let mut app = Shop::start(&world);
    wait_until("it is captured again", || agent.status()["captured"] != json!([]));
    assert!(app.is_running());
    for (request, end) in [(PLAIN, "\n"), (KEYED, "preview / 0\n")] {
        let mut client = world.connect(8080);
        client.write_all(request).unwrap();
        read_until(&mut client, end.as_bytes());
    }
    let counts = agent.counts("s1");
    assert_eq!((&counts["passed"], &counts["matched"]), (&20.into(), &2.into()), "{counts}");
}
