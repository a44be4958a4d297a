//! The agent's own way to the application, from a source that the capture
//! lets pass, so that no connection can ever come back to the agent.

use std::io;
use std::net::{Ipv4Addr, SocketAddr, SocketAddrV6};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicU16, Ordering};

use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpSocket, TcpStream};

use super::program::{SOURCE_NETWORK, SOURCE_PORTS_FROM};
use super::system;

/// How many reserved ports are tried for one IPv6 connection before giving up.
const MAX_TRIES: u32 = 512;

/// How many reserved addresses are tried for one IPv4 connection: each has as
/// many ports as any client.
const MAX_ADDRESS_TRIES: u32 = 4;

/// The next reserved address, and the next reserved port; spread over their
/// ranges so that one in use is rare.
static NEXT_ADDRESS: AtomicU16 = AtomicU16::new(0);
static NEXT_PORT: AtomicU16 = AtomicU16::new(0);

/// Connects to the application at the address that the client had dialled.
pub(in crate::agent) async fn dial(original: SocketAddr) -> io::Result<TcpStream> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    let tries = if original.is_ipv4() { MAX_ADDRESS_TRIES } else { MAX_TRIES };
    for _ in 0..tries {
        let attempt = match original {
            SocketAddr::V4(_) => dial4(original).await,
            SocketAddr::V6(to) => dial6(to).await,
        };
        match attempt {
            Err(error) if is_taken(&error) => last = error,
            other => return other,
        }
    }
    Err(last)
}

/// Whether a connection could not be made, or accepted, for want of something
/// that other connections give back.
pub(in crate::agent) fn is_exhausted(error: &io::Error) -> bool {
    let is_scarce = |code| matches!(code, libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM);
    is_taken(error) || error.raw_os_error().is_some_and(is_scarce)
}

async fn dial4(to: SocketAddr) -> io::Result<TcpStream> {
    let [a, b, c] = SOURCE_NETWORK;
    // The first of the network and the last are nobody's.
    let host = NEXT_ADDRESS.fetch_add(1, Ordering::Relaxed) % 254 + 1;
    let source = Ipv4Addr::new(a, b, c, u8::try_from(host).unwrap_or(1));
    let socket = socket(Domain::IPV4)?;
    system::bind_address_without_port(socket.as_fd())?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    connect(socket, to).await
}

/// `::1` and the pod's addresses alike: the source is the destination's own, on
/// the same link where that is part of the address.
async fn dial6(to: SocketAddrV6) -> io::Result<TcpStream> {
    let socket = socket(Domain::IPV6)?;
    // A port whose last connection is over can be had again.
    socket.set_reuse_address(true)?;
    let range = u16::MAX - SOURCE_PORTS_FROM;
    let port = SOURCE_PORTS_FROM + NEXT_PORT.fetch_add(1, Ordering::Relaxed) % range;
    socket.bind(&SocketAddr::from(SocketAddrV6::new(*to.ip(), port, 0, to.scope_id())).into())?;
    connect(socket, to.into()).await
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
