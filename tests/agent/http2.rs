//! HTTP/2 through the agent: each stream goes to its own side, and ends as that
//! side ended it.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, Request, Response};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, DuplexStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinSet;

use crate::support::agent::Agent;
use crate::support::server::Server;
use crate::support::{PREVIEW4, Place, World, read_until, wait_until};

pub(crate) fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

/// Serves HTTP/2. The path chooses the response.
pub(crate) fn serve(runtime: &Runtime, listener: TcpListener, name: &'static str) {
    serve_heads_of(None, runtime, listener, name);
}

/// The same, with an announced limit for the size of a head, in bytes.
pub(crate) fn serve_heads_of(
    bytes: Option<u32>,
    runtime: &Runtime,
    listener: TcpListener,
    name: &'static str,
) {
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.set_nodelay(true).unwrap();
                let mut builder = h2::server::Builder::new();
                builder.max_concurrent_streams(200);
                if let Some(bytes) = bytes {
                    builder.max_header_list_size(bytes);
                }
                let mut connection = builder.handshake::<_, Bytes>(stream).await.unwrap();
                while let Some(Ok((request, respond))) = connection.accept().await {
                    tokio::spawn(answer(request, respond, name));
                }
            });
        }
    });
}

async fn answer(request: Request<RecvStream>, mut respond: h2::server::SendResponse<Bytes>, name: &str) {
    let path = request.uri().path().to_owned();
    let mut body = request.into_body();
    match path.as_str() {
        "/reset" => respond.send_reset(Reason::ENHANCE_YOUR_CALM),
        "/trailers-only" => {
            let response = Response::builder().header("grpc-status", "5").body(()).unwrap();
            respond.send_response(response, true).unwrap();
        }
        _ => {
            let length = drain(&mut body).await.0.len();
            let response = Response::builder().header("x-served-by", name).body(()).unwrap();
            let mut send = respond.send_response(response, false).unwrap();
            send.send_data(Bytes::from(format!("{name} {path} {length}")), false).unwrap();
            let mut trailers = HeaderMap::new();
            trailers.insert("grpc-status", "0".parse().unwrap());
            send.send_trailers(trailers).unwrap();
        }
    }
}

pub(crate) async fn drain(body: &mut RecvStream) -> (Vec<u8>, Option<HeaderMap>) {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece.unwrap();
        bytes.extend_from_slice(&piece);
        body.flow_control().release_capacity(piece.len()).unwrap();
    }
    (bytes, body.trailers().await.unwrap())
}

fn nonblocking(stream: std::net::TcpStream) -> tokio::net::TcpStream {
    stream.set_nodelay(true).unwrap();
    stream.set_nonblocking(true).unwrap();
    tokio::net::TcpStream::from_std(stream).unwrap()
}

pub(crate) async fn connect(stream: std::net::TcpStream) -> SendRequest<Bytes> {
    handshake(nonblocking(stream)).await
}

async fn handshake(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender.ready().await.unwrap()
}

pub(crate) fn request(path: &str, key: Option<&str>) -> Request<()> {
    let builder = Request::post(format!("http://shop{path}")).header("x-big", "y".repeat(20_000));
    match key {
        Some(key) => builder.header("baggage", format!("mirrord-session={key}")).body(()).unwrap(),
        None => builder.body(()).unwrap(),
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn each_of_a_hundred_concurrent_streams_goes_to_its_own_side() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    serve(&runtime, world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let sender = connect(client).await;
        let mut streams = JoinSet::new();
        for number in 0..100_usize {
            let sender = sender.clone();
            streams.spawn(async move {
                let key = [Some("pr-1"), Some("pr-12"), None, Some("pr-1")][number % 4];
                let name = if key == Some("pr-1") { "preview" } else { "app" };
                let mut sender = sender.ready().await.unwrap();
                let (response, mut body) =
                    sender.send_request(request(&format!("/{number}"), key), false).unwrap();
                // Together larger than a window, so that streams wait for room in turn.
                let bytes = Bytes::from(vec![b'x'; 100_000 + number]);
                body.send_data(bytes, true).unwrap();
                let response = response.await.unwrap();
                assert_eq!(response.headers()["x-served-by"], name);
                let (text, trailers) = drain(&mut response.into_body()).await;
                assert_eq!(text, format!("{name} /{number} {}", 100_000 + number).into_bytes());
                assert_eq!(trailers.unwrap()["grpc-status"], "0");
            });
        }
        let all = async {
            while let Some(done) = streams.join_next().await {
                done.unwrap();
            }
        };
        tokio::time::timeout(Duration::from_secs(20), all).await.unwrap();
    });
    let counts = agent.counts("s1");
    assert_eq!((&counts["matched"], &counts["passed"]), (&50.into(), &50.into()), "{counts}");
}

/// Carries the bytes of a client, the first of them in pieces of `length` bytes.
async fn dribble(length: usize, client: DuplexStream, stream: tokio::net::TcpStream) {
    let (mut from, mut to) = tokio::io::split(client);
    let (mut down, mut up) = stream.into_split();
    tokio::spawn(async move { tokio::io::copy(&mut down, &mut to).await });
    let (mut buffer, mut sent) = (vec![0; 64 * 1024], 0);
    while let Ok(read @ 1..) = from.read(&mut buffer).await {
        for piece in buffer[..read].chunks(if sent < 100 { length } else { read }) {
            up.write_all(piece).await.unwrap();
            sent += piece.len();
            if sent < 100 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_preface_in_pieces_is_recognised() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    serve(&runtime, world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let mut agent = Agent::stealing(&world, &[8080]);
    // The preface has 24 bytes. Its first line alone could be HTTP/1.
    for length in [1, 2, 3, 16, 18, 23, 24, 25] {
        let client = world.connect(8080);
        runtime.block_on(async {
            let (near, far) = tokio::io::duplex(64 * 1024);
            tokio::spawn(dribble(length, far, nonblocking(client)));
            let sender = handshake(near).await;
            for (key, name) in [(None, "app"), (Some("pr-1"), "preview")] {
                let mut sender = sender.clone().ready().await.unwrap();
                let (response, _) = sender.send_request(request("/", key), true).unwrap();
                assert_eq!(response.await.unwrap().headers()["x-served-by"], name, "pieces of {length}");
            }
        });
    }
    let counts = agent.counts("s1");
    assert_eq!((&counts["matched"], &counts["passed"]), (&8.into(), &8.into()), "{counts}");
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_server_may_send_its_settings_first_and_trailers_only_responses_and_resets_are_passed_on() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    serve(&runtime, world.listen(Place::Preview, PREVIEW4, 8080), "preview");
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    // Like grpc-go, this server sends its settings at once. Its connection must not become a tunnel.
    std::thread::sleep(Duration::from_millis(100));
    runtime.block_on(async {
        let mut sender = connect(client).await;
        for key in [None, Some("pr-1")] {
            let (response, _) = sender.send_request(request("/trailers-only", key), true).unwrap();
            let response = response.await.unwrap();
            assert_eq!(response.headers()["grpc-status"], "5");
            assert!(response.body().is_end_stream(), "the head itself ends the stream");
            let (response, _) = sender.send_request(request("/reset", key), true).unwrap();
            assert_eq!(response.await.unwrap_err().reason(), Some(Reason::ENHANCE_YOUR_CALM));
        }
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn a_goaway_reaches_the_client_at_once_and_streams_under_way_end_normally() {
    let (world, runtime) = (World::new(), runtime());
    let listener = world.listen(Place::Pod, "0.0.0.0", 8080);
    listener.set_nonblocking(true).unwrap();
    runtime.spawn(async move {
        let listener = tokio::net::TcpListener::from_std(listener).unwrap();
        let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
        let (_, mut respond) = connection.accept().await.unwrap().unwrap();
        // Like a server in a rollout: it takes no more streams and finishes those that it has.
        connection.graceful_shutdown();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(2)).await;
            respond.send_response(Response::new(()), true).unwrap();
        });
        while connection.accept().await.is_some() {}
    });
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let (response, _) = sender.send_request(request("/hold", None), true).unwrap();
        let told = async {
            while sender.clone().ready().await.is_ok() {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(1), told).await.expect("the client is told");
        assert_eq!(response.await.unwrap().status(), 200);
    });
}

#[test]
#[ignore = "needs root and network namespaces"]
fn the_rest_of_a_request_is_sent_after_its_whole_response() {
    let (world, runtime) = (World::new(), runtime());
    let read = Arc::new(Mutex::new(Vec::new()));
    for listener in [world.listen(Place::Pod, "0.0.0.0", 8080), world.listen(Place::Preview, PREVIEW4, 8080)]
    {
        listener.set_nonblocking(true).unwrap();
        let read = Arc::clone(&read);
        runtime.spawn(async move {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            let mut connection = h2::server::handshake(listener.accept().await.unwrap().0).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                respond.send_response(Response::new(()), true).unwrap();
                let read = Arc::clone(&read);
                tokio::spawn(async move {
                    let length = drain(&mut request.into_body()).await.0.len();
                    read.lock().unwrap().push(length);
                });
            }
        });
    }
    let _agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let sender = connect(client).await;
        for key in [None, Some("pr-1")] {
            let mut sender = sender.clone().ready().await.unwrap();
            let (response, mut body) = sender.send_request(request("/", key), false).unwrap();
            assert_eq!(response.await.unwrap().status(), 200);
            for last in [false, false, true] {
                tokio::time::sleep(Duration::from_millis(50)).await;
                body.send_data(Bytes::from(vec![b'x'; 10_000]), last).unwrap();
            }
        }
    });
    wait_until("both requests are whole", || *read.lock().unwrap() == [30_000, 30_000]);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_unreachable_preview_is_a_503_or_a_grpc_status() {
    let (world, runtime) = (World::new(), runtime());
    serve(&runtime, world.listen(Place::Pod, "0.0.0.0", 8080), "app");
    let mut agent = Agent::stealing(&world, &[8080]);
    let client = world.connect(8080);
    runtime.block_on(async {
        let mut sender = connect(client).await;
        let (response, _) = sender.send_request(request("/", Some("pr-1")), true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["x-mirrord-preview"]),
            (503, &"pr-1".parse().unwrap())
        );
        let mut grpc = request("/", Some("pr-1"));
        grpc.headers_mut().insert("content-type", "application/grpc+proto".parse().unwrap());
        let (response, _) = sender.send_request(grpc, true).unwrap();
        let response = response.await.unwrap();
        assert_eq!(
            (response.status().as_u16(), &response.headers()["grpc-status"]),
            (200, &"14".parse().unwrap())
        );
        let (response, _) = sender.send_request(request("/next", None), true).unwrap();
        assert_eq!(response.await.unwrap().headers()["x-served-by"], "app");
    });
    assert_eq!(agent.counts("s1")["unavailable"], 2);
}

#[test]
#[ignore = "needs root and network namespaces"]
fn an_application_without_http2_answers_the_preface_itself() {
    const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
    const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    const REFUSAL: &[u8] = b"HTTP/1.1 505 HTTP Version Not Supported\r\nContent-Length: 6\r\n\r\nsorry\n";
    let world = World::new();
    let received = Arc::new(Mutex::new(Vec::new()));
    let receiving = Arc::clone(&received);
    let _app = Server::new(world.listen(Place::Pod, "0.0.0.0", 8080), move |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
        stream.write_all(REFUSAL).unwrap();
        let _ = stream.read_to_end(&mut receiving.lock().unwrap());
    });
    let _silent = Server::new(world.listen(Place::Pod, "0.0.0.0", 8081), |mut stream| {
        read_until(&mut stream, b"\r\n\r\n");
    });
    let _agent = Agent::stealing(&world, &[8080, 8081]);
    let mut client = world.connect(8080);
    client.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    assert_eq!(read_until(&mut client, b"sorry\n"), REFUSAL);
    client.write_all(SETTINGS).unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut rest = Vec::new();
    client.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"");
    // All bytes behind the first head, which read_until took: none is missing or repeated.
    assert!(received.lock().unwrap().ends_with(&[SETTINGS, SETTINGS].concat()));
    assert!(received.lock().unwrap().len() <= b"SM\r\n\r\n".len() + 2 * SETTINGS.len());
    let mut client = world.connect(8081);
    client.write_all(&[PREFACE, SETTINGS].concat()).unwrap();
    let end = client.read(&mut [0]);
    assert!(!matches!(end, Ok(1..)), "a plain close is passed on as one: {end:?}");
}
