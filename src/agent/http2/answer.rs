//! The answer for a matched request whose preview cannot be reached.

use std::io;

use bytes::Bytes;
use h2::server::SendResponse;
use http::{HeaderValue, Method, Request, Response, StatusCode};

use crate::agent::shared::ActiveSession;
use crate::agent::unavailable::{KEY_HEADER, header_value, message};

/// gRPC's status code UNAVAILABLE.
const GRPC_UNAVAILABLE: &str = "14";

/// Answers with a 503, or to a gRPC client with its status of the same meaning.
pub(super) fn unavailable(
    session: &ActiveSession,
    request: &Request<()>,
    why: &io::Error,
    mut respond: SendResponse<Bytes>,
) {
    session.kept.unavailable();
    let key = &session.rules.key;
    let words = message(key, why);
    let is_grpc = |value: &HeaderValue| value.as_bytes().starts_with(b"application/grpc");
    let builder = Response::builder().header(KEY_HEADER, header_value(key));
    if request.headers().get("content-type").is_some_and(is_grpc) {
        let builder =
            builder.header("content-type", "application/grpc").header("grpc-status", GRPC_UNAVAILABLE);
        // gRPC percent-encodes its messages.
        if let Ok(response) = builder.header("grpc-message", header_value(words.trim_end())).body(()) {
            let _ = respond.send_response(response, true);
        }
        return;
    }
    let builder =
        builder.status(StatusCode::SERVICE_UNAVAILABLE).header("content-type", "text/plain; charset=utf-8");
    // The response to HEAD has no body.
    let is_head = request.method() == Method::HEAD;
    if let Ok(response) = builder.header("cache-control", "no-store").body(())
        && let Ok(mut body) = respond.send_response(response, is_head)
        && !is_head
    {
        let _ = body.send_data(Bytes::from(words), true);
    }
}
