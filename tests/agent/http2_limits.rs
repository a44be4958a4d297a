//! HTTP/2 clients and previews that read nothing, or break rules without end: they
//! cost neither other streams nor the agent's memory.

use std::io::{ErrorKind, Write as _};
use std::net::TcpListener;
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{Request, Response};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::http2::{connect, drain, request, runtime, serve};
use crate::support::agent::Agent;
use crate::support::frames::{
    END_HEADERS, END_STREAM, GET, HEADERS, OK, SETTINGS, begin, frame, read, serve as serve_frames,
};
use crate::support::server::Server;
use crate::support::{OTHER_PREVIEW4, PREVIEW4, Place, World, read_until, wait_until};

/// `SETTINGS_MAX_HEADER_LIST_SIZE` and 256 KiB.
const HEADER_LIST_256_KIB: &[u8] = &[0, 6, 0, 4, 0, 0];

/// Serves HTTP/2 as an application that offers 250 streams. `/large` has a response of
/// 4 MiB, `/hold` is never read, and anything else is read and answered.
fn serve_offering_250(runtime: &Runtime, listener: TcpListener) {
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            let mut builder = h2::server::Builder::new();
            builder.max_concurrent_streams(250);
            tokio::spawn(async move {
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                let mut held = Vec::new();
                while let Some(Ok((request, mut respond))) = connection.accept().await {
                    let length = match request.uri().path() {
                        "/hold" => {
                            held.push((request, respond));
                            continue;
                        }
                        "/large" => 4 << 20,
                        _ => 10,
                    };
                    tokio::spawn(async move {
                        drain(&mut request.into_body()).await;
                        let mut send = respond.send_response(Response::new(()), false).unwrap();
                        send.send_data(Bytes::from(vec![b'x'; length]), true).unwrap();
                    });
                }
            });
        }
    });
}

/// Sends a request with a body of 1 MiB, and reads its response.
async fn upload(sender: &SendRequest<Bytes>) -> usize {
    let mut sender = sender.clone().ready().await.unwrap();
    let (response, mut body) = sender.send_request(request("/small", None), false).unwrap();
    body.send_data(Bytes::from(vec![b'x'; 1 << 20]), true).unwrap();
    drain(&mut response.await.unwrap().into_body()).await.0.len()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_hundred_unread_responses_do_not_stop_other_streams() {
    let (world, runtime) = (World::new(), runtime());
    serve_offering_250(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080));
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        client.set_nonblocking(true).unwrap();
        let stream = tokio::net::TcpStream::from_std(client).unwrap();
        let mut builder = h2::client::Builder::new();
        builder.initial_connection_window_size(64 << 20);
        let (sender, connection) = builder.handshake::<_, Bytes>(stream).await.unwrap();
        tokio::spawn(connection);
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, _) = sender.send_request(request("/large", None), true).unwrap();
            held.push(response.await.unwrap());
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let mut sender = sender.clone().ready().await.unwrap();
        let (response, _) = sender.send_request(request("/small", None), true).unwrap();
        let read = async { drain(&mut response.await.unwrap().into_body()).await.0.len() };
        let read = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert_eq!(read, Ok(10), "beside {} unread responses", held.len());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_hundred_uploads_to_a_hung_preview_do_not_stop_an_upload_to_the_application() {
    let (world, runtime) = (World::new(), runtime());
    serve_offering_250(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080));
    serve_offering_250(&runtime, world.listen(Place::Preview, PREVIEW4, 8080));
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let sender = connect(client).await;
        let mut held = Vec::new();
        for _ in 0..100 {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, mut body) = sender.send_request(request("/hold", Some("pr-1")), false).unwrap();
            body.send_data(Bytes::from(vec![b'x'; 1 << 20]), true).unwrap();
            held.push((response, body));
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        let answered = tokio::time::timeout(Duration::from_secs(1), upload(&sender)).await;
        assert_eq!(answered, Ok(10), "beside {} uploads to the preview", held.len());
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_that_breaks_rules_without_end_and_reads_nothing_loses_its_connection() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    socket2::SockRef::from(&client).set_recv_buffer_size(4096).unwrap();
    begin(&mut client);
    // A request without a body whose `content-length` is 5: an error of its stream alone.
    let head = [GET, b"\x0f\x0d\x015"].concat();
    let mut ended = None;
    for number in 0..200_000_u32 {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head);
        if let Err(error) = client.write_all(&request) {
            ended = Some((number, error.kind()));
            break;
        }
    }
    let peak = agent.memory_kibibytes("VmHWM:");
    assert!(
        matches!(ended, Some((_, ErrorKind::ConnectionReset | ErrorKind::BrokenPipe))),
        "{ended:?}, {peak} KiB"
    );
    assert!(peak < 64 * 1024, "{peak} KiB after {ended:?}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn header_lists_are_limited_unless_the_application_announces_more() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let _announcing = Server::new(world.listen(Place::Pod, "0.0.0.0", 8081), |stream| {
        serve_frames(stream, HEADER_LIST_256_KIB, |stream, seen, _| {
            if seen.kind == HEADERS {
                stream.write_all(&frame(HEADERS, END_HEADERS | END_STREAM, seen.stream, OK)).unwrap();
            }
            true
        });
    });
    let _agent = Agent::stealing(&world, &[8080, 8081]);
    for (port, kibibytes, status) in [(8080, 60, 200), (8080, 70, 431), (8081, 200, 200), (8081, 260, 431)] {
        let client = world.connect(port);
        runtime.block_on(async {
            let mut sender = connect(client).await;
            let mut request = Request::get("http://shop/").body(()).unwrap();
            // Lines that a server counts as 1 KiB each.
            for number in 0..kibibytes {
                let name = http::HeaderName::try_from(format!("x-{number:05}")).unwrap();
                request.headers_mut().insert(name, "y".repeat(1024 - 32 - 7).parse().unwrap());
            }
            let (response, _) = sender.send_request(request, true).unwrap();
            assert_eq!(response.await.unwrap().status().as_u16(), status, "{port}: {kibibytes} KiB");
        });
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_client_is_offered_a_thousand_streams_where_the_application_states_no_limit() {
    let world = World::new();
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |stream| {
        serve_frames(stream, &[], |_, _, _| true);
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    begin(&mut client);
    let settings = read(&mut client).unwrap();
    assert_eq!(settings.kind, SETTINGS);
    let value = |identifier: u8| {
        let entry = settings.payload.chunks(6).find(|entry| entry[..2] == [0, identifier]).unwrap();
        u32::from_be_bytes(entry[2..].try_into().unwrap())
    };
    // `SETTINGS_MAX_CONCURRENT_STREAMS` and `SETTINGS_MAX_HEADER_LIST_SIZE`.
    assert_eq!((value(3), value(6)), (1_000, 64 * 1024));
}

#[test]
#[ignore = "needs root and network namespaces"]
fn heads_that_a_stuck_application_does_not_take_cost_bounded_memory() {
    let world = World::new();
    let _stuck = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), |mut stream| {
        stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
        std::thread::sleep(Duration::from_secs(20));
    });
    let agent = Agent::stealing(&world, &[8080]);
    let mut client = world.connect(8080);
    client.set_write_timeout(Some(Duration::from_secs(2))).unwrap();
    begin(&mut client);
    // 1,000 lines `a: ` that take one byte each once the first is in the table.
    let mut head = [GET, b"\x40\x01a\x00"].concat();
    head.resize(head.len() + 1_000, 0xbe);
    let mut sent = 0;
    for number in 0..2_000_u32 {
        let request = frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head);
        if client.write_all(&request).is_err() {
            break;
        }
        sent = number + 1;
    }
    // The agent waits for the application's settings first, for a second.
    std::thread::sleep(Duration::from_secs(4));
    let peak = agent.memory_kibibytes("VmHWM:");
    report!("{peak} KiB for {sent} heads");
    assert!(peak < 256 * 1024, "{peak} KiB for {sent} heads");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_pods_of_a_preview_take_turns_for_streams() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::start(&world, &[]);
    let mut rules = agent.snapshot("s1", "pr-1", "steal", &[8080], &json!({"baggage": "pr-1"}));
    // The second pod accepts no connection, and delays no stream.
    rules["preview"] = json!([PREVIEW4, "10.77.1.1", OTHER_PREVIEW4]);
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    serve(&runtime, world.listen(Place::Preview, PREVIEW4, 8080), "first");
    serve(&runtime, world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "other");
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let mut names = Vec::new();
        for _ in 0..12 {
            let (response, _) = sender.send_request(request("/", Some("pr-1")), true).unwrap();
            let response = response.await.unwrap();
            names.push(response.headers()["x-served-by"].to_str().unwrap().to_owned());
        }
        for name in ["first", "other"] {
            let count = names.iter().filter(|seen| *seen == name).count();
            assert!(count >= 4, "{names:?}");
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_pods_of_a_preview_take_turns_for_copies() {
    let world = World::new();
    let _app = Server::http(world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let first = Server::http(world.listen(Place::Preview, PREVIEW4, 8080), "first");
    let other = Server::http(world.listen(Place::Preview, OTHER_PREVIEW4, 8080), "other");
    let mut agent = Agent::start(&world, &[]);
    let mut rules = agent.snapshot("s1", "pr-1", "mirror", &[8080], &json!({"baggage": "pr-1"}));
    rules["preview"] = json!([PREVIEW4, OTHER_PREVIEW4]);
    assert_eq!(agent.ask(&json!({"type": "rules", "rules": rules}))["type"], "accepted");
    for _ in 0..4 {
        let mut client = world.connect(8080);
        client.write_all(b"GET / HTTP/1.1\r\nbaggage: mirrord-session=pr-1\r\n\r\n").unwrap();
        read_until(&mut client, b"app / 0\n");
    }
    wait_until("all copies have arrived", || agent.counts("s1")["mirrored"] == 4);
    assert!(first.accepted() > 0 && other.accepted() > 0, "{} and {}", first.accepted(), other.accepted());
}
