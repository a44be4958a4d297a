//! The strongest check: the same exchanges with and without the agent, compared
//! byte for byte. Requests that could smuggle others must reach the application
//! alone.

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use crate::support::server::Server;
use crate::support::stage::{Stage, Way, end};
use crate::support::{PREVIEW4, Place};

/// The bytes that each side of an exchange received.
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

/// The client sends `request`; the application reads all of it, sends `response`
/// and, if `closes`, ends. With or without the agent.
fn exchange(stage: &Stage, way: Way, request: &[u8], response: &[u8], closes: bool, manner: Manner) -> Seen {
    let (mut client, mut stream) = stage.connection(way);
    let (length, answer) = (request.len(), response.to_vec());
    let app = thread::spawn(move || {
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
fn unmatched_exchanges_are_byte_for_byte_the_same_as_without_the_agent() {
    let mut stage = Stage::new();
    let (requests, responses) = corpus();
    let (mut compared, mut index) = (0, 0);
    for request in &requests {
        for (response, closes) in &responses {
            index += 1;
            let manner = [Manner::AtOnce, Manner::InPieces, Manner::ThenEnds][index % 3];
            let seen = |way| exchange(&stage, way, request, response, *closes, manner);
            let (without, with) = (seen(Way::Plain), seen(Way::Captured));
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
    report!("{compared} exchanges compared; {}", stage.agent.status());
    assert!(compared > 300);
}

/// The agent holds this back until the rest has arrived.
const HALF_A_HEAD: &[u8] = b"HTTP/1.1 2";

#[test]
#[ignore = "needs root and network namespaces"]
fn exchanges_that_break_off_do_so_as_without_the_agent() {
    let stage = Stage::new();
    // How much of a request and of its response has arrived when one end goes away.
    let requests: [&[u8]; 6] = [
        b"",
        b"GET /half",
        b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n",
        b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\nten bytes.",
        b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"no http\r\n\r\n",
    ];
    let responses: [&[u8]; 5] = [
        b"",
        HALF_A_HEAD,
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nten bytes.",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhe",
        b"HTTP/1.1 200 OK\r\n\r\nuntil",
    ];
    let mut compared = 0;
    for request in requests {
        // Without a request there is no response to break off.
        let responses = if request.ends_with(b"\n") || request.ends_with(b"he") || request.ends_with(b".") {
            &responses[..]
        } else {
            &responses[..1]
        };
        for response in responses {
            for (client_goes, resets) in [(true, true), (true, false), (false, true), (false, false)] {
                if *response == HALF_A_HEAD && (resets || client_goes) {
                    continue;
                }
                let seen = |way| {
                    let (mut client, mut app) = stage.connection(way);
                    client.write_all(request).unwrap();
                    app.read_exact(&mut vec![0; request.len()]).unwrap();
                    app.write_all(response).unwrap();
                    // Half a head has not been passed on yet.
                    if *response != HALF_A_HEAD {
                        client.read_exact(&mut vec![0; response.len()]).unwrap();
                    }
                    let (goes, mut stays) = if client_goes { (client, app) } else { (app, client) };
                    if resets {
                        socket2::SockRef::from(&goes).set_linger(Some(Duration::ZERO)).unwrap();
                    }
                    drop(goes);
                    end(&mut stays)
                };
                let text = (String::from_utf8_lossy(request), String::from_utf8_lossy(response));
                let who = (client_goes, resets);
                assert_eq!(seen(Way::Captured), seen(Way::Plain), "{who:?} {text:?}");
                compared += 1;
            }
        }
    }
    report!("{compared} exchanges given up half way, compared");
    assert!(compared >= 70, "{compared}");
}

/// Bytes without a repeating pattern.
fn noise(length: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    std::iter::repeat_with(next).take(length).collect()
}

#[test]
#[ignore = "needs root and network namespaces"]
fn long_bodies_of_every_framing_cross_byte_for_byte() {
    const LENGTH: usize = 3_000_001;
    let stage = Stage::new();
    let sized = [format!("Content-Length: {LENGTH}\r\n\r\n").into_bytes(), noise(LENGTH)].concat();
    let mut chunks = b"Transfer-Encoding: chunked\r\n\r\n".to_vec();
    for length in [5, 1_000_000, 200_000, 1, LENGTH] {
        chunks.extend(format!("{length:x}\r\n").into_bytes());
        chunks.extend(noise(length));
        chunks.extend(b"\r\n");
    }
    chunks.extend(b"0\r\nTrailer: v\r\n\r\n");
    let until_close = [b"\r\n".to_vec(), noise(LENGTH)].concat();
    let next = b"GET /next HTTP/1.1\r\n\r\n";
    let requests = [
        [&b"POST / HTTP/1.1\r\n"[..], &sized, next].concat(),
        [&b"POST / HTTP/1.1\r\n"[..], &chunks, next].concat(),
        // Not HTTP.
        noise(LENGTH),
    ];
    let answered = b"HTTP/1.1 204 No Content\r\n\r\n";
    let responses = [
        ([&b"HTTP/1.1 200 OK\r\n"[..], &sized, answered].concat(), false),
        ([&b"HTTP/1.1 200 OK\r\n"[..], &chunks, answered].concat(), false),
        ([&b"HTTP/1.1 200 OK\r\n"[..], &until_close].concat(), true),
    ];
    for request in &requests {
        for (response, closes) in &responses {
            for manner in [Manner::AtOnce, Manner::InPieces, Manner::ThenEnds] {
                let seen = exchange(&stage, Way::Captured, request, response, *closes, manner);
                assert!(
                    seen.by_app == *request,
                    "{manner:?}: {} bytes for the application",
                    seen.by_app.len()
                );
                assert!(seen.by_client == *response, "{manner:?}: {} bytes back", seen.by_client.len());
                assert_eq!(seen.client_saw_end, *closes);
            }
        }
    }
}

#[test]
#[ignore = "needs root and network namespaces"]
fn smuggled_requests_reach_the_application_unchanged_and_never_the_preview() {
    let stage = Stage::new();
    let preview = Server::http(stage.world.listen(Place::Preview, PREVIEW4, 8080), "preview");
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
        // The second request can be read in two ways: the rest of the connection goes to the application.
        format!(
            "GET /1 HTTP/1.1\r\n\r\nPOST /2 HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{hidden}"
        ),
    ] {
        let response = b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n";
        let seen = exchange(&stage, Way::Captured, head.as_bytes(), response, true, Manner::AtOnce);
        assert_eq!(String::from_utf8_lossy(&seen.by_app), head);
        assert_eq!(seen.by_client, response);
        assert_eq!(preview.accepted(), 0, "{head:?}");
    }
}
