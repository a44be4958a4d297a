//! HTTP/1 through the agent: each request is judged, and relayed byte for byte.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{POD4, PREVIEW4, Place, World, read_until};

/// A pod with an application and a preview, both plain HTTP servers.
struct Shop {
    world: World,
    app: Server,
    preview: Server,
}

impl Shop {
    fn open() -> Self {
        let world = World::new();
        let app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
        let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
        Self { world, app, preview }
    }
}

fn request(path: &str, key: Option<&str>) -> String {
    let baggage = key.map_or_else(String::new, |key| format!("baggage: a=b,mirrord-session={key}\r\n"));
    format!("GET {path} HTTP/1.1\r\nHost: shop\r\n{baggage}\r\n")
}

#[test]
#[ignore = "needs root and network namespaces"]
fn each_request_on_a_connection_goes_to_its_own_side() {
    let shop = Shop::open();
    let mut agent = Agent::stealing(&shop.world, &[8080]);
    let mut client = shop.world.connect(8080);
    for (number, name) in ["app", "preview", "app", "preview", "app"].into_iter().enumerate() {
        let key = (name == "preview").then_some("pr-1");
        client.write_all(request(&format!("/{number}"), key).as_bytes()).unwrap();
        let answer = read_until(&mut client, format!("{name} /{number} 0\n").as_bytes());
        assert!(answer.starts_with(b"HTTP/1.1 200 OK\r\n"));
    }
    let counts = agent.counts("s1");
    assert_eq!((&counts["matched"], &counts["passed"]), (&2.into(), &3.into()), "{counts}");
    assert_eq!(shop.app.accepted(), 3, "one at the start, and one after each request to the preview");
    assert_eq!(shop.preview.accepted(), 1);
    client.write_all(request("/12", Some("pr-12")).as_bytes()).unwrap();
    read_until(&mut client, b"app /12 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn pipelined_requests_are_answered_in_order() {
    let shop = Shop::open();
    let _agent = Agent::stealing(&shop.world, &[8080]);
    let mut client = shop.world.connect(8080);
    let keys = [None, Some("pr-1"), Some("pr-1"), None, None, Some("pr-1"), None];
    let all: String = keys.iter().enumerate().map(|(at, key)| request(&format!("/{at}"), *key)).collect();
    client.write_all(all.as_bytes()).unwrap();
    let answers = String::from_utf8(read_until(&mut client, b"app /6 0\n")).unwrap();
    let served: Vec<_> = answers.lines().filter(|line| line.ends_with(" 0")).collect();
    assert_eq!(
        served,
        ["app /0 0", "preview /1 0", "preview /2 0", "app /3 0", "app /4 0", "preview /5 0", "app /6 0"]
    );
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_whole_body_follows_its_head() {
    let shop = Shop::open();
    let _agent = Agent::stealing(&shop.world, &[8080]);
    let mut client = shop.world.connect(8080);
    let body = vec![b'x'; 300_000];
    for (name, key) in [("app", ""), ("preview", "baggage: mirrord-session=pr-1\r\n"), ("app", "")] {
        write!(client, "POST /b HTTP/1.1\r\n{key}Content-Length: {}\r\n\r\n", body.len()).unwrap();
        client.write_all(&body).unwrap();
        read_until(&mut client, format!("{name} /b 300000\n").as_bytes());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_unreachable_preview_is_a_503_and_the_connection_stays_open() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
    let answer = String::from_utf8(read_until(&mut client, b")\n")).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 503 Service Unavailable\r\nx-mirrord-preview: pr-1\r\n"),
        "{answer}"
    );
    assert!(answer.contains("the preview `pr-1` cannot be reached: Connection refused"), "{answer}");
    client.write_all(request("/next", None).as_bytes()).unwrap();
    read_until(&mut client, b"app /next 0\n");
    // The agent does not read this body: the answer still arrives, then the end.
    let mut upload = world.connect(8080);
    write!(upload, "POST / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert_eq!(agent.counts("s1")["unavailable"], 2);
    // The preview starts, and is used at once.
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
    read_until(&mut client, b"preview / 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_resets_before_its_response_is_a_503_and_the_request_is_sent_once() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let _ = stream.read(&mut [0; 1024]);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
    let answer = String::from_utf8(read_until(&mut client, b"\n")).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(preview.accepted(), 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_upgraded_connection_carries_both_ways_to_either_side() {
    let world = World::new();
    let upgrade = |name: &'static str| {
        move |mut stream: TcpStream| {
            read_until(&mut stream, b"\r\n\r\n");
            write!(stream, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\n\r\n{name}:").unwrap();
            let mut buffer = [0; 1024];
            while let Ok(read @ 1..) = stream.read(&mut buffer) {
                stream.write_all(&buffer[..read]).unwrap();
            }
        }
    };
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), upgrade("app"));
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), upgrade("preview"));
    let _agent = Agent::stealing(&world, &[8080]);
    for (name, key) in [("app", ""), ("preview", "baggage: mirrord-session=pr-1\r\n")] {
        let mut client = world.connect(8080);
        write!(client, "GET /ws HTTP/1.1\r\n{key}Connection: Upgrade\r\nUpgrade: echo\r\n\r\n").unwrap();
        read_until(&mut client, format!("{name}:").as_bytes());
        for frame in ["GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n", "\u{0}\u{1}binary"] {
            client.write_all(frame.as_bytes()).unwrap();
            assert_eq!(read_until(&mut client, frame.as_bytes()), frame.as_bytes());
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn events_arrive_one_by_one_as_they_are_sent() {
    let world = World::new();
    let (seen, wait) = std::sync::mpsc::channel();
    let wait = std::sync::Mutex::new(wait);
    let stream_events = move |mut stream: TcpStream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").unwrap();
        for _ in 0..5 {
            stream.write_all(b"6\r\ndata\n\n\r\n").unwrap();
            // The next event is sent only when the client has seen this one.
            wait.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap();
        }
    };
    let stream_events = std::sync::Arc::new(stream_events);
    let [app, preview] = [(); 2].map(|()| std::sync::Arc::clone(&stream_events));
    let app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |stream| app(stream));
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), move |stream| preview(stream));
    let _agent = Agent::stealing(&world, &[8080]);
    for (key, accepted) in [(None, 0), (Some("pr-1"), 1)] {
        let mut client = world.connect(8080);
        client.write_all(request("/events", key).as_bytes()).unwrap();
        for _ in 0..5 {
            read_until(&mut client, b"data\n\n\r\n");
            seen.send(()).unwrap();
        }
        assert_eq!(preview.accepted(), accepted);
    }
    assert_eq!(app.accepted(), 2, "one for each connection");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_gibibyte_each_way_needs_little_memory() {
    const LENGTH: usize = 1 << 30;
    let world = World::new();
    let serve = |mut stream: TcpStream| {
        let mut buffer = vec![0; 256 * 1024];
        let head = read_head(&mut stream);
        if head.starts_with(b"PUT") {
            let mut left = LENGTH;
            while left > 0 {
                left -= stream.read(&mut buffer).unwrap();
            }
            stream.write_all(b"HTTP/1.1 201 Created\r\nContent-Length: 4\r\n\r\ndone").unwrap();
        } else {
            write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
            (0..LENGTH / buffer.len()).for_each(|_| stream.write_all(&buffer).unwrap());
        }
    };
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), serve);
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), serve);
    let agent = Agent::stealing(&world, &[8080]);
    let mut buffer = vec![0; 256 * 1024];
    for key in ["", "baggage: mirrord-session=pr-1\r\n"] {
        let mut up = world.connect(8080);
        write!(up, "PUT / HTTP/1.1\r\n{key}Content-Length: {LENGTH}\r\n\r\n").unwrap();
        (0..LENGTH / buffer.len()).for_each(|_| up.write_all(&buffer).unwrap());
        read_until(&mut up, b"done");
        let mut down = world.connect(8080);
        write!(down, "GET / HTTP/1.1\r\n{key}\r\n").unwrap();
        read_head(&mut down);
        let mut left = LENGTH;
        while left > 0 {
            left -= down.read(&mut buffer).unwrap();
        }
    }
    let peak = agent.memory_kibibytes("VmHWM:");
    report!("4 GiB carried; at most {peak} KiB resident");
    assert!(peak < 64 * 1024, "{peak} KiB");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_long_body_arrives_whole_and_one_that_breaks_off_is_a_reset() {
    const LENGTH: usize = 5_000_003;
    let world = World::new();
    // Sends the body back: all of it, or half of it and a reset.
    let serve = |mut stream: TcpStream| loop {
        let head = read_head(&mut stream);
        let mut body = vec![0; LENGTH];
        stream.read_exact(&mut body).unwrap();
        write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {LENGTH}\r\n\r\n").unwrap();
        if head.starts_with(b"PUT /half") {
            stream.write_all(&body[..LENGTH / 2]).unwrap();
            socket2::SockRef::from(&stream).set_linger(Some(Duration::ZERO)).unwrap();
            return;
        }
        stream.write_all(&body).unwrap();
    };
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), serve);
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), serve);
    let _agent = Agent::stealing(&world, &[8080]);
    let body: Vec<u8> = (0..LENGTH).map(|at| ((at * 7 + at / 251) % 256).to_le_bytes()[0]).collect();
    let keys = ["", "baggage: mirrord-session=pr-1\r\n"];
    let mut client = world.connect(8080);
    for key in keys.repeat(2) {
        write!(client, "PUT /all HTTP/1.1\r\n{key}Content-Length: {LENGTH}\r\n\r\n").unwrap();
        client.write_all(&body).unwrap();
        read_head(&mut client);
        let mut back = vec![0; LENGTH];
        client.read_exact(&mut back).unwrap();
        assert!(back == body);
    }
    for key in keys {
        let mut client = world.connect(8080);
        write!(client, "PUT /half HTTP/1.1\r\n{key}Content-Length: {LENGTH}\r\n\r\n").unwrap();
        client.write_all(&body).unwrap();
        let error = client.read_to_end(&mut Vec::new()).unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_application_that_closes_an_idle_connection_does_not_end_the_client_of_the_preview() {
    let world = World::new();
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    // Closes connections that were idle for a while: on one port with a response first, on the other without.
    for (port, last) in
        [(8080, &b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\n\r\n"[..]), (8081, b"")]
    {
        let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8081), "preview");
        let app = Server::new(world.listen(Place::Pod, "0.0.0.0", port), move |mut stream| {
            stream.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
            let mut buffer = [0; 1024];
            while let Ok(1..) = stream.read(&mut buffer) {
                stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\napp").unwrap();
            }
            stream.write_all(last).unwrap();
        });
        let _agent = Agent::stealing(&world, &[port]);
        let mut client = world.connect(port);
        for _ in 0..2 {
            for _ in 0..4 {
                client.write_all(request("/k", Some("pr-1")).as_bytes()).unwrap();
                read_until(&mut client, b"preview /k 0\n");
                thread::sleep(Duration::from_millis(100));
            }
            client.write_all(request("/", None).as_bytes()).unwrap();
            assert!(read_until(&mut client, b"app").starts_with(b"HTTP/1.1 200"));
        }
        assert_eq!(app.accepted(), 3, "one at the start, and one for each that was closed");
        // The application served the last request: the connection ends as without the agent.
        let mut rest = Vec::new();
        client.read_to_end(&mut rest).unwrap();
        assert_eq!(rest, last);
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_application_sees_that_a_client_left_while_an_upgrade_was_awaited() {
    let world = World::new();
    let (gone, left) = std::sync::mpsc::channel();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        let _ = stream.read(&mut [0]);
        gone.send(()).unwrap();
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(b"GET /wait HTTP/1.1\r\nConnection: upgrade\r\nUpgrade: h2c\r\n\r\n").unwrap();
    thread::sleep(Duration::from_millis(100));
    drop(client);
    left.recv_timeout(Duration::from_secs(5)).unwrap();
}

/// Reads a head and not a byte more.
fn read_head(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        bytes.push(byte[0]);
    }
    bytes
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_body_filter_sees_the_body_and_does_not_change_it() {
    let shop = Shop::open();
    let mut agent = Agent::start(&shop.world, &[]);
    let filter = json!({"all_of": [{"method": "POST"}, {"body": {"query": "$.user", "matches": "^ann$"}}]});
    assert_eq!(agent.rules("s1", "pr-1", "steal", &[8080], &filter)["type"], "accepted");
    let mut client = shop.world.connect(8080);
    for (name, body) in
        [("preview", r#"{"user":"ann"}"#), ("app", r#"{"user":"bob"}"#), ("app", "no json"), ("app", "")]
    {
        write!(client, "POST /b HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        client.write_all(body.as_bytes()).unwrap();
        read_until(&mut client, format!("{name} /b {}\n", body.len()).as_bytes());
    }
    // A body that is too slow does not match: the application gets it after a second.
    let start = Instant::now();
    write!(client, "POST /slow HTTP/1.1\r\nContent-Length: 14\r\n\r\n{{\"user\"").unwrap();
    thread::sleep(Duration::from_millis(1_300));
    client.write_all(b":\"ann\"}").unwrap();
    read_until(&mut client, b"app /slow 14\n");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_serving_side_sees_that_its_client_left() {
    for key in [None, Some("pr-1")] {
        let world = World::new();
        let (sender, receiver) = std::sync::mpsc::channel();
        let wait = move |mut stream: TcpStream| {
            read_until(&mut stream, b"\r\n\r\n");
            stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let _ = sender.send(stream.read(&mut [0]).map_err(|error| error.kind()));
        };
        let place = if key.is_some() { (Place::Preview, PREVIEW4) } else { (Place::Pod, POD4) };
        let _app = Server::http(world.listen(Place::Pod, "127.0.0.1", 8080), "app");
        let _waits = Server::new(world.listen(place.0, place.1, 8080), wait);
        let _other = key.is_some().then(|| Server::http(world.listen(Place::Pod, POD4, 8080), "app"));
        let _agent = Agent::stealing(&world, &[8080]);
        let mut client = world.connect(8080);
        client.write_all(request("/", key).as_bytes()).unwrap();
        thread::sleep(Duration::from_millis(50));
        drop(client);
        let left = receiver.recv_timeout(Duration::from_secs(3)).unwrap();
        assert!(matches!(left, Ok(0) | Err(std::io::ErrorKind::ConnectionReset)), "{left:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn each_of_two_environments_on_a_target_gets_its_requests_on_its_port() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _one = Server::http(world.listen(Place::Preview, PREVIEW4, 9001), "one");
    let _twelve = Server::http(world.listen(Place::Preview, PREVIEW4, 9012), "twelve");
    let mut agent = Agent::start(&world, &[]);
    for (session, key, port) in [("s1", "pr-1", 9001), ("s12", "pr-12", 9012)] {
        let reply = agent.ask(&json!({"type": "rules", "rules": {
            "version": 1, "session": session, "generation": 1, "key": key, "order": 1,
            "lease_seconds": 60, "mode": "steal", "ports": [{"port": 8080, "preview_port": port}],
            "filter": {"baggage": key}, "preview": [PREVIEW4],
        }}));
        assert_eq!(reply["type"], "accepted", "{reply}");
    }
    let mut client = world.connect(8080);
    for (name, key) in
        [("one", Some("pr-1")), ("twelve", Some("pr-12")), ("app", Some("pr-123")), ("app", None)]
    {
        client.write_all(request("/", key).as_bytes()).unwrap();
        read_until(&mut client, format!("{name} / 0\n").as_bytes());
    }
    for session in ["s1", "s12"] {
        let counts = agent.counts(session);
        assert_eq!((&counts["matched"], &counts["passed"]), (&1.into(), &3.into()), "{session} {counts}");
    }
    // One session ends: its requests go to the application, those of the other to its preview.
    agent.withdraw("s1");
    for (name, key) in [("app", "pr-1"), ("twelve", "pr-12")] {
        client.write_all(request("/after", Some(key)).as_bytes()).unwrap();
        read_until(&mut client, format!("{name} /after 0\n").as_bytes());
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn half_a_response_of_the_preview_ends_with_a_reset() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf").unwrap();
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
    let mut answer = Vec::new();
    let error = client.read_to_end(&mut answer).unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_closes_after_each_response_is_dialled_again() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |mut stream| {
        let head = read_until(&mut stream, b"\r\n\r\n");
        let connection = if head.starts_with(b"GET /close") { "Connection: close\r\n" } else { "" };
        write!(stream, "HTTP/1.1 200 OK\r\n{connection}Content-Length: 3\r\n\r\nok\n").unwrap();
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    for _ in 0..3 {
        client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
        read_until(&mut client, b"ok\n");
        // Until the close of the preview has arrived.
        thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(preview.accepted(), 3);
    client.write_all(request("/close", Some("pr-1")).as_bytes()).unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.ends_with("ok\n"), "{answer}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_side_that_gets_a_request_answers_its_expectation() {
    let world = World::new();
    let expects = |mut stream: TcpStream| {
        read_head(&mut stream);
        stream.write_all(b"HTTP/1.1 100 Continue\r\n\r\n").unwrap();
        let mut body = [0; 4];
        stream.read_exact(&mut body).unwrap();
        stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n").unwrap();
        stream.write_all(&body).unwrap();
    };
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), expects);
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), expects);
    let _agent = Agent::stealing(&world, &[8080]);
    for key in ["", "baggage: mirrord-session=pr-1\r\n"] {
        let mut client = world.connect(8080);
        write!(client, "PUT / HTTP/1.1\r\n{key}Expect: 100-continue\r\nContent-Length: 4\r\n\r\n").unwrap();
        read_until(&mut client, b"100 Continue\r\n\r\n");
        client.write_all(b"body").unwrap();
        read_until(&mut client, b"\r\n\r\nbody");
    }
}
