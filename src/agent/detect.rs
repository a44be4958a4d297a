//! Detects a client's protocol by its first bytes. A connection that is not
//! certainly HTTP is carried unread.

/// The first bytes of every HTTP/2 connection.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The longest request line. Longer ones are not HTTP.
const MAX_LINE_BYTES: usize = 64 * 1024;

/// A connection's protocol, as far as its first bytes tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detected {
    /// It could still be HTTP; its first line has not ended.
    Undecided,
    /// It begins with a request line.
    Http1,
    /// It begins with HTTP/2's preface.
    Http2,
    /// TLS, or anything else.
    Other,
}

/// Looks at everything the client has sent so far.
pub(super) fn detect(bytes: &[u8]) -> Detected {
    if bytes.starts_with(PREFACE) {
        return Detected::Http2;
    }
    if PREFACE.starts_with(bytes) {
        return Detected::Undecided;
    }
    let Some(end) = bytes.iter().position(|byte| *byte == b'\n') else {
        return match httparse::Request::new(&mut []).parse(bytes) {
            Ok(_) if bytes.len() <= MAX_LINE_BYTES => Detected::Undecided,
            _ => Detected::Other,
        };
    };
    // The first line alone: the relay checks the headers.
    match httparse::Request::new(&mut []).parse(&bytes[..=end]) {
        Ok(_) if end > 0 && bytes[end - 1] == b'\r' && bytes[0] != b'\r' => Detected::Http1,
        _ => Detected::Other,
    }
}

/// The length of an HTTP/2 frame's header.
pub(super) const SETTINGS_BYTES: usize = 9;

/// Whether a server's first bytes may be HTTP/2 settings. Many servers send them
/// without waiting for the client's preface; the client still decides the protocol.
pub(super) fn may_be_settings(bytes: &[u8]) -> bool {
    // Less than 16 KiB of entries, type 4, no flags, stream 0.
    let expected = |(at, byte): (usize, &u8)| match at {
        1 => *byte < 0x40,
        2 => true,
        3 => *byte == 4,
        // The length's first byte, the flags, the stream.
        _ => *byte == 0,
    };
    !bytes.is_empty() && bytes.iter().take(SETTINGS_BYTES).enumerate().all(expected)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_distinguished_from_the_greetings_of_other_servers() {
        assert!(may_be_settings(&[0, 0, 18, 4, 0, 0, 0, 0, 0]));
        assert!(may_be_settings(&[0, 0]));
        for greeting in
            [&b""[..], b"220 ready\r\n", b"\x4a\0\0\0\x0a8.0.36", b"SSH-2.0-x", b"\0\0\x12\x03\0\0\0\0\0"]
        {
            assert!(!may_be_settings(greeting), "{greeting:?}");
        }
    }

    #[test]
    fn http_is_distinguished_from_other_protocols_that_begin_with_letters() {
        for (bytes, detected) in [
            (&b""[..], Detected::Undecided),
            (b"G", Detected::Undecided),
            (b"GET /a?b HTTP/1.1", Detected::Undecided),
            (b"GET /a?b HTTP/1.1\r\n", Detected::Http1),
            (b"PURGE * HTTP/1.0\r\nx: y\r\n\r\n", Detected::Http1),
            (b"GET / HTTP/1.1\r\nnot a header\r\n", Detected::Http1),
            (b"P", Detected::Undecided),
            (b"PRI * HTTP/2.0\r\n\r\nS", Detected::Undecided),
            (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0", Detected::Http2),
            (b"PRI * HTTP/2.0\r\n\r\nXX", Detected::Other),
            (b"PROXY TCP4 10.0.0.1 10.0.0.2 1 2\r\n", Detected::Other),
            (b"\x16\x03\x01\x02\x00\x01", Detected::Other),
            (b"*1\r\n$4\r\nPING\r\n", Detected::Other),
            (b"PING\r\n", Detected::Other),
            (b"EHLO mail.example.com\r\n", Detected::Other),
            (b"GET /\r\n", Detected::Other),
            (b"GET / HTTP/1.1\n", Detected::Other),
            (b"\r\nGET / HTTP/1.1\r\n", Detected::Other),
            (b"\0\0\0\x08", Detected::Other),
        ] {
            assert_eq!(detect(bytes), detected, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn the_protocol_is_undecided_until_the_first_line_ends() {
        let line = b"GET /cart?item=1 HTTP/1.1\r\n";
        assert!((0..line.len() - 1).all(|end| detect(&line[..end]) == Detected::Undecided));
        assert!((0..PREFACE.len()).all(|end| detect(&PREFACE[..end]) == Detected::Undecided));
    }
}
