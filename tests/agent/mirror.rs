//! Copies reach the preview, and never slow the original down.

use std::io::Write as _;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

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
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let preview = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::start(&world, &[]);
    agent.rules("s1", "pr-1", "mirror", &[8080], &json!({"path": "^/m"}));
    let mut client = world.connect(8080);
    for path in ["/m1", "/other", "/m2", "/m3"] {
        write!(client, "GET {path} HTTP/1.1\r\nHost: shop\r\n\r\n").unwrap();
        read_until(&mut client, format!("app {path} 0\n").as_bytes());
    }
    wait_until("three copies have gone", || agent.counts("s1")["mirrored"] == 3);
    assert_eq!(agent.counts("s1")["passed"], 1);
    assert_eq!(preview.accepted(), 1, "one connection for all copies of one client connection");
}
