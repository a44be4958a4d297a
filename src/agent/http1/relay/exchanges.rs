//! The exchanges of a relay, which both of its halves look at.

use std::collections::VecDeque;

use crate::agent::http1::head::RequestKind;

/// The exchanges with the application.
#[derive(Default)]
pub(super) struct Exchanges {
    /// Requests whose responses are still to come, oldest first.
    pub(super) pending: VecDeque<RequestKind>,
    pub(super) last: LastExchange,
}

/// Which side served the last exchange, and whether the application's connection
/// is still there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum LastExchange {
    /// The application: when it ends its connection, the client's ends too.
    #[default]
    Application,
    /// The preview: to the application, the connection looks idle.
    Preview,
    /// The preview, and the application has ended its idle connection.
    ApplicationGone,
}
