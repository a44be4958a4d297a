//! HTTP/2 frame by frame, for frames that libraries do not send.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::TcpStream;

pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const RESET: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GO_AWAY: u8 = 7;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const ACKNOWLEDGE: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// `:status: 200`, compressed.
pub(crate) const OK: &[u8] = &[0x88];

/// `GET http://shop/`, compressed.
pub(crate) const GET: &[u8] = b"\x82\x84\x86\x41\x04shop";

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// A frame's bytes.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The next frame; an error of kind `UnexpectedEof` at the end.
pub(crate) fn read(stream: &mut TcpStream) -> io::Result<Frame> {
    let mut head = [0; 9];
    stream.read_exact(&mut head)?;
    let mut payload = vec![0; usize::try_from(u32::from_be_bytes([0, head[0], head[1], head[2]])).unwrap()];
    stream.read_exact(&mut payload)?;
    let number = u32::from_be_bytes(head[5..].try_into().unwrap());
    Ok(Frame { kind: head[3], flags: head[4], stream: number, payload })
}

/// Sends the beginning of a client's connection.
pub(crate) fn begin(stream: &mut TcpStream) {
    stream.write_all(PREFACE).unwrap();
    stream.write_all(&frame(SETTINGS, 0, 0, &[])).unwrap();
}

/// A server that calls `answer` with each frame that belongs to a stream, and with the
/// number of frames of its kind until then. It ends when `answer` returns false.
pub(crate) fn serve(
    mut stream: TcpStream,
    settings: &[u8],
    mut answer: impl FnMut(&mut TcpStream, Frame, usize) -> bool,
) {
    let mut preface = [0; PREFACE.len()];
    if stream.read_exact(&mut preface).is_err() {
        return;
    }
    stream.write_all(&frame(SETTINGS, 0, 0, settings)).unwrap();
    let mut counts = BTreeMap::new();
    while let Ok(frame) = read(&mut stream) {
        if handled(&mut stream, &frame) {
            continue;
        }
        let count = counts.entry(frame.kind).or_insert(0);
        *count += 1;
        if !answer(&mut stream, frame, *count) {
            return;
        }
    }
}

/// Answers a frame that belongs to the connection; false for other frames.
pub(crate) fn handled(stream: &mut TcpStream, seen: &Frame) -> bool {
    if matches!(seen.kind, SETTINGS | PING) && seen.flags & ACKNOWLEDGE == 0 {
        let payload: &[u8] = if seen.kind == PING { &seen.payload } else { &[] };
        let _ = stream.write_all(&frame(seen.kind, ACKNOWLEDGE, 0, payload));
    }
    seen.stream == 0 && seen.kind != GO_AWAY
}
