//! A request that a session takes from the application, and how the client's
//! connection goes on after it.

use super::copy::Copies;
use super::head::{RequestHead, RequestKind};
use crate::agent::shared::ActiveSession;

/// A request that matches a session's filter. Its head is still held in the
/// buffer.
pub(super) struct MatchedRequest {
    pub(super) session: ActiveSession,
    /// The application's port that the client dialled.
    pub(super) port: u16,
    pub(super) head: RequestHead,
    /// The copies for sessions that mirror.
    pub(super) copies: Copies,
}

/// What follows an exchange on the client's connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AfterExchange {
    /// The next request.
    NextRequest,
    /// The end of the connection.
    Close,
}

// === impl MatchedRequest ===

impl MatchedRequest {
    /// Whether the method is `HEAD`: the response has no body.
    pub(super) fn is_head(&self) -> bool {
        self.head.kind == RequestKind::Head
    }
}
