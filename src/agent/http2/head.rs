//! Heads of HTTP/2 requests.

use http::{HeaderName, HeaderValue, Request, Version};
use httparse::Header;

use crate::traffic::Head;

/// Gives `look` the head as filters see it.
pub(super) fn with_filter_head<T>(request: &Request<()>, look: impl FnOnce(&Head<'_>) -> T) -> T {
    let headers: Vec<Header<'_>> = request
        .headers()
        .iter()
        .map(|(name, value)| Header { name: name.as_str(), value: value.as_bytes() })
        .collect();
    look(&Head {
        method: request.method().as_str(),
        target: request.uri().path_and_query().map_or("", |target| target.as_str()),
        authority: request.uri().authority().map(http::uri::Authority::as_str),
        headers: &headers,
    })
}

/// The head to send on: `h2` takes it by value, and copies and the 503 need it too.
pub(super) fn outgoing(request: &Request<()>) -> Request<()> {
    let mut request = request.clone();
    if request.uri().authority().is_none() {
        // Without an authority there is no scheme either, which h2 insists on in its own version.
        *request.version_mut() = Version::HTTP_11;
    }
    request
}

/// About how many bytes of memory a head takes: names, values, and their lists.
pub(super) fn bytes(request: &Request<()>) -> usize {
    let entry = |(name, value): (&HeaderName, &HeaderValue)| name.as_str().len() + value.len();
    request.headers().iter().map(entry).sum::<usize>() + size_of::<Request<()>>()
}
