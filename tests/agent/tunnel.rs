//! Connections that are not HTTP pass unchanged and without delay.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{Place, World, read_until};

fn echo(mut stream: TcpStream) {
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(read @ 1..) = stream.read(&mut buffer) {
        stream.write_all(&buffer[..read]).unwrap();
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_greeting_of_a_server_that_speaks_first_arrives_at_once() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        stream.write_all(b"220 ready\r\n").unwrap();
        echo(stream);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let start = Instant::now();
    let mut client = world.connect(8080);
    read_until(&mut client, b"220 ready\r\n");
    assert!(start.elapsed() < Duration::from_millis(500), "{:?}", start.elapsed());
    client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
    read_until(&mut client, b"pr-1\r\n\r\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_of_other_protocols_are_passed_on_at_once() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), echo);
    let _agent = Agent::stealing(&world, &[8080]);
    for first in [
        &b"\x16\x03\x01\x02\x00\x01\x00"[..],
        b"*1\r\n$4\r\nPING\r\n",
        b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\nGET / HTTP/1.1\r\n\r\n",
        b"\r\n\r\n\x00\r\nQUIT\n",
        b"\0\0\0\x08\x04\xd2\x16\x2f",
        b"EHLO mail\r\n",
    ] {
        let start = Instant::now();
        let mut client = world.connect(8080);
        client.write_all(first).unwrap();
        assert_eq!(read_until(&mut client, first), first);
        assert!(start.elapsed() < Duration::from_millis(500), "{first:?}: {:?}", start.elapsed());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_that_may_become_http_are_held_for_a_limited_time() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), echo);
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(b"HELLO").unwrap();
    assert_eq!(read_until(&mut client, b"HELLO"), b"HELLO");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_request_that_arrives_byte_by_byte_is_judged_when_its_head_is_whole() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::http(world.listen(Place::Preview, crate::support::PREVIEW4, 8080), "preview");
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.set_nodelay(true).unwrap();
    for (name, key) in [("app", "pr-12"), ("preview", "pr-1")] {
        for byte in format!("GET / HTTP/1.1\r\nbaggage: mirrord-session={key}\r\n\r\n").bytes() {
            client.write_all(&[byte]).unwrap();
            thread::sleep(Duration::from_micros(500));
        }
        read_until(&mut client, format!("{name} / 0\n").as_bytes());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_half_closed_connection_stays_half_open() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        let mut all = Vec::new();
        stream.read_to_end(&mut all).unwrap();
        thread::sleep(Duration::from_millis(200));
        stream.write_all(&all).unwrap();
    });
    let _agent = Agent::stealing(&world, &[8080]);
    for sent in [&b"\0binary"[..], b"GET / HTTP/1.1\r\n\r\n", b"GET / HT", b""] {
        let mut client = world.connect(8080);
        client.write_all(sent).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut back = Vec::new();
        client.read_to_end(&mut back).unwrap();
        assert_eq!(back, sent);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_reset_is_passed_on_as_a_reset() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        stream.read_exact(&mut [0; 4]).unwrap();
        socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
    });
    let _agent = Agent::stealing(&world, &[8080]);
    for sent in [&b"\0\0\0\0"[..], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = world.connect(8080);
        client.write_all(sent).unwrap();
        let error = client.read(&mut [0]).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}
