//! Connections from before the capture: kept, or closed if a session asks for that.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{MAX_WAIT, POD6, PREVIEW4, Place, World, read_until, wait_until};

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

fn reset(agent: &mut Agent, ports: &[u16]) {
    let mut rules = agent.snapshot("s1", "pr-1", "steal", ports, &json!({"baggage": "pr-1"}));
    rules["reset"] = json!(true);
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
}

fn is_reset(client: &mut TcpStream) -> bool {
    client.read(&mut [0]).is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
}

#[test]
#[ignore = "needs root and network namespaces"]
fn idle_connections_from_before_the_capture_are_closed_on_request() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "::", 8080), "app");
    let _other = Server::http(world.listen(Place::Pod, "0.0.0.0", 8081), "other");
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let connect = |address, port| world.try_connect(Place::Client, address, port).unwrap();
    let mut before: Vec<_> = [crate::support::POD4, POD6].map(|address| connect(address, 8080)).into();
    let mut elsewhere = connect(crate::support::POD4, 8081);
    for client in before.iter_mut().chain([&mut elsewhere]) {
        client.write_all(REQUEST).unwrap();
        read_until(client, b" / 0\n");
    }
    thread::sleep(Duration::from_millis(400));
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut after = world.connect(8080);
    after.write_all(REQUEST).unwrap();
    read_until(&mut after, b"app / 0\n");
    thread::sleep(Duration::from_millis(400));
    for client in &mut before {
        client.write_all(REQUEST).unwrap();
        read_until(client, b"app / 0\n");
    }
    assert_eq!(agent.status()["predating"], 2, "no session has asked for it yet");
    reset(&mut agent, &[8080]);
    assert!(before.iter_mut().all(is_reset));
    let status = agent.status();
    assert_eq!((&status["reset"], &status["predating"]), (&2.into(), &0.into()), "{status}");
    for (client, name) in [(&mut after, "app"), (&mut elsewhere, "other")] {
        client.write_all(REQUEST).unwrap();
        read_until(client, format!("{name} / 0\n").as_bytes());
    }
    // The client whose connection was closed connects again, and is judged.
    let mut again = world.connect(8080);
    again.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
    read_until(&mut again, b"preview / 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_connection_is_closed_after_its_request_or_after_a_time_limit() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        thread::sleep(Duration::from_secs(2));
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nslow");
        // Until the connection is closed from outside.
        let _ = stream.read(&mut [0]);
    });
    let _stuck = Server::new(world.listen(Place::Pod, "0.0.0.0", 8081), |_stream| {
        thread::sleep(MAX_WAIT * 2);
    });
    let (mut slow, mut stuck) = (world.connect(8080), world.connect(8081));
    slow.write_all(REQUEST).unwrap();
    stuck.write_all(REQUEST).unwrap();
    let mut agent = Agent::start(&world, &[]);
    let begun = Instant::now();
    reset(&mut agent, &[8080, 8081]);
    read_until(&mut slow, b"slow");
    assert!(is_reset(&mut slow));
    let idle = begun.elapsed();
    stuck.set_read_timeout(Some(MAX_WAIT * 2)).unwrap();
    assert!(is_reset(&mut stuck));
    report!("closed: the one that became idle after {idle:?}, the busy one after {:?}", begun.elapsed());
    assert!(begun.elapsed() > Duration::from_secs(5), "a busy connection is kept for a while");
    wait_until("both are counted", || agent.status()["reset"] == 2);
}
