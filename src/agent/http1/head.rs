//! The heads of HTTP/1 messages: where they end, and where their bodies will.
//!
//! Pure functions from bytes to values. Where servers are known to disagree, the
//! result is [`Doubt`], and the caller stops reading for good.

use std::mem::MaybeUninit;

use httparse::{Header, Status};

use super::framing::Framing;
use crate::traffic::Head;

/// The longest head that is read. Servers stop at 8 to 64 KiB.
const MAX_HEAD_BYTES: usize = 128 * 1024;

/// How many headers are parsed on the stack. For more of them, a list is allocated.
const USUAL_HEADERS: usize = 64;

/// The most headers that are read. Servers stop at about 100.
const MAX_HEADERS: usize = 2_048;

/// A message that could be read in more than one way, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Doubt;

/// A request's head, as far as framing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RequestHead {
    /// Bytes of the head, with the empty line.
    pub(super) length: usize,
    /// Where its body ends.
    pub(super) framing: Framing,
    /// How its response is framed.
    pub(super) kind: RequestKind,
    /// Whether the client wants the connection kept.
    pub(super) persistence: Persistence,
}

/// The property of a request on which the framing of its response depends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestKind {
    /// Any request that is none of the others.
    Plain,
    /// `HEAD`: the response has no body, whatever its headers say.
    Head,
    /// An `Upgrade` header: a 101 makes it a tunnel.
    Upgrade,
    /// `CONNECT`: a 2xx makes it a tunnel.
    Connect,
}

/// A response's head, as far as framing needs it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ResponseHead {
    /// Bytes of the head.
    pub(super) length: usize,
    /// The next part of the message.
    pub(super) next: Next,
    /// Whether the sender keeps the connection open after the response.
    pub(super) persistence: Persistence,
}

/// The part that follows a response's head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Another head for the same request: this one was 1xx.
    AnotherHead,
    /// A body.
    Body(Framing),
    /// Another protocol.
    Tunnel,
}

/// Whether a connection can carry another exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Persistence {
    /// It can.
    Stays,
    /// It closes after this one.
    Closes,
}

/// Reads the request head at the start of `bytes`, calls `judge` with it, and
/// returns both results. `None`: more bytes are needed. `scanned` counts the bytes
/// that were looked at before; it starts at 0 for each head.
pub(super) fn request<T>(
    bytes: &[u8],
    scanned: &mut usize,
    judge: impl FnOnce(&RequestHead, &httparse::Request<'_, '_>) -> T,
) -> Result<Option<(RequestHead, T)>, Doubt> {
    if !worth_parsing(bytes, scanned)? {
        return not_too_long(bytes);
    }
    let mut few = [MaybeUninit::uninit(); USUAL_HEADERS];
    let mut parsed = httparse::Request::new(&mut []);
    match parsed.parse_with_uninit_headers(bytes, &mut few) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![MaybeUninit::uninit(); MAX_HEADERS];
            let mut parsed = httparse::Request::new(&mut []);
            let status = parsed.parse_with_uninit_headers(bytes, &mut many).map_err(|_| Doubt)?;
            understood(bytes, status, &parsed, judge)
        }
        status => understood(bytes, status.map_err(|_| Doubt)?, &parsed, judge),
    }
}

/// The head as filters see it.
pub(super) fn filter_head<'a>(parsed: &'a httparse::Request<'_, '_>) -> Head<'a> {
    Head {
        method: parsed.method.unwrap_or_default(),
        target: parsed.path.unwrap_or_default(),
        authority: None,
        headers: parsed.headers,
    }
}

fn understood<T>(
    bytes: &[u8],
    status: Status<usize>,
    parsed: &httparse::Request<'_, '_>,
    judge: impl FnOnce(&RequestHead, &httparse::Request<'_, '_>) -> T,
) -> Result<Option<(RequestHead, T)>, Doubt> {
    let Status::Complete(length) = status else { return not_too_long(bytes) };
    let (Some(method), Some(version)) = (parsed.method, parsed.version) else { return Err(Doubt) };
    let declared = declared(parsed.headers, version)?;
    let kind = match method {
        "HEAD" => RequestKind::Head,
        "CONNECT" => RequestKind::Connect,
        _ if declared.upgrade => RequestKind::Upgrade,
        _ => RequestKind::Plain,
    };
    let framing = match declared.body {
        Some(Framing::Sized(0)) | None => Framing::None,
        Some(framing) => framing,
    };
    let request = RequestHead { length, framing, kind, persistence: declared.persistence };
    let answer = judge(&request, parsed);
    Ok(Some((request, answer)))
}

/// Reads the head of the response to a request of this kind, like [`request`].
pub(super) fn response(
    bytes: &[u8],
    scanned: &mut usize,
    kind: RequestKind,
) -> Result<Option<ResponseHead>, Doubt> {
    if !worth_parsing(bytes, scanned)? {
        return not_too_long(bytes);
    }
    let mut few = [MaybeUninit::uninit(); USUAL_HEADERS];
    let config = httparse::ParserConfig::default();
    let mut parsed = httparse::Response::new(&mut []);
    match config.parse_response_with_uninit_headers(&mut parsed, bytes, &mut few) {
        Err(httparse::Error::TooManyHeaders) => {
            let mut many = vec![MaybeUninit::uninit(); MAX_HEADERS];
            let mut parsed = httparse::Response::new(&mut []);
            let status = config
                .parse_response_with_uninit_headers(&mut parsed, bytes, &mut many)
                .map_err(|_| Doubt)?;
            answered(bytes, status, &parsed, kind)
        }
        status => answered(bytes, status.map_err(|_| Doubt)?, &parsed, kind),
    }
}

fn answered(
    bytes: &[u8],
    status: Status<usize>,
    parsed: &httparse::Response<'_, '_>,
    kind: RequestKind,
) -> Result<Option<ResponseHead>, Doubt> {
    let Status::Complete(length) = status else { return not_too_long(bytes) };
    let (Some(code), Some(version)) = (parsed.code, parsed.version) else { return Err(Doubt) };
    let declared = declared(parsed.headers, version)?;
    let next = match (code, kind) {
        (101, RequestKind::Upgrade) | (200..=299, RequestKind::Connect) => Next::Tunnel,
        // A change of protocol that the client did not ask for.
        (101, _) => return Err(Doubt),
        (100..=199, _) => Next::AnotherHead,
        (204 | 304, _) | (_, RequestKind::Head) => Next::Body(Framing::None),
        _ => Next::Body(declared.body.unwrap_or(Framing::UntilClose)),
    };
    let persistence = match next {
        Next::Body(Framing::UntilClose) => Persistence::Closes,
        _ => declared.persistence,
    };
    Ok(Some(ResponseHead { length, next, persistence }))
}

/// Whether parsing `bytes` can tell more than last time: a line has ended since.
fn worth_parsing(bytes: &[u8], scanned: &mut usize) -> Result<bool, Doubt> {
    let seen = std::mem::replace(scanned, bytes.len());
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        // Some servers skip empty lines before a head, others refuse them.
        return Err(Doubt);
    }
    let mut lines = false;
    for (at, _) in bytes.iter().enumerate().skip(seen).filter(|(_, byte)| **byte == b'\n') {
        // Some servers end lines here, others do not.
        if at == 0 || bytes[at - 1] != b'\r' {
            return Err(Doubt);
        }
        lines = true;
        if bytes[..=at].ends_with(b"\r\n\r\n") {
            break;
        }
    }
    Ok(lines)
}

/// An unfinished head, which must not become too long.
fn not_too_long<T>(bytes: &[u8]) -> Result<Option<T>, Doubt> {
    if bytes.len() > MAX_HEAD_BYTES { Err(Doubt) } else { Ok(None) }
}

struct DeclaredLength {
    body: Option<Framing>,
    upgrade: bool,
    persistence: Persistence,
}

/// Finds where the message ends, if the headers say so once and clearly.
fn declared(headers: &[Header<'_>], version: u8) -> Result<DeclaredLength, Doubt> {
    let mut declared = DeclaredLength {
        body: None,
        upgrade: false,
        persistence: if version == 0 { Persistence::Closes } else { Persistence::Stays },
    };
    for header in headers {
        // The length first: most headers are none of these.
        let framing = match header.name.len() {
            14 if header.name.eq_ignore_ascii_case("content-length") => Framing::Sized(length(header.value)?),
            17 if header.name.eq_ignore_ascii_case("transfer-encoding") => {
                if version == 0 || !header.value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Doubt);
                }
                Framing::CHUNKED
            }
            7 if header.name.eq_ignore_ascii_case("upgrade") => {
                declared.upgrade = true;
                continue;
            }
            10 if header.name.eq_ignore_ascii_case("connection") => {
                if has_token(header.value, b"close") {
                    declared.persistence = Persistence::Closes;
                } else if has_token(header.value, b"keep-alive") && version == 0 {
                    declared.persistence = Persistence::Stays;
                }
                continue;
            }
            _ => continue,
        };
        if declared.body.replace(framing).is_some() {
            // Declared twice, or in both ways: servers differ in which one counts.
            return Err(Doubt);
        }
    }
    Ok(declared)
}

/// Digits only: servers differ in how they read `+5`, `5, 5` and `0x5`.
fn length(value: &[u8]) -> Result<u64, Doubt> {
    if value.is_empty() || !value.iter().all(u8::is_ascii_digit) {
        return Err(Doubt);
    }
    std::str::from_utf8(value).ok().and_then(|text| text.parse().ok()).ok_or(Doubt)
}

fn has_token(list: &[u8], token: &[u8]) -> bool {
    list.split(|byte| *byte == b',').any(|item| item.trim_ascii().eq_ignore_ascii_case(token))
}

#[cfg(test)]
mod tests;
