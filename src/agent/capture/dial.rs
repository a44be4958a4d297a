//! The agent's connections to the application. Their source is one that the capture
//! lets pass, so that none of them can come back to the agent.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::program::SOURCE_PORTS;

/// How many source ports are tried for one connection.
const MAX_TRIES: u32 = 128;

/// Counts through the source ports, so that the next one is rarely in use.
static NEXT: AtomicU16 = AtomicU16::new(0);

/// Connects to the application at the client's destination.
pub(in crate::agent) async fn dial(original: SocketAddr) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..MAX_TRIES {
        match dial_from(next_port(), original).await {
            Err(error) if is_taken(&error) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Whether a connection could not be made or accepted for lack of a resource that
/// other connections release when they end.
pub(in crate::agent) fn is_exhausted(error: &io::Error) -> bool {
    let is_scarce = |code| matches!(code, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM);
    is_taken(error) || error.raw_os_error().is_some_and(is_scarce)
}

/// Connects from the destination's own address, whether loopback or the pod's, and
/// from its link where that is part of the address.
async fn dial_from(port: u16, to: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(to), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    // Without it, the port of a closed connection could not be used for a while; and
    // an application with the same option may listen on it.
    socket.set_reuse_address(true)?;
    let mut source = to;
    source.set_port(port);
    socket.bind(&source.into())?;
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

fn next_port() -> u16 {
    let [low, high] = SOURCE_PORTS.map(|ports| (*ports.start(), ports.end() - ports.start() + 1));
    let index = NEXT.fetch_add(1, Ordering::Relaxed) % (low.1 + high.1);
    if index < low.1 { low.0 + index } else { high.0 + (index - low.1) }
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::capture::program::PICKED_PORTS;

    #[test]
    fn every_source_port_is_outside_the_range_that_linux_picks_from() {
        let ports: std::collections::BTreeSet<u16> = (0..=u16::MAX).map(|_| next_port()).collect();
        assert_eq!(ports.len(), 12_768 + 4_535);
        assert!(ports.iter().all(|port| !PICKED_PORTS.contains(port)));
    }
}
