//! The head of a request as filters see it, the same for every protocol: method,
//! target and headers, with the bytes exactly as sent.

use httparse::Header;

/// The user agent of the kubelet's probes. A stolen probe restarts the
/// application, so no filter ever matches one.
const PROBE: &[u8] = b"kube-probe/";

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

    /// Whether one of the header lines, each by itself, is as wanted. HTTP/2 has no
    /// `host` header; `:authority` is tried as one, so that a filter on the host
    /// means the same in both protocols.
    pub fn any_line(&self, mut is_wanted: impl FnMut(&str, &[u8]) -> bool) -> bool {
        self.headers.iter().any(|header| is_wanted(header.name, header.value))
            || self.authority.is_some_and(|authority| {
                self.values("host").next().is_none() && is_wanted("host", authority.as_bytes())
            })
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
    fn a_probe_is_recognised_by_its_user_agent_header_in_any_case() {
        let headers = [Header { name: "User-agent", value: b"kube-probe/1.34" }];
        assert!(Head { headers: &headers, ..head("/") }.is_probe());
        let headers = [Header { name: "User-Agent", value: b"curl kube-probe/1.34" }];
        assert!(!Head { headers: &headers, ..head("/") }.is_probe());
    }
}
