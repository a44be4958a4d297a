//! Applications that serve one connection after the other: requests to a preview
//! keep none of their workers busy.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

const KEYED: &[u8] = b"GET /k HTTP/1.1\r\nHost: shop\r\nbaggage: mirrord-session=pr-1\r\n\r\n";
const UNKEYED: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";

/// Reads one request, answers it and closes, before it serves the next connection.
fn one_worker(listener: TcpListener) -> Server {
    let worker = Mutex::new(());
    Server::new(listener, move |mut stream| {
        let _busy = worker.lock().unwrap();
        let mut head = Vec::new();
        let mut buffer = [0; 1024];
        while !head.ends_with(b"\r\n\r\n") {
            match stream.read(&mut buffer) {
                Ok(0) | Err(_) => return,
                Ok(read) => head.extend_from_slice(&buffer[..read]),
            }
        }
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\napp");
    })
}

/// A preview that answers every request after `pause`.
fn preview(world: &World, pause: Duration, answer: &'static [u8]) -> Server {
    Server::new(world.listen(Place::Preview, PREVIEW4, 8080), move |mut stream: TcpStream| {
        let mut buffer = [0; 1024];
        while let Ok(1..) = stream.read(&mut buffer) {
            thread::sleep(pause);
            stream.write_all(answer).unwrap();
        }
    })
}

/// How long a request without the key takes.
fn unkeyed(world: &World) -> Duration {
    let begun = Instant::now();
    let mut client = world.connect(8080);
    client.write_all(UNKEYED).unwrap();
    read_until(&mut client, b"app");
    begun.elapsed()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_request_to_a_slow_preview_does_not_occupy_the_only_worker() {
    let world = World::new();
    let _app = one_worker(world.listen(Place::Pod, "0.0.0.0", 8080));
    let _preview =
        preview(&world, Duration::from_secs(5), b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npreview");
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(KEYED).unwrap();
    wait_until("the request is the preview's", || agent.counts("s1")["matched"] == 1);
    let taken = unkeyed(&world);
    assert!(taken < Duration::from_secs(1), "{taken:?}");
    read_until(&mut client, b"preview");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_that_keeps_its_connection_after_the_previews_answer_occupies_no_worker() {
    let world = World::new();
    let app = one_worker(world.listen(Place::Pod, "0.0.0.0", 8080));
    let _preview = preview(&world, Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npreview");
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    for _ in 0..2 {
        client.write_all(KEYED).unwrap();
        read_until(&mut client, b"preview");
    }
    let taken = unkeyed(&world);
    assert!(taken < Duration::from_secs(1), "{taken:?}");
    assert_eq!(app.accepted(), 2, "the second request to the preview needs no connection");
    // The same connection, for a request to the application.
    client.write_all(UNKEYED).unwrap();
    read_until(&mut client, b"app");
    assert_eq!(app.accepted(), 3);
    assert_eq!(client.read(&mut [0]).unwrap(), 0, "and the application's close is the client's");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn websockets_and_event_streams_of_a_preview_have_no_connection_to_the_application() {
    const CLIENTS: usize = 100;
    for answer in [
        &b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"[..],
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n",
    ] {
        let world = World::new();
        let open = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&open);
        let app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
            counted.fetch_add(1, Relaxed);
            while let Ok(1..) = stream.read(&mut [0; 1024]) {}
            counted.fetch_sub(1, Relaxed);
        });
        let _preview = preview(&world, Duration::ZERO, answer);
        let _agent = Agent::stealing(&world, &[8080]);
        let clients: Vec<TcpStream> = (0..CLIENTS)
            .map(|_| {
                let mut client = world.connect(8080);
                let upgrade = "Connection: upgrade\r\nUpgrade: websocket\r\n";
                let key = "baggage: mirrord-session=pr-1\r\n";
                write!(client, "GET /k HTTP/1.1\r\nHost: shop\r\n{key}{upgrade}\r\n").unwrap();
                read_until(&mut client, b"\r\n\r\n");
                client
            })
            .collect();
        wait_until("all have been accepted", || app.accepted() == CLIENTS);
        wait_until("the application has no connection", || open.load(Relaxed) == 0);
        drop(clients);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn requests_that_alternate_between_both_sides_do_not_use_up_the_source_ports() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = preview(&world, Duration::ZERO, b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\npreview");
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    let begun = Instant::now();
    for _ in 0..1_000 {
        client.write_all(KEYED).unwrap();
        read_until(&mut client, b"preview");
        client.write_all(UNKEYED).unwrap();
        read_until(&mut client, b"app / 0\n");
    }
    let seconds = begun.elapsed().as_secs() + 1;
    let sockets =
        world.within(Place::Pod, || std::fs::read_to_string("/proc/thread-self/net/sockstat").unwrap());
    let in_use = sockets.split_once(" tw ").unwrap().1.split(' ').next().unwrap();
    let in_use: u64 = in_use.parse().unwrap();
    report!("{in_use} ports wait for a minute after 1,000 connections in {seconds} s");
    assert!(in_use <= 100 * seconds, "{in_use} in {seconds} s");
}
