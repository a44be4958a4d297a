//! Entry points for `tests/fuzz`: heads and chunked bodies must be read alike
//! whole and in pieces.

use std::fmt::Debug;

use super::chunked::Chunked;
use super::head::{self, Doubt, RequestKind};
use crate::agent::detect::{Detected, detect};

/// Reads a request head, and the bytes behind it as its body.
///
/// # Panics
///
/// A panic is a finding.
pub fn request(bytes: &[u8], cuts: &[u8]) {
    let facts = |bytes: &[u8], scanned: &mut usize| {
        head::request(bytes, scanned, |request, parsed| {
            let count = |name: &str| {
                parsed.headers.iter().filter(|header| header.name.eq_ignore_ascii_case(name)).count()
            };
            let declared = count("content-length") + count("transfer-encoding");
            assert!(declared <= 1, "a body declared in two ways was understood");
            assert!(request.length <= bytes.len() && bytes[..request.length].ends_with(b"\r\n\r\n"));
            assert_eq!(
                bytes[..request.length].windows(4).position(|four| four == b"\r\n\r\n"),
                Some(request.length - 4),
                "the head ends at its first empty line"
            );
        })
        .map(|found| found.map(|(request, ())| request))
    };
    let detected = ends(bytes, cuts).into_iter().map(|end| detect(&bytes[..end]));
    let decided: Vec<_> = detected.skip_while(|detected| *detected == Detected::Undecided).collect();
    assert!(decided.windows(2).all(|pair| pair[0] == pair[1]), "a decision is final: {decided:?}");
    let whole = facts(bytes, &mut 0);
    agree(&in_pieces(bytes, cuts, facts), &whole);
    if let Ok(Some(mut found)) = whole {
        let body = &bytes[found.length..];
        if let Ok(used) = found.framing.advance(body, |_| {}) {
            assert!(used <= body.len() && (found.framing.is_done() || used == body.len()));
        }
    }
}

/// Reads the head of a response to a request of some kind.
///
/// # Panics
///
/// A panic is a finding.
pub fn response(bytes: &[u8], cuts: &[u8]) {
    for kind in [RequestKind::Plain, RequestKind::Head, RequestKind::Upgrade, RequestKind::Connect] {
        let read = |bytes: &[u8], scanned: &mut usize| head::response(bytes, scanned, kind);
        let whole = read(bytes, &mut 0);
        agree(&in_pieces(bytes, cuts, read), &whole);
        if let Ok(Some(found)) = whole {
            assert!(bytes[..found.length].ends_with(b"\r\n\r\n"), "{kind:?}");
        }
    }
}

/// Reads a chunked body. A plain second reader must find the same content.
///
/// # Panics
///
/// A panic is a finding.
pub fn chunks(bytes: &[u8], cuts: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let (mut place, mut content, mut used) = (Chunked::START, Vec::new(), 0);
        for piece in pieces {
            used += place.advance(piece, |data| content.extend_from_slice(data))?;
        }
        Ok::<_, super::chunked::BadChunk>((place == Chunked::Done, used, content))
    };
    let whole = read(&[bytes]);
    let ends = ends(bytes, cuts);
    let pieces: Vec<_> = ends.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect();
    assert_eq!(read(&pieces), whole);
    if let Ok((true, used, content)) = whole {
        assert_eq!(plainly(&bytes[..used]), Some(content));
    }
}

/// The content of a whole chunked body, line by line.
fn plainly(mut bytes: &[u8]) -> Option<Vec<u8>> {
    let mut content = Vec::new();
    loop {
        let end = bytes.windows(2).position(|pair| pair == b"\r\n")?;
        let line = std::str::from_utf8(bytes[..end].split(|byte| *byte == b';').next()?).ok()?;
        let size = usize::from_str_radix(line, 16).ok()?;
        bytes = &bytes[end + 2..];
        if size == 0 {
            return bytes.ends_with(b"\r\n").then_some(content);
        }
        content.extend_from_slice(bytes.get(..size)?);
        bytes = bytes.get(size..)?.strip_prefix(b"\r\n")?;
    }
}

/// Reads growing parts of `bytes`, as they would arrive, until there is a result.
fn in_pieces<T>(
    bytes: &[u8],
    cuts: &[u8],
    read: impl Fn(&[u8], &mut usize) -> Result<Option<T>, Doubt>,
) -> Result<Option<T>, Doubt> {
    let mut scanned = 0;
    let mut last = Ok(None);
    for end in ends(bytes, cuts) {
        if end == 0 {
            continue;
        }
        last = read(&bytes[..end], &mut scanned);
        if !matches!(last, Ok(None)) {
            break;
        }
    }
    last
}

/// A doubt about a line that has not ended may wait for its end. Nothing else may
/// depend on how the bytes were cut.
fn agree<T: PartialEq + Debug>(pieces: &Result<Option<T>, Doubt>, whole: &Result<Option<T>, Doubt>) {
    if *pieces != Ok(None) || *whole != Err(Doubt) {
        assert_eq!(pieces, whole);
    }
}

/// Places in `bytes`, first and last included, in order.
fn ends(bytes: &[u8], cuts: &[u8]) -> Vec<usize> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| usize::from(*cut).min(bytes.len())).collect();
    ends.extend([0, bytes.len()]);
    ends.sort_unstable();
    ends
}
