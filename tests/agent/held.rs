//! The agent does not keep clients or applications waiting without need.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::{Domain, Socket, Type};

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{POD4, PREVIEW4, Place, World, read_until, wait_until};

const KEY: &str = "baggage: mirrord-session=pr-1\r\n";

#[test]
#[ignore = "needs root and network namespaces"]
fn requests_after_a_matched_upgrade_to_h2c_are_judged() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let head = read_until(&mut stream, b"\r\n\r\n");
        let switches = String::from_utf8(head).unwrap().to_lowercase().contains("upgrade: h2c");
        let answer: &[u8] = if switches {
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: h2c\r\n\r\npreview\n"
        } else {
            b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npreview\n"
        };
        stream.write_all(answer).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    let settings = "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABk\r\n";
    write!(client, "GET / HTTP/1.1\r\nHost: shop\r\n{KEY}{settings}\r\n").unwrap();
    assert!(read_until(&mut client, b"preview\n").starts_with(b"HTTP/1.1 200 OK\r\n"));
    client.write_all(b"GET /next HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
    read_until(&mut client, b"app /next 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_body_that_no_filter_looks_at_is_not_awaited() {
    let world = World::new();
    let (tell, told) = mpsc::channel();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream: TcpStream| {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            if stream.read(&mut byte).unwrap_or(0) == 0 {
                return;
            }
            head.push(byte[0]);
        }
        tell.send(Instant::now()).unwrap();
        let _ = stream.read(&mut byte);
    });
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    let filter = json!({"body": {"query": "$.user", "matches": "^ann$"}});
    let extension = format!("1;{}", "x".repeat(10_000));
    let extensions = format!("{extension}\r\na\r\n").repeat(20);
    for (mode, head, body) in [
        ("steal", "Expect: 100-continue\r\nContent-Length: 14\r\n", ""),
        ("steal", "Content-Length: 100000\r\n", "{\"user\""),
        ("steal", "Transfer-Encoding: chunked\r\n", extensions.as_str()),
        ("mirror", "Content-Length: 14\r\n", "{\"user\""),
    ] {
        assert_eq!(agent.rules("s1", "pr-1", mode, &[8080], &filter)["type"], "accepted");
        let mut client = world.connect(8080);
        write!(client, "POST / HTTP/1.1\r\n{head}\r\n{body}").unwrap();
        let written = Instant::now();
        let taken = told.recv_timeout(Duration::from_secs(5)).unwrap().saturating_duration_since(written);
        assert!(taken < Duration::from_millis(700), "{mode} {head}: {taken:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_application_is_not_dialled_for_a_client_that_has_gone() {
    let world = World::new();
    let listener = world.within(Place::Pod, || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&"0.0.0.0:8080".parse::<std::net::SocketAddr>().unwrap().into()).unwrap();
        socket.listen(1).unwrap();
        socket
    });
    let mut agent = Agent::stealing(&world, &[8080]);
    // As many as the application's queue holds; further ones wait.
    let waiting: Vec<_> = (0..4).map(|_| world.try_connect(Place::Client, POD4, 8080).unwrap()).collect();
    wait_until("all are served", || agent.status()["connections"] == 4);
    for (number, client) in waiting.into_iter().enumerate() {
        let mut client = client;
        if number % 2 == 0 {
            client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
            socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
        }
        drop(client);
    }
    wait_until("no dial is under way", || agent.status()["connections"].as_u64() <= Some(2));
    drop(listener);
}
