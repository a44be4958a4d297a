//! The exchanges of a relay, which both of its halves look at.

use std::collections::VecDeque;

use crate::agent::http1::head::RequestKind;

/// The exchanges with the application.
#[derive(Default)]
pub(super) struct Exchanges {
    /// Requests whose responses are still to come, oldest first.
    pub(super) pending: VecDeque<RequestKind>,
}
