//! The head of a request as filters see it, the same for every protocol: method,
//! target and headers, with the bytes exactly as sent.

use httparse::Header;

use crate::matching::pattern::MAX_LINE_BYTES;

/// The user agent of the kubelet's probes. A stolen probe restarts the
/// application, so no filter ever matches one.
const PROBE: &[u8] = b"kube-probe/";

/// How many header lines filters look at, and how many bytes of them in all. Lines that
/// are too long for any pattern do not count. HTTP/2 lets a client send 30,000 lines
/// that cost it a byte each.
pub const MAX_LINES: usize = 256;
/// See [`MAX_LINES`].
pub const MAX_LINES_BYTES: usize = 64 * 1024;

/// A request head.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    /// The method, in the sender's case.
    pub method: &'a str,
    /// The request target as sent; in HTTP/2, `:path`.
    pub target: &'a str,
    /// HTTP/2's `:authority`, which stands for the `host` header there.
    pub authority: Option<&'a str>,
    /// The headers in order; a repeated header is there several times.
    pub headers: &'a [Header<'a>],
}

// === impl Head ===

impl<'a> Head<'a> {
    /// The values of the headers called `name`, in order.
    pub fn values(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        self.headers
            .iter()
            .filter(move |header| header.name.eq_ignore_ascii_case(name))
            .map(|header| header.value)
    }

    /// The path and query of the target. Absolute-form targets (`GET
    /// http://host/path`) lose scheme and authority; `*` stays as it is.
    pub fn path_and_query(&self) -> &'a str {
        match self.target.split_once("://") {
            // A `://` behind the first slash belongs to the path or the query.
            Some((scheme, rest)) if !scheme.contains('/') => match rest.find(['/', '?']) {
                Some(start) => &rest[start..],
                None => "/",
            },
            _ => self.target,
        }
    }

    /// The path alone.
    pub fn path(&self) -> &'a str {
        let whole = self.path_and_query();
        whole.split_once('?').map_or(whole, |(path, _)| path)
    }

    /// Whether one of the header lines, each by itself, is as wanted, within
    /// [`MAX_LINES`], [`MAX_LINES_BYTES`] and [`MAX_LINE_BYTES`]. HTTP/2 has no `host`
    /// header; `:authority` is tried as one, so that a filter on the host means the same
    /// in both protocols.
    pub fn any_line(&self, mut is_wanted: impl FnMut(&str, &[u8]) -> bool) -> bool {
        self.lines_in_bounds().any(|(name, value)| is_wanted(name, value))
    }

    /// Whether [`Head::any_line`] leaves out lines.
    pub fn has_lines_beyond_bounds(&self) -> bool {
        self.lines_in_bounds().count() < self.lines().count()
    }

    /// Whether the target is longer than any pattern examines.
    pub const fn has_target_beyond_bounds(&self) -> bool {
        self.target.len() > MAX_LINE_BYTES
    }

    /// The header lines. `:authority` comes first, as in most requests with `host`.
    fn lines(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let authority = self.authority.filter(|_| self.values("host").next().is_none());
        let authority = authority.map(|authority| ("host", authority.as_bytes()));
        authority.into_iter().chain(self.headers.iter().map(|header| (header.name, header.value)))
    }

    fn lines_in_bounds(&self) -> impl Iterator<Item = (&'a str, &'a [u8])> {
        let length = |(name, value): &(&str, &[u8])| name.len() + ": ".len() + value.len();
        let mut bytes = 0;
        let fits = move |line: &(&str, &[u8])| {
            bytes += length(line);
            bytes <= MAX_LINES_BYTES
        };
        self.lines().filter(move |line| length(line) <= MAX_LINE_BYTES).take(MAX_LINES).take_while(fits)
    }

    /// Whether this is one of the kubelet's probes.
    pub fn is_probe(&self) -> bool {
        self.values("user-agent").any(|value| value.starts_with(PROBE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn head(target: &str) -> Head<'_> {
        Head { method: "GET", target, authority: None, headers: &[] }
    }

    #[test]
    fn the_path_is_found_in_every_form_of_a_request_target() {
        for (target, path) in [
            ("/a/b?c=d?e", "/a/b"),
            ("/a", "/a"),
            ("http://shop/a?b", "/a"),
            ("http://shop", "/"),
            ("http://shop?b", ""),
            ("/proxy?to=http://shop/a", "/proxy"),
            ("/http://shop/a", "/http://shop/a"),
            ("*", "*"),
        ] {
            assert_eq!(head(target).path(), path, "{target}");
        }
    }

    #[test]
    fn filters_see_as_much_of_a_head_as_the_bounds_allow() {
        let wanted = Header { name: "x-user", value: b"ann" };
        let sees = |others: &[Header<'_>]| {
            let headers = [others, &[wanted]].concat();
            let head = Head { headers: &headers, ..head("/") };
            let sees = head.any_line(|name, value| name == "x-user" && value == b"ann");
            assert_eq!(
                head.has_lines_beyond_bounds(),
                !sees || others.iter().any(|other| other.value.len() > 20_000)
            );
            sees
        };
        let (short, long) = (Header { name: "a", value: b"" }, vec![b'y'; 16 * 1024 - "x: ".len()]);
        let long = Header { name: "x", value: &long };
        let too_long = vec![b'y'; 30_000];
        let too_long = Header { name: "cookie", value: &too_long };
        assert!(sees(&[]));
        assert!(sees(&[short; MAX_LINES - 1]));
        assert!(!sees(&[short; MAX_LINES]));
        assert!(!sees(&vec![short; 30_000]));
        assert!(sees(&[long; 3]));
        assert!(!sees(&[long; 4]));
        assert!(sees(&[too_long; 20]), "a long cookie hides no other line");
    }

    #[test]
    fn a_probe_is_recognised_by_its_user_agent_header_in_any_case() {
        let headers = [Header { name: "User-agent", value: b"kube-probe/1.34" }];
        assert!(Head { headers: &headers, ..head("/") }.is_probe());
        let headers = [Header { name: "User-Agent", value: b"curl kube-probe/1.34" }];
        assert!(!Head { headers: &headers, ..head("/") }.is_probe());
    }
}
