//! HTTP/1 through the agent: judged request by request, verbatim otherwise.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{POD4, PREVIEW4, Place, World, read_until, wait_until};

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
fn requests_on_one_connection_go_each_to_their_own() {
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
    assert_eq!((shop.app.accepted(), shop.preview.accepted()), (1, 1), "one upstream connection each");
    client.write_all(request("/12", Some("pr-12")).as_bytes()).unwrap();
    read_until(&mut client, b"app /12 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn pipelined_requests_are_answered_in_their_order() {
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
fn bodies_go_whole_to_where_their_heads_went() {
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
fn a_preview_that_cannot_be_reached_is_told_by_503_and_the_connection_goes_on() {
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
    // A body that nobody will read: the answer still arrives, then the end.
    let mut upload = world.connect(8080);
    write!(upload, "POST / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\nContent-Length: 100000\r\n\r\n")
        .unwrap();
    let mut answer = String::new();
    upload.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503") && answer.contains("connection: close"), "{answer}");
    assert_eq!(agent.counts("s1")["unavailable"], 2);
    // The preview comes, and is used at once.
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    client.write_all(request("/", Some("pr-1")).as_bytes()).unwrap();
    read_until(&mut client, b"preview / 0\n");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_resets_before_answering_is_a_503_and_nothing_is_sent_twice() {
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

/// What one side of an exchange came to.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    by_app: Vec<u8>,
    by_client: Vec<u8>,
    client_saw_end: bool,
}

/// How the client sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    AtOnce,
    InPieces,
    ThenEnds,
}

/// Has the client send `request`, the application read all of it and then
/// send `response` and, if `closes`, end; on a port with or without the agent.
fn exchange(world: &World, port: u16, request: &[u8], response: &[u8], closes: bool, manner: Manner) -> Seen {
    let listener = world.listen(Place::Pod, "0.0.0.0", port);
    if port == 8080 {
        thread::sleep(Duration::from_millis(1));
    }
    let (length, answer) = (request.len(), response.to_vec());
    let app = thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        let mut seen = vec![0; length];
        let mut at = 0;
        while at < length {
            match stream.read(&mut seen[at..]) {
                Ok(0) | Err(_) => break,
                Ok(read) => at += read,
            }
        }
        seen.truncate(at);
        stream.write_all(&answer).unwrap();
        if closes {
            stream.shutdown(Shutdown::Write).unwrap();
        }
        let _ = stream.read_to_end(&mut seen);
        seen
    });
    let mut client = world.connect(port);
    client.set_nodelay(true).unwrap();
    match manner {
        Manner::InPieces => {
            for piece in request.chunks(request.len().div_ceil(7).max(1)) {
                client.write_all(piece).unwrap();
                thread::sleep(Duration::from_micros(300));
            }
        }
        Manner::AtOnce | Manner::ThenEnds => client.write_all(request).unwrap(),
    }
    if manner == Manner::ThenEnds {
        client.shutdown(Shutdown::Write).unwrap();
    }
    let mut by_client = vec![0; response.len()];
    client.read_exact(&mut by_client).unwrap();
    let client_saw_end = closes && client.read(&mut [0]).unwrap() == 0;
    drop(client);
    Seen { by_app: app.join().unwrap(), by_client, client_saw_end }
}

/// A response, and whether the application ends the connection behind it.
type Response = (Vec<u8>, bool);

fn corpus() -> (Vec<Vec<u8>>, Vec<Response>) {
    let long = format!("GET / HTTP/1.1\r\nX-Long: {}\r\n\r\n", "y".repeat(64 * 1024));
    let many = "X-Many: 1\r\nx-many: 2\r\n".repeat(75);
    let requests = [
        "GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
        "get / HTTP/1.1\r\nhOsT:shop\r\nACCEPT:   */*  \r\nX-Dup: 1\r\nx-dup: 2\r\n\r\n",
        "GET http://shop/a?b=c HTTP/1.1\r\nHost: shop\r\n\r\n",
        "OPTIONS * HTTP/1.1\r\nHost: shop\r\n\r\n",
        "HEAD / HTTP/1.1\r\nHost: shop\r\n\r\n",
        "GET / HTTP/1.0\r\n\r\n",
        "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
        "GET /\r\n",
        "GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhello",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5;x=\"y\"\r\nhello\r\n0\r\nTrailer: v\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\nok",
        "GET /1 HTTP/1.1\r\n\r\nGET /2 HTTP/1.1\r\n\r\nGET /3 HTTP/1.1\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcGET /next HTTP/1.1\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "GET / HTTP/1.1\nHost: shop\n\n",
        "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\nno colon\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot a chunk\r\n",
        "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "GET / HTTP/1.1\r\nX-Bytes: \u{e9}\u{ff}\r\n\r\n",
        "GET /a HTTP/1.1\r\nHost: shop",
        "CONNECT shop:80 HTTP/1.1\r\nHost: shop:80\r\n\r\n",
        "BREW /pot HTTP/1.1\r\nAccept-Additions: milk\r\n\r\n",
    ];
    let responses = [
        ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", false),
        ("http/1.1 200 OK\r\n\r\nwhatever", true),
        ("HTTP/1.1 200\r\nCONTENT-length:2\r\nX-Dup: b\r\nX-Dup: a\r\n\r\nok", false),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", true),
        ("HTTP/1.0 200 OK\r\n\r\nuntil the end", true),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;e\r\nabc\r\n0\r\nT: v\r\n\r\n", false),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nbroken", true),
        (
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n",
            false,
        ),
        ("HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n", false),
        ("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n\u{1}\u{2}frames", true),
        ("HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", true),
        ("HTTP/1.1 200 OK\nContent-Length: 2\n\nok", false),
        ("not http at all\r\n", true),
        ("", true),
    ];
    let mut requests: Vec<Vec<u8>> =
        requests.iter().map(|text| text.chars().map(|c| c as u8).collect()).collect();
    requests.extend([long.into_bytes(), format!("GET / HTTP/1.1\r\n{many}\r\n").into_bytes()]);
    let responses = responses.iter().map(|(text, closes)| (text.as_bytes().to_vec(), *closes)).collect();
    (requests, responses)
}

#[test]
#[ignore = "needs root and network namespaces"]
fn unmatched_exchanges_are_byte_for_byte_what_they_are_without_the_agent() {
    let world = World::new();
    let mut agent = Agent::stealing(&world, &[8080]);
    let (requests, responses) = corpus();
    let (mut compared, mut index) = (0, 0);
    for request in &requests {
        for (response, closes) in &responses {
            index += 1;
            let manner = [Manner::AtOnce, Manner::InPieces, Manner::ThenEnds][index % 3];
            let seen = |port| exchange(&world, port, request, response, *closes, manner);
            let (without, with) = (seen(8081), seen(8080));
            assert_eq!(
                with,
                without,
                "{manner:?} {:?} {:?}",
                String::from_utf8_lossy(request),
                String::from_utf8_lossy(response)
            );
            compared += 1;
        }
    }
    report!("{compared} exchanges compared; {}", agent.status());
    assert!(compared > 300);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn what_could_be_smuggled_reaches_the_application_as_it_is_and_never_the_preview() {
    let world = World::new();
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let _agent = Agent::stealing(&world, &[8080]);
    let key = "baggage: mirrord-session=pr-1\r\n";
    let hidden = format!("GET /hidden HTTP/1.1\r\n{key}\r\n");
    for head in [
        format!(
            "POST / HTTP/1.1\r\n{key}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!(
            "POST / HTTP/1.1\r\n{key}Transfer-Encoding: chunked\r\nContent-Length: 50\r\n\r\n0\r\n\r\n{hidden}"
        ),
        format!("POST / HTTP/1.1\r\n{key}Content-Length: 0\r\nContent-Length: 50\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}Transfer-Encoding: chunked\r\n\r\n0\n\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}Transfer-Encoding: chunked\r\n\r\n1 \r\nx\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}X: y\r\n Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n{hidden}"),
        format!("POST / HTTP/1.1\nContent-Length: 0\n{hidden}"),
        format!("POST / HTTP/1.1\r\n{key}X: \nContent-Length: 9\r\n\r\n{hidden}"),
        format!("GET / HTTP/1.1\r\n\u{1}X: y\r\n{key}\r\n{hidden}"),
        // The first is honest, the second is not: the connection is the application's from there on.
        format!(
            "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{hidden}"
        ),
    ] {
        let response = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let seen = exchange(&world, 8080, head.as_bytes(), response, true, Manner::AtOnce);
        assert_eq!(String::from_utf8_lossy(&seen.by_app), head);
        assert_eq!(seen.by_client, response);
        assert_eq!(preview.accepted(), 0, "{head:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_upgraded_connection_carries_both_ways_whoever_got_it() {
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
            // The next one only when the client has seen this one.
            wait.lock().unwrap().recv_timeout(Duration::from_secs(5)).unwrap();
        }
    };
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), stream_events);
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.write_all(request("/events", None).as_bytes()).unwrap();
    for _ in 0..5 {
        read_until(&mut client, b"data\n\n\r\n");
        seen.send(()).unwrap();
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_gibibyte_crosses_each_way_in_little_memory() {
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

/// Reads a head and nothing behind it.
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
fn a_body_filter_sees_the_body_and_changes_nothing_of_it() {
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
    // Too slow a body is nobody's: the application gets it after a second.
    let start = Instant::now();
    write!(client, "POST /slow HTTP/1.1\r\nContent-Length: 14\r\n\r\n{{\"user\"").unwrap();
    thread::sleep(Duration::from_millis(1_300));
    client.write_all(b":\"ann\"}").unwrap();
    read_until(&mut client, b"app /slow 14\n");
    assert!(start.elapsed() < Duration::from_secs(3));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stuck_mirror_slows_nothing_down_and_its_copies_are_counted() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _stuck = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |stream| {
        thread::sleep(Duration::from_secs(20));
        drop(stream);
    });
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "/"}));
    let mut client = world.connect(8080);
    let body = vec![b'x'; 64 * 1024];
    let start = Instant::now();
    for _ in 0..400 {
        write!(client, "POST /m HTTP/1.1\r\nContent-Length: {}\r\n\r\n", body.len()).unwrap();
        client.write_all(&body).unwrap();
        read_until(&mut client, b"app /m 65536\n");
    }
    let elapsed = start.elapsed();
    let counts = agent.counts("s1");
    report!("400 requests of 64 KiB beside a stuck mirror: {elapsed:?}, {counts}");
    assert!(elapsed < Duration::from_secs(5), "{elapsed:?}");
    assert!(counts["dropped"].as_u64().unwrap() > 300, "{counts}");
    assert!(agent.memory_kibibytes("VmRSS:") < 64 * 1024);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_mirror_gets_a_copy_of_what_the_application_answers() {
    let shop = Shop::open();
    let mut agent = Agent::start(&shop.world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let mut client = shop.world.connect(8080);
    for path in ["/m1", "/other", "/m2", "/m3"] {
        client.write_all(request(path, None).as_bytes()).unwrap();
        read_until(&mut client, format!("app {path} 0\n").as_bytes());
    }
    wait_until("three copies have gone", || agent.counts("s1")["mirrored"] == 3);
    assert_eq!(agent.counts("s1")["passed"], 1);
    assert_eq!(shop.preview.accepted(), 1, "one connection for all copies of one client connection");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_that_leaves_is_missed_by_whoever_serves_it() {
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
