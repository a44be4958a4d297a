//! Matched uploads that end early: the rest of them reaches neither the application
//! nor the preview.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::Duration;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{MAX_WAIT, PREVIEW4, Place, World, read_until};

const NEXT: &[u8] = b"GET /next HTTP/1.1\r\nHost: shop\r\n\r\n";

/// An application that records the bytes it receives, and answers each head.
fn recorder(world: &World) -> (Server, Arc<Mutex<Vec<u8>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let received = Arc::clone(&seen);
    let app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
        let mut buffer = vec![0; 64 * 1024];
        while let Ok(read @ 1..) = stream.read(&mut buffer) {
            let mut received = received.lock().unwrap();
            received.extend_from_slice(&buffer[..read]);
            if received.ends_with(b"\r\n\r\n") {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\napp\n").unwrap();
            }
        }
    });
    (app, seen)
}

/// Writes as much as the other side takes. Returns whether that was all.
fn write_most(stream: &mut TcpStream, bytes: &[u8]) -> bool {
    stream.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let mut at = 0;
    while at < bytes.len() {
        match stream.write(&bytes[at..]) {
            Ok(written) => at += written,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return false,
            Err(error) => panic!("{error}"),
        }
    }
    true
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_rest_of_a_body_that_the_preview_does_not_read_is_discarded() {
    let world = World::new();
    let (_app, seen) = recorder(&world);
    // Answers each head when told to, however much of the body has arrived.
    let (tell, told) = mpsc::channel::<()>();
    let told = Mutex::new(told);
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), move |mut stream| {
        let mut byte = [0];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        told.lock().unwrap().recv().unwrap();
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npreview\n");
        thread::sleep(MAX_WAIT);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let hidden = b"GET /hidden HTTP/1.1\r\nHost: shop\r\n\r\n";
    let mut asked = 0;
    let mut open = Vec::new();
    for length in (16..=23).flat_map(|power| [1 << power, 3 << (power - 1)]) {
        let mut client = world.connect(8080);
        let key = "baggage: mirrord-session=pr-1\r\n";
        write!(client, "POST / HTTP/1.1\r\n{key}Content-Length: {length}\r\n\r\n").unwrap();
        let body = [vec![b'x'; length - hidden.len()], hidden.to_vec()].concat();
        let is_whole = write_most(&mut client, &body);
        tell.send(()).unwrap();
        read_until(&mut client, b"preview\n");
        open.push((length, is_whole, client));
    }
    for (length, is_whole, mut client) in open {
        let mut answer = Vec::new();
        if is_whole && client.write_all(NEXT).is_ok() {
            let mut buffer = [0; 1024];
            while !answer.ends_with(b"app\n") {
                match client.read(&mut buffer) {
                    Ok(read @ 1..) => answer.extend_from_slice(&buffer[..read]),
                    _ => break,
                }
            }
        }
        let is_answered = answer.ends_with(b"app\n");
        assert!(is_answered || answer.is_empty(), "{length}: {:?}", String::from_utf8_lossy(&answer));
        asked += usize::from(is_answered);
    }
    assert!(asked > 0, "what the preview's socket held whole goes on");
    assert_eq!(String::from_utf8_lossy(&seen.lock().unwrap()), String::from_utf8_lossy(&NEXT.repeat(asked)));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_responds_before_it_reads_the_body_keeps_its_connection() {
    const LENGTH: usize = 8 << 20;
    let world = World::new();
    let (_app, _seen) = recorder(&world);
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let mut byte = [0];
        loop {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") {
                if stream.read(&mut byte).unwrap_or(0) == 0 {
                    return;
                }
                head.push(byte[0]);
            }
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npreview\n").unwrap();
            stream.read_exact(&mut vec![0; LENGTH]).unwrap();
        }
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    let key = "baggage: mirrord-session=pr-1\r\n";
    for _ in 0..3 {
        write!(client, "POST / HTTP/1.1\r\n{key}Content-Length: {LENGTH}\r\n\r\n").unwrap();
        client.write_all(&vec![b'x'; LENGTH]).unwrap();
        read_until(&mut client, b"preview\n");
        client.write_all(NEXT).unwrap();
        read_until(&mut client, b"app\n");
    }
    assert_eq!(preview.accepted(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn bytes_behind_a_response_of_the_preview_answer_no_later_request() {
    let world = World::new();
    let (_app, _seen) = recorder(&world);
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        let answer = b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\npreview\n";
        stream.write_all(&[answer, &answer[..20]].concat()).unwrap();
        let _ = stream.read(&mut [0]);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    for _ in 0..2 {
        client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
        assert!(read_until(&mut client, b"preview\n").starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    assert_eq!(preview.accepted(), 2, "the rest of its bytes would be taken for the next response");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_that_resets_its_upload_resets_the_preview() {
    let world = World::new();
    let (_app, _seen) = recorder(&world);
    let (tell, told) = mpsc::channel();
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), move |mut stream| {
        stream.set_read_timeout(Some(MAX_WAIT / 2)).unwrap();
        read_until(&mut stream, b"half");
        tell.send(None).unwrap();
        tell.send(Some(stream.read(&mut [0]).map_err(|error| error.kind()))).unwrap();
    });
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    let head = "POST / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\nContent-Length: 8\r\n\r\nhalf";
    client.write_all(head.as_bytes()).unwrap();
    assert_eq!(told.recv_timeout(MAX_WAIT).unwrap(), None);
    socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO)).unwrap();
    drop(client);
    assert_eq!(told.recv_timeout(MAX_WAIT).unwrap(), Some(Err(ErrorKind::ConnectionReset)));
    assert_eq!(agent.counts("s1")["unavailable"], 0);
}
