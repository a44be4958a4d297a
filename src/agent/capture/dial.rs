//! The agent's own way to the application, from a source that the capture
//! lets pass, so that no connection can ever come back to the agent.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::program::{SOURCE, SOURCE_PORTS_FROM};
use super::system;

/// How many reserved ports are tried for one IPv6 connection before giving up.
const MAX_TRIES: u32 = 512;

/// The next reserved port; spread over the range so that one in use is rare.
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Connects to the application at the address that the client had dialled.
pub(in crate::agent) async fn dial(original: SocketAddr) -> io::Result<TcpStream> {
    match original.ip() {
        IpAddr::V4(_) => {
            let socket = socket(Domain::IPV4)?;
            system::bind_address_without_port(socket.as_fd())?;
            socket.bind(&SocketAddr::from((SOURCE, 0)).into())?;
            connect(socket, original).await
        }
        // `::1` and the pod's addresses alike: the source is the destination's own.
        IpAddr::V6(address) => {
            let mut last = io::Error::from(io::ErrorKind::AddrInUse);
            for _ in 0..MAX_TRIES {
                let socket = socket(Domain::IPV6)?;
                // A port whose last connection is over can be had again.
                socket.set_reuse_address(true)?;
                let range = u16::MAX - SOURCE_PORTS_FROM;
                let port = SOURCE_PORTS_FROM + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % range;
                let attempt = match socket.bind(&SocketAddr::from((address, port)).into()) {
                    Ok(()) => connect(socket, original).await,
                    Err(error) => Err(error),
                };
                match attempt {
                    Err(error) if is_taken(&error) => last = error,
                    other => return other,
                }
            }
            Err(last)
        }
    }
}

fn socket(domain: Domain) -> io::Result<Socket> {
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_tcp_nodelay(true)?;
    Ok(socket)
}

async fn connect(socket: Socket, to: SocketAddr) -> io::Result<TcpStream> {
    TcpSocket::from_std_stream(socket.into()).connect(to).await
}

fn is_taken(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrInUse | io::ErrorKind::AddrNotAvailable)
}
