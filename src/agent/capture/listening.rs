//! Where the application listens, asked from the kernel over netlink
//! (`sock_diag`), as `ss -ltn` does.

use std::collections::BTreeSet;
use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

/// A place in a network namespace where connections can arrive. An
/// unspecified address stands for every address of its family.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(in crate::agent) struct Place {
    /// The address.
    pub(in crate::agent) address: IpAddr,
    /// The port.
    pub(in crate::agent) port: u16,
}

/// A connection that stands, seen from its local end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Established {
    /// The local end.
    pub(super) local: Place,
    /// The other end.
    pub(super) remote: Place,
}

// From <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const INET_DIAG_SKV6ONLY: u16 = 11;
const TCP_ESTABLISHED: u32 = 1;
const TCP_LISTEN: u32 = 10;
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES: usize = 72;

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// One netlink socket, kept open.
#[derive(Debug)]
pub(super) struct Sockets {
    socket: Socket,
    buffer: Vec<u8>,
}

struct Entry {
    local: Place,
    remote: Place,
    v6_only: bool,
}

// === impl Sockets ===

impl Sockets {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::DGRAM,
            Some(Protocol::from(libc::NETLINK_SOCK_DIAG)),
        )?;
        socket.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { socket, buffer: vec![0; 32 * 1024] })
    }

    /// Every place where something listens. A listener on `::` that takes IPv4
    /// too counts in both families.
    pub(super) fn listening(&mut self) -> io::Result<BTreeSet<Place>> {
        let mut places = BTreeSet::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            for entry in self.dump(family, TCP_LISTEN)? {
                let Place { address, port } = entry.local;
                places.insert(Place { address, port });
                if address == IpAddr::V6(Ipv6Addr::UNSPECIFIED) && !entry.v6_only {
                    places.insert(Place { address: Ipv4Addr::UNSPECIFIED.into(), port });
                }
            }
        }
        Ok(places)
    }

    /// Every connection that stands.
    pub(super) fn established(&mut self) -> io::Result<Vec<Established>> {
        let mut connections = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let entries = self.dump(family, TCP_ESTABLISHED)?;
            connections
                .extend(entries.into_iter().map(|Entry { local, remote, .. }| Established { local, remote }));
        }
        Ok(connections)
    }

    fn dump(&mut self, family: i32, state: u32) -> io::Result<Vec<Entry>> {
        let mut request = [0_u8; HEADER_BYTES + 56];
        request[0..4].copy_from_slice(&72_u32.to_ne_bytes());
        request[4..6].copy_from_slice(&SOCK_DIAG_BY_FAMILY.to_ne_bytes());
        request[6..8].copy_from_slice(&NLM_F_REQUEST_DUMP.to_ne_bytes());
        request[16] = u8::try_from(family).unwrap_or(0);
        request[17] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
        request[20..24].copy_from_slice(&(1_u32 << state).to_ne_bytes());
        self.socket.send(&request)?;
        let mut entries = Vec::new();
        loop {
            let length = (&self.socket).read(&mut self.buffer)?;
            if entries_in(&self.buffer[..length], &mut entries)? == Dump::Done {
                return Ok(entries);
            }
        }
    }
}

#[derive(PartialEq, Eq)]
enum Dump {
    More,
    Done,
}

/// Reads one datagram of a dump.
fn entries_in(mut datagram: &[u8], entries: &mut Vec<Entry>) -> io::Result<Dump> {
    while let (Some(length), Some(kind)) = (word(datagram, 0), half(datagram, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < HEADER_BYTES || length > datagram.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let payload = &datagram[HEADER_BYTES..length];
        match kind {
            NLMSG_DONE => return Ok(Dump::Done),
            NLMSG_ERROR => {
                let code = word(payload, 0).unwrap_or(0).cast_signed();
                return Err(io::Error::from_raw_os_error(-code));
            }
            _ => entries.extend(entry(payload)),
        }
        // Messages start at multiples of four.
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    Ok(Dump::More)
}

fn entry(message: &[u8]) -> Option<Entry> {
    let family = i32::from(*message.first()?);
    let port = |at| message.get(at..at + 2)?.try_into().ok().map(u16::from_be_bytes);
    let address = |at: usize| -> Option<IpAddr> {
        Some(if family == libc::AF_INET {
            let octets: [u8; 4] = message.get(at..at + 4)?.try_into().ok()?;
            octets.into()
        } else {
            let octets: [u8; 16] = message.get(at..at + 16)?.try_into().ok()?;
            Ipv6Addr::from(octets).to_canonical()
        })
    };
    let mut v6_only = false;
    let mut attributes = message.get(MESSAGE_BYTES..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        if length < 4 {
            break;
        }
        if kind == INET_DIAG_SKV6ONLY {
            v6_only = attributes.get(4).is_some_and(|flag| *flag != 0);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Entry {
        local: Place { address: address(8)?, port: port(4)? },
        remote: Place { address: address(24)?, port: port(6)? },
        v6_only,
    })
}

fn half(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..at + 2)?.try_into().ok().map(u16::from_ne_bytes)
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes)
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    #[test]
    fn a_listener_is_seen_where_it_listens_and_only_while_it_does() {
        let mut sockets = Sockets::open().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let both = TcpListener::bind("[::]:0").unwrap();
        let place = |text: &str, port| Place { address: text.parse().unwrap(), port };
        let (one, two) = (listener.local_addr().unwrap().port(), both.local_addr().unwrap().port());
        let places = sockets.listening().unwrap();
        assert!(places.contains(&place("127.0.0.1", one)));
        assert!(!places.contains(&place("0.0.0.0", one)));
        assert!(places.contains(&place("::", two)) && places.contains(&place("0.0.0.0", two)));
        drop(listener);
        assert!(!sockets.listening().unwrap().contains(&place("127.0.0.1", one)));
    }

    #[test]
    fn a_connection_is_seen_from_both_ends() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let connections = Sockets::open().unwrap().established().unwrap();
        let from = client.local_addr().unwrap().port();
        assert!(connections.iter().any(|seen| seen.local.port == port && seen.remote.port == from));
        assert!(connections.iter().any(|seen| seen.local.port == from && seen.remote.port == port));
    }
}
