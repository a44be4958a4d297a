//! HTTP/2 streams and connections end through the agent as they ended on the other
//! side, in the same order and for the same reason.

use std::io::{ErrorKind, Write as _};
use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use h2::Reason;
use http::{Method, Request};
use serde_json::json;
use socket2::SockRef;

use crate::http2::{self, connect, request, runtime};
use crate::support::agent::Agent;
use crate::support::frames::{
    self, DATA, END_HEADERS, END_STREAM, Frame, GET, GO_AWAY, HEADERS, OK, RESET, frame, handled,
};
use crate::support::server::Server;
use crate::support::{OTHER_PREVIEW4, PREVIEW4, Place, World, wait_until};

/// The settings entry for an initial window of zero bytes.
const NO_WINDOW: &[u8] = &[0, 4, 0, 0, 0, 0];

fn answer(stream: &mut TcpStream, number: u32) {
    stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, number, OK)).unwrap();
}

/// The stream frames that reach a client, and how its connection ends.
fn everything(client: &mut TcpStream) -> (Vec<Frame>, ErrorKind) {
    let mut seen = Vec::new();
    loop {
        match frames::read(client) {
            Ok(frame) if handled(client, &frame) => {}
            Ok(frame) => seen.push(frame),
            Err(error) => return (seen, error.kind()),
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_stream_after_the_last_one_of_a_goaway_may_be_sent_again() {
    let (world, runtime) = (World::new(), runtime());
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |stream| {
        frames::serve(stream, &[], |stream, seen, count| {
            if seen.kind == HEADERS && count == 2 {
                // The GOAWAY says that only the first of two streams is processed.
                stream.write_all(&frame(GO_AWAY, 0, 0, &[0, 0, 0, 1, 0, 0, 0, 0])).unwrap();
                answer(stream, 1);
            }
            true
        });
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let get = || Request::get("http://shop/").body(()).unwrap();
        let (first, _) = sender.send_request(get(), true).unwrap();
        let (second, _) = sender.send_request(get(), true).unwrap();
        assert_eq!(first.await.unwrap().status(), 200);
        // REFUSED_STREAM is the one reason after which a client may repeat any request.
        assert_eq!(second.await.unwrap_err().reason(), Some(Reason::REFUSED_STREAM));
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_broken_connection_of_the_application_breaks_that_of_its_client() {
    for (resets, end) in [(true, ErrorKind::ConnectionReset), (false, ErrorKind::UnexpectedEof)] {
        let world = World::new();
        let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |stream| {
            frames::serve(stream, &[], |stream, seen, count| {
                if seen.kind == HEADERS && count == 3 {
                    answer(stream, 1);
                    // The kernel delivers the answer before the end.
                    std::thread::sleep(Duration::from_millis(50));
                    if resets {
                        SockRef::from(&*stream).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                }
                count < 3
            });
        });
        let _agent = Agent::stealing(&world, &[8080]);
        let mut client = world.connect(8080);
        frames::begin(&mut client);
        for number in [1, 3, 5] {
            client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, number, GET)).unwrap();
        }
        let begun = Instant::now();
        let (seen, ended) = everything(&mut client);
        assert_eq!(ended, end);
        assert!(begun.elapsed() < Duration::from_secs(2), "{:?}", begun.elapsed());
        // Only the application's frames: the agent has ended no stream itself.
        assert!(seen.iter().all(|seen| seen.kind == HEADERS && seen.stream == 1), "{seen:?}");
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_unread_stream_of_small_frames_does_not_affect_others() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |stream| {
        frames::serve(stream, NO_WINDOW, |stream, seen, _| {
            if seen.kind == HEADERS && seen.flags & END_STREAM != 0 {
                answer(stream, seen.stream);
            }
            true
        });
    });
    let agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    frames::begin(&mut client);
    client.write_all(&frame(HEADERS, END_HEADERS, 1, GET)).unwrap();
    // Within the stream's window, and far above the budget for frames.
    client.write_all(&frame(DATA, 0, 1, b"x").repeat(60_000)).unwrap();
    client.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, 3, GET)).unwrap();
    loop {
        let seen = frames::read(&mut client).unwrap();
        assert_ne!(seen.kind, GO_AWAY, "{seen:?}");
        if !handled(&mut client, &seen) && seen.stream == 3 {
            assert_eq!((seen.kind, seen.payload.as_slice()), (HEADERS, OK));
            break;
        }
    }
    let resident = agent.memory_kibibytes("VmRSS:");
    assert!(resident < 64 * 1024, "{resident} KiB");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn data_sent_before_a_reset_arrives_before_it() {
    let (world, runtime) = (World::new(), runtime());
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiving = Arc::clone(&received);
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |stream| {
        frames::serve(stream, &[], |stream, seen, _| {
            if seen.kind == HEADERS && seen.flags & END_STREAM != 0 {
                let all = [
                    frame(HEADERS, END_HEADERS, seen.stream, OK),
                    frame(DATA, 0, seen.stream, b"half"),
                    frame(RESET, 0, seen.stream, &11_u32.to_be_bytes()),
                ];
                stream.write_all(&all.concat()).unwrap();
            } else if matches!(seen.kind, HEADERS | DATA | RESET) {
                receiving.lock().unwrap().push((seen.kind, seen.stream, seen.payload.last().copied()));
            }
            true
        });
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let get = Request::get("http://shop/").body(()).unwrap();
        let (response, _) = sender.send_request(get, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        assert_eq!(body.data().await.unwrap().unwrap(), "half");
        let end = body.data().await.unwrap().unwrap_err();
        assert_eq!(end.reason(), Some(Reason::ENHANCE_YOUR_CALM));
    });
    // The same in the other direction.
    let mut client = world.connect(8080);
    frames::begin(&mut client);
    let all = [
        frame(HEADERS, END_HEADERS, 1, GET),
        frame(DATA, 0, 1, b"x"),
        frame(RESET, 0, 1, &5_u32.to_be_bytes()),
    ];
    client.write_all(&all.concat()).unwrap();
    wait_until("the request has ended", || received.lock().unwrap().len() == 3);
    let received = received.lock().unwrap();
    assert_eq!(received[1..], [(DATA, 1, Some(b'x')), (RESET, 1, Some(5))]);
    assert_eq!((received[0].0, received[0].1), (HEADERS, 1));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preview_that_ends_before_its_response_is_a_503() {
    let (world, runtime) = (World::new(), runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _preview = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), |stream| {
        frames::serve(stream, &[], |_, seen, _| seen.kind != HEADERS);
    });
    let mut agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let (response, _) = sender.send_request(request("/", Some("pr-1")), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (response.status(), &response.headers()["x-mirrord-preview"]),
            (503.try_into().unwrap(), &"pr-1".parse().unwrap())
        );
        let (response, _) = sender.send_request(request("/", None), true).unwrap();
        assert_eq!(response.await.unwrap().headers()["x-served-by"], "app");
    });
    assert_eq!(agent.counts("s1")["unavailable"], 1);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_head_request_to_an_unreachable_preview_gets_a_503_without_a_body() {
    let (world, runtime) = (World::new(), runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let mut head = request("/", Some("pr-1"));
        *head.method_mut() = Method::HEAD;
        let (response, _) = sender.send_request(head, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(response.status(), 503);
        assert!(response.body().is_end_stream(), "the head itself ends the stream");
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn streams_waiting_for_an_unreachable_preview_fail_together_and_a_pod_without_http2_is_skipped() {
    let (world, runtime) = (World::new(), runtime());
    http2::serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _closes = Server::new(world.listen(Place::Preview, PREVIEW4, 8080), drop);
    http2::serve(&runtime, world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "other");
    http2::serve(&runtime, world.listen(Place::Preview, OTHER_PREVIEW4, 9090), "elsewhere");
    let mut agent = Agent::start(&world, &[]);
    let mut take = |preview: serde_json::Value, port: u16| {
        let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &json!({"baggage": "pr-1"}));
        (rules["preview"], rules["ports"][0]["preview_port"]) = (preview, port.into());
        assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    };
    // No pod has these addresses.
    take(json!(["10.77.1.98", "10.77.1.99"]), 8080);
    let client = world.connect(8080);
    runtime.block_on(async {
        let sender = connect(client).await;
        let begun = Instant::now();
        let ask = async |path: &str| {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request(path, Some("pr-1")), true).unwrap();
            response.await.unwrap()
        };
        for response in futures::future::join_all((0..10).map(|_| ask("/"))).await {
            assert_eq!(response.status(), 503);
        }
        report!("10 streams for a dead preview: {:?}", begun.elapsed());
        assert!(begun.elapsed() < Duration::from_secs(6), "{:?}", begun.elapsed());
        take(json!([PREVIEW4, OTHER_PREVIEW4]), 8080);
        assert_eq!(ask("/").await.headers()["x-served-by"], "other");
        // The same pods, on another port.
        take(json!([OTHER_PREVIEW4]), 9090);
        assert_eq!(ask("/").await.headers()["x-served-by"], "elsewhere");
    });
}
