//! Ends that went without a word: where the kernel asks whether the other end
//! of an idle connection is still there.
//!
//! What an application sets on its own sockets reaches no further than the
//! agent's end of them, on the same machine. Without this, a client whose node
//! is gone would stay connected to the application for ever, and so would the
//! agent to a preview whose node is gone.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long nothing is said before the kernel asks, and how long it waits for
/// each answer: what Go's servers set, which is the most common of all.
const ASKS_AFTER: Duration = Duration::from_secs(15);

/// How often it asks in vain.
const TIMES: u32 = 9;

/// Has the kernel watch this connection, or those that this listener accepts.
pub(super) fn watch<'a>(socket: impl Into<SockRef<'a>>) {
    let every = TcpKeepalive::new().with_time(ASKS_AFTER).with_interval(ASKS_AFTER).with_retries(TIMES);
    // Fails only for a socket that is gone already.
    let _ = socket.into().set_tcp_keepalive(&every);
}
