//! Keep-alive of TCP: the kernel finds out that the peer of an idle connection
//! is gone.
//!
//! An application's own socket options reach only the agent's end of its
//! connections, on the same machine. Without keep-alive here, a client whose
//! node is gone would stay connected to the application for ever, and the agent
//! would stay connected to a preview whose node is gone.

use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};

/// How long a connection may be silent before the kernel sends a probe, and the
/// time between two probes: the setting of Go's servers, the most common of all.
const INTERVAL: Duration = Duration::from_secs(15);

/// How many probes may stay unanswered before the connection fails.
const PROBES: u32 = 9;

/// Turns keep-alive on for a connection, or for all that a listener accepts.
pub(super) fn watch<'a>(socket: impl Into<SockRef<'a>>) {
    let options = TcpKeepalive::new().with_time(INTERVAL).with_interval(INTERVAL).with_retries(PROBES);
    // Fails only for a socket that is gone already.
    let _ = socket.into().set_tcp_keepalive(&options);
}
