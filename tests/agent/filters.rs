//! Filters that are slow, and requests that make filters slow: the agent serves on.

use std::io::Write as _;
use std::net::TcpStream;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::http2;
use crate::support::agent::Agent;
use crate::support::frames::{self, END_HEADERS, END_STREAM, GET, HEADERS};
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

/// The kind of the frames that continue a head.
const CONTINUATION: u8 = 9;

/// A request with this many header lines `a:`, each of which takes one byte.
fn many_lines(stream: u32, count: usize) -> Vec<u8> {
    // The first line is added to the table of both sides, where the others refer to it.
    let lines = [&b"\x40\x01a\x00"[..], &vec![0xBE; count - 1]].concat();
    let mut pieces = lines.chunks(16_000).peekable();
    let mut bytes = frames::frame(HEADERS, END_STREAM, stream, GET);
    while let Some(piece) = pieces.next() {
        let flags = if pieces.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frames::frame(CONTINUATION, flags, stream, piece));
    }
    bytes
}

/// Sends a request of HTTP/1, and returns how long its answer took.
fn ask(client: &mut TcpStream, headers: &str, answer: &[u8]) -> Duration {
    let begun = Instant::now();
    write!(client, "GET / HTTP/1.1\r\nhost: shop\r\n{headers}\r\n").unwrap();
    read_until(client, answer);
    begun.elapsed()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn thirty_thousand_header_lines_delay_nobody() {
    let (world, runtime) = (World::new(), http2::runtime());
    http2::serve_heads_of(Some(1024 * 1024), &runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _other = Server::http(world.listen(Place::Pod, "0.0.0.0", 8081), "other");
    let mut agent = Agent::start(&world, &[]);
    let filter = json!({"jq": r#"test("^x-user: ann$")"#});
    assert_eq!(agent.rules("s1", "pr-1", "steal", &[8080, 8081], &filter)["type"], "accepted");
    wait_until("both ports are captured", || agent.status()["captured"].as_array().unwrap().len() == 2);

    let mut attacker = world.connect(8080);
    let attack = thread::spawn(move || {
        frames::begin(&mut attacker);
        for number in 0..20 {
            let stream = 2 * number + 1;
            attacker.write_all(&many_lines(stream, 30_000)).unwrap();
            loop {
                let frame = frames::read(&mut attacker).unwrap();
                let _ = frames::handled(&mut attacker, &frame);
                if frame.stream == stream && frame.flags & END_STREAM != 0 {
                    break;
                }
            }
        }
    });
    let mut neighbour = world.connect(8081);
    let mut latencies = Vec::new();
    while !attack.is_finished() || latencies.len() < 20 {
        latencies.push(ask(&mut neighbour, "", b"other / 0\n"));
        thread::sleep(Duration::from_millis(5));
    }
    attack.join().unwrap();
    latencies.sort_unstable();
    let median = latencies[latencies.len() / 2];
    assert!(median < Duration::from_millis(100), "{latencies:?}");
    assert!(*latencies.last().unwrap() < Duration::from_millis(800), "{latencies:?}");

    let counts = agent.counts("s1");
    assert_eq!((&counts["lapses"], &counts["beyond_bounds"]), (&0.into(), &20.into()), "{counts}");
    let session = &agent.status()["sessions"][0];
    assert!(
        session["suspended_after_milliseconds"].is_null(),
        "an ordinary filter is not suspended: {session}"
    );
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_filter_that_takes_too_long_is_suspended_and_no_other() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    // Each character of a line is compared with each.
    let slow = r#"test("^x-user: ann$") or ([split("")[] as $a | split("")[] | . == $a] | length == 0)"#;
    assert_eq!(agent.rules("slow", "pr-1", "steal", &[8080], &json!({"jq": slow}))["type"], "accepted");
    assert_eq!(agent.rules("s2", "pr-2", "steal", &[8080], &json!({"baggage": "pr-2"}))["type"], "accepted");
    let mut client = world.connect(8080);
    ask(&mut client, "x-user: ann\r\n", b"preview / 0\n");

    let suspended = |agent: &mut Agent| {
        let status = agent.status();
        let sessions = status["sessions"].as_array().unwrap();
        let of = |name: &str| sessions.iter().find(|one| one["session"] == name).unwrap();
        assert!(of("s2")["suspended_after_milliseconds"].is_null(), "{status}");
        of("slow")["suspended_after_milliseconds"].as_u64()
    };
    let mut length = 50;
    while suspended(&mut agent).is_none() {
        assert!(length < 10_000, "it is suspended");
        ask(&mut client, &format!("x-long: {}\r\n", "y".repeat(length)), b"app / 0\n");
        length = length * 3 / 2;
    }
    assert!(suspended(&mut agent).unwrap() > 50);
    ask(&mut client, "x-user: ann\r\n", b"app / 0\n");
    ask(&mut client, "baggage: mirrord-session=pr-2\r\n", b"preview / 0\n");
    assert!(agent.log().contains("suspended a filter"));
}
