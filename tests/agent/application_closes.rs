//! Applications that close a connection while the agent holds bytes of the client.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until};

const KEYED: &[u8] = b"GET /k HTTP/1.1\r\nHost: shop\r\nbaggage: mirrord-session=pr-1\r\n\r\n";

/// How many bytes the client gets, and how its connection ends.
fn everything(client: &mut TcpStream) -> (usize, Option<ErrorKind>) {
    let mut length = 0;
    let mut buffer = [0; 4096];
    loop {
        match client.read(&mut buffer) {
            Ok(0) => return (length, None),
            Ok(read) => length += read,
            Err(error) => return (length, Some(error.kind())),
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_whole_answer_to_half_a_head_arrives_and_then_the_end() {
    const LENGTH: usize = 300_000;
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        stream.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
        while let Ok(1..) = stream.read(&mut [0; 1024]) {}
        let head =
            format!("HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: {LENGTH}\r\n\r\n");
        let _ = stream.write_all(head.as_bytes());
        let _ = stream.write_all(&vec![b'x'; LENGTH]);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    for _ in 0..5 {
        let mut client = world.connect(8080);
        client.write_all(b"GET / HTTP/1.1\r\nHost: shop\r\n").unwrap();
        // A client that reads a little later than the answer is sent.
        thread::sleep(Duration::from_millis(1_500));
        let (length, error) = everything(&mut client);
        assert!(length > LENGTH && error.is_none(), "{length} bytes, {error:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_behind_a_refused_upgrade_do_not_reset_the_answer() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        let _ =
            stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 2\r\n\r\nno");
    });
    let _agent = Agent::stealing(&world, &[8080]);
    for _ in 0..30 {
        let mut client = world.connect(8080);
        client
            .write_all(b"GET / HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nhello")
            .unwrap();
        let (length, error) = everything(&mut client);
        assert!(length > 60 && error.is_none(), "{length} bytes, {error:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_matched_request_behind_a_response_that_closes_never_reaches_the_application() {
    let world = World::new();
    let (tell, told) = std::sync::mpsc::channel();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
        let mut seen = read_until(&mut stream, b"\r\n\r\n");
        // The matched request has arrived in the meantime.
        thread::sleep(Duration::from_millis(100));
        stream.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\napp").unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
        let _ = stream.read_to_end(&mut seen);
        tell.send(seen).unwrap();
    });
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    let unkeyed = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
    client.write_all(&[unkeyed, KEYED].concat()).unwrap();
    assert_eq!(read_until(&mut client, b"app").len(), 60);
    assert_eq!(everything(&mut client), (0, None));
    assert_eq!(told.recv().unwrap(), unkeyed);
    assert_eq!(preview.accepted(), 0, "the client was told of the close, and expects no second response");
}
