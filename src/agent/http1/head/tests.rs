//! Heads that all servers read alike, and heads that must not be read.

use proptest::prelude::*;

use super::*;

fn read(text: &str) -> Result<Option<RequestHead>, Doubt> {
    request(text.as_bytes(), &mut 0, |_, _| ()).map(|found| found.map(|(request, ())| request))
}

fn answer(text: &str, kind: RequestKind) -> Result<Option<ResponseHead>, Doubt> {
    response(text.as_bytes(), &mut 0, kind)
}

#[test]
fn a_request_declares_where_its_body_ends() {
    for (headers, framing) in [
        ("", Framing::None),
        ("content-length: 0\r\n", Framing::None),
        ("Content-Length: 12\r\n", Framing::Sized(12)),
        ("tRANSFER-eNCODING:  Chunked \r\n", Framing::CHUNKED),
        ("content-length-x: 3\r\n", Framing::None),
    ] {
        let text = format!("POST /a HTTP/1.1\r\nHost: shop\r\n{headers}\r\n");
        let request = read(&format!("{text}body")).unwrap().unwrap();
        assert_eq!((request.length, request.framing), (text.len(), framing), "{headers}");
    }
}

#[test]
fn a_head_that_could_be_read_in_two_ways_is_doubtful() {
    for head in [
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 5, 5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: +5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 0x5\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length:\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length: 99999999999999999999\r\n\r\n",
        "POST / HTTP/1.1\r\nContent-Length : 5\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n",
        "POST / HTTP/1.1\r\nTransfer-Encoding: \x0bchunked\r\n\r\n",
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n b\r\n\r\n",
        "GET / HTTP/1.1\r\n X: a\r\n\r\n",
        "GET / HTTP/1.1\nX: a\r\n\r\n",
        "GET / HTTP/1.1\r\nX: a\n\r\n",
        "GET / HTTP/1.1\r\nX: a\r\n\n",
        "GET / HTTP/1.1\r\nX: a\rb\r\n\r\n",
        "GET / HTTP/1.1\r\nX\0: a\r\n\r\n",
        "GET / HTTP/2.0\r\n\r\n",
        "GET /\r\n\r\n",
        "\r\nGET / HTTP/1.1\r\n\r\n",
        "GET  / HTTP/1.1\r\n\r\n",
        "garbage\r\n",
    ] {
        assert_eq!(read(head), Err(Doubt), "{head:?}");
    }
}

#[test]
fn a_bad_line_is_doubtful_as_soon_as_it_ends() {
    // A server answers such a line at once; a client may wait for that.
    assert_eq!(read("GET / HTTP/1.1\r\nno colon\r\n"), Err(Doubt));
    assert_eq!(read("GET / HTTP/1.1\r\nHost: shop\r\n"), Ok(None));
}

#[test]
fn a_head_in_pieces_is_read_once_it_is_whole_unless_it_is_too_long() {
    let text = "GET /a HTTP/1.1\r\nHost: shop\r\nX: y\r\n\r\n";
    let mut scanned = 0;
    for end in 0..text.len() {
        assert!(request(&text.as_bytes()[..end], &mut scanned, |_, _| ()).unwrap().is_none());
    }
    assert!(request(text.as_bytes(), &mut scanned, |_, _| ()).unwrap().is_some());
    let long = format!("GET / HTTP/1.1\r\nx: {}\r\n\r\n", "y".repeat(64 * 1024));
    assert_eq!(read(&long).unwrap().unwrap().length, long.len());
    let endless = format!("GET / HTTP/1.1\r\nx: {}", "y".repeat(MAX_HEAD_BYTES));
    assert_eq!(read(&endless), Err(Doubt));
}

#[test]
fn many_headers_are_read() {
    let many = "x-header: y\r\n".repeat(1_000);
    assert!(read(&format!("GET / HTTP/1.1\r\n{many}\r\n")).unwrap().is_some());
}

#[test]
fn the_framing_of_a_response_depends_on_its_request() {
    let next = |text: &str, kind| answer(text, kind).unwrap().unwrap().next;
    let sized = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    assert_eq!(next(sized, RequestKind::Plain), Next::Body(Framing::Sized(5)));
    assert_eq!(next(sized, RequestKind::Head), Next::Body(Framing::None));
    assert_eq!(next(sized, RequestKind::Connect), Next::Tunnel);
    assert_eq!(next("HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", RequestKind::Plain), Next::AnotherHead);
    assert_eq!(next("HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n", RequestKind::Upgrade), Next::Tunnel);
    assert_eq!(answer("HTTP/1.1 101 Switching\r\n\r\n", RequestKind::Plain), Err(Doubt));
    assert_eq!(
        next("HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\n", RequestKind::Plain),
        Next::Body(Framing::None)
    );
    assert_eq!(
        next("HTTP/1.1 304 Not\r\nContent-Length: 5\r\n\r\n", RequestKind::Plain),
        Next::Body(Framing::None)
    );
    assert_eq!(next("HTTP/1.1 200 OK\r\n\r\n", RequestKind::Plain), Next::Body(Framing::UntilClose));
    assert_eq!(
        next("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", RequestKind::Plain),
        Next::Body(Framing::CHUNKED)
    );
    assert_eq!(answer("HTTP/1.1 200 OK\nContent-Length: 5\n\n", RequestKind::Plain), Err(Doubt));
    assert_eq!(
        answer(
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
            RequestKind::Plain
        ),
        Err(Doubt)
    );
}

#[test]
fn a_response_declares_whether_its_sender_keeps_the_connection() {
    let persistence = |text: &str| answer(text, RequestKind::Plain).unwrap().unwrap().persistence;
    assert_eq!(persistence("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"), Persistence::Stays);
    assert_eq!(
        persistence("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n"),
        Persistence::Closes
    );
    assert_eq!(persistence("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n"), Persistence::Closes);
    assert_eq!(
        persistence("HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 0\r\n\r\n"),
        Persistence::Stays
    );
    assert_eq!(persistence("HTTP/1.1 200 OK\r\n\r\n"), Persistence::Closes);
}

/// Lines that servers quarrel about, to be strung together at random.
const PIECES: &[&str] = &[
    "GET / HTTP/1.1\r\n",
    "POST /a HTTP/1.0\r\n",
    "HTTP/1.1 200 OK\r\n",
    "HTTP/1.1 101 S\r\n",
    "\r\n",
    "\n",
    "\r",
    " ",
    "\t",
    ":",
    "Content-Length: 5\r\n",
    "content-length: 05\r\n",
    "Content-Length: -1\r\n",
    "Transfer-Encoding: chunked\r\n",
    "Transfer-Encoding: chunked, gzip\r\n",
    "Host: shop\r\n",
    "X: \u{e9}\r\n",
    "Connection: close\r\n",
    "Upgrade: x\r\n",
    "\0",
    "x",
];

fn pieces() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        20 => prop::sample::select(PIECES).prop_map(|text| text.as_bytes().to_vec()),
        1 => prop::collection::vec(any::<u8>(), 1..4),
    ];
    prop::collection::vec(piece, 0..8).prop_map(|pieces| pieces.concat())
}

proptest! {
    // More of them on demand: the default reads PROPTEST_CASES.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_request_head_is_read_alike_whole_and_byte_by_byte(mut bytes in pieces()) {
        // A bad line is in doubt at its end at the latest.
        bytes.extend_from_slice(b"\r\n");
        let at_once = request(&bytes, &mut 0, |_, _| ()).map(|found| found.map(|(request, ())| request));
        let mut scanned = 0;
        let in_pieces = (1..=bytes.len())
            .map(|end| request(&bytes[..end], &mut scanned, |_, _| ()).map(|found| found.map(|(request, ())| request)))
            .find(|read| !matches!(read, Ok(None)))
            .unwrap_or(Ok(None));
        prop_assert_eq!(at_once, in_pieces);
    }

    #[test]
    fn an_accepted_head_has_only_ordinary_line_ends_and_one_length(bytes in pieces()) {
        if let Ok(Some((head, ()))) = request(&bytes, &mut 0, |_, _| ()) {
            let head = &bytes[..head.length];
            prop_assert!(head.ends_with(b"\r\n\r\n"));
            prop_assert!((0..head.len()).all(|at| head[at] != b'\n' || head[at - 1] == b'\r'));
            let text = String::from_utf8_lossy(head).to_lowercase();
            let lengths = ["content-length:", "transfer-encoding:"];
            prop_assert!(text.lines().filter(|line| lengths.iter().any(|name| line.starts_with(name))).count() <= 1);
        }
        let _ = response(&bytes, &mut 0, RequestKind::Plain);
    }
}
