//! The kernel's sockets, asked for and closed over netlink (`sock_diag`), as
//! `ss` does.

use std::io::{self, Read as _};
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use super::place::Place;

// From <linux/netlink.h>, <linux/sock_diag.h> and <linux/inet_diag.h>.
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const SOCK_DESTROY: u16 = 21;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLM_F_REQUEST_ACK: u16 = 0x5;
const INET_DIAG_INFO: u16 = 2;
const INET_DIAG_SKV6ONLY: u16 = 11;
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;
const MESSAGE_BYTES: usize = 72;

// Where the fields lie in `struct tcp_info`: packets that nobody has
// acknowledged, how many milliseconds ago data was last sent and received, and
// the packets of data either way.
const UNACKNOWLEDGED: usize = 24;
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;
const PACKETS_RECEIVED: usize = 152;
const PACKETS_SENT: usize = 156;

/// The kernel answers at once or not at all.
const PATIENCE: Duration = Duration::from_millis(500);

/// The states of a socket that are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum State {
    /// A connection that stands.
    Established = 1,
    /// A listener.
    Listen = 10,
}

/// One netlink socket, kept open.
#[derive(Debug)]
pub(super) struct Sockets {
    socket: Socket,
    buffer: Vec<u8>,
    /// The number of the last question, which its answers carry too.
    sequence: u32,
}

/// A socket of the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The local end.
    pub(super) local: Place,
    /// The other end.
    pub(super) remote: Place,
    /// A listener that takes no IPv4.
    pub(super) v6_only: bool,
    /// Tells it from every other socket there ever was.
    cookie: [u8; 8],
    /// The file behind it; 0 while no process has accepted it.
    pub(super) inode: u32,
    /// Bytes that wait for the process or for the other end.
    pub(super) queued: u32,
    /// What it has done; `None` where the kernel does not say.
    pub(super) traffic: Option<Traffic>,
    /// What kind of socket it is, in the kernel's words.
    state: u8,
}

/// What a connection has carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    /// For how long nothing was sent.
    pub(super) sent_ago: Duration,
    /// For how long nothing was received.
    pub(super) received_ago: Duration,
    /// Whether anything was ever sent.
    pub(super) has_sent: bool,
    /// Whether anything was ever received.
    pub(super) has_received: bool,
}

// === impl Entry ===

#[cfg(test)]
impl Entry {
    /// One with these values, and no other.
    pub(super) fn for_test(local: Place, queued: u32, traffic: Option<Traffic>) -> Self {
        let state = State::Established as u8;
        Self { local, remote: local, v6_only: false, cookie: [0; 8], inode: 1, queued, traffic, state }
    }
}

// === impl Sockets ===

impl Sockets {
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: socket()?, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// Every socket in this state, of both families.
    pub(super) fn dump(&mut self, state: State) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, family);
            request[18] = 1 << (INET_DIAG_INFO - 1);
            request[20..24].copy_from_slice(&(1_u32 << state as u8).to_ne_bytes());
            entries.extend(self.ask(request)?);
        }
        // What the kernel was not asked for is nothing to act upon.
        entries.retain(|entry| entry.state == state as u8);
        Ok(entries)
    }

    /// Closes a connection from the outside: both ends see it reset. One that
    /// is over by itself is an error of kind `NotFound` or `StaleNetworkFileHandle`.
    pub(super) fn destroy(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.state != State::Established as u8 {
            // Never the application's listener, whatever is asked for.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // IPv4 within a socket for IPv6 is found as what it is.
        let family = if entry.local.address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut request = request(SOCK_DESTROY, NLM_F_REQUEST_ACK, family);
        request[24..26].copy_from_slice(&entry.local.port.to_be_bytes());
        request[26..28].copy_from_slice(&entry.remote.port.to_be_bytes());
        for (at, address) in [(28, entry.local.address), (44, entry.remote.address)] {
            match address {
                IpAddr::V4(address) => request[at..at + 4].copy_from_slice(&address.octets()),
                IpAddr::V6(address) => request[at..at + 16].copy_from_slice(&address.octets()),
            }
        }
        // Without it, the kernel would take the listener in the place of a
        // connection that has just ended.
        request[64..72].copy_from_slice(&entry.cookie);
        self.ask(request).map(drop)
    }

    /// Asks, and reads everything that answers this and nothing else.
    fn ask(&mut self, mut request: [u8; REQUEST_BYTES]) -> io::Result<Vec<Entry>> {
        self.sequence = self.sequence.wrapping_add(1);
        request[8..12].copy_from_slice(&self.sequence.to_ne_bytes());
        let answers = self.answers(&request);
        if answers.is_err() {
            // What is still to come of it is in nobody's way on a socket of its own.
            self.socket = socket()?;
        }
        answers
    }

    fn answers(&mut self, request: &[u8]) -> io::Result<Vec<Entry>> {
        self.socket.send(request)?;
        let mut entries = Vec::new();
        loop {
            let length = (&self.socket).read(&mut self.buffer)?;
            if entries_in(&self.buffer[..length], self.sequence, &mut entries)? == Dump::Done {
                return Ok(entries);
            }
        }
    }
}

fn socket() -> io::Result<Socket> {
    let kind = Some(Protocol::from(libc::NETLINK_SOCK_DIAG));
    let socket = Socket::new(Domain::from(libc::AF_NETLINK), Type::DGRAM, kind)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Ok(socket)
}

fn request(kind: u16, flags: u16, family: i32) -> [u8; REQUEST_BYTES] {
    let mut request = [0; REQUEST_BYTES];
    request[0..4].copy_from_slice(&72_u32.to_ne_bytes());
    request[4..6].copy_from_slice(&kind.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[16] = u8::try_from(family).unwrap_or(0);
    request[17] = u8::try_from(libc::IPPROTO_TCP).unwrap_or(0);
    request
}

#[derive(PartialEq, Eq)]
enum Dump {
    More,
    Done,
}

/// Reads one datagram of a dump, of which only what answers this question counts.
fn entries_in(mut datagram: &[u8], sequence: u32, entries: &mut Vec<Entry>) -> io::Result<Dump> {
    while let (Some(length), Some(kind)) = (word(datagram, 0), half(datagram, 4)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < HEADER_BYTES || length > datagram.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let payload = &datagram[HEADER_BYTES..length];
        if word(datagram, 8) == Some(sequence) {
            match kind {
                // Either may say that it failed, and then it is not all there is.
                NLMSG_DONE | NLMSG_ERROR => {
                    let code = word(payload, 0).unwrap_or(0).cast_signed();
                    return if code < 0 { Err(io::Error::from_raw_os_error(-code)) } else { Ok(Dump::Done) };
                }
                _ => entries.extend(entry(payload)),
            }
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
    let (mut v6_only, mut traffic, mut unacknowledged) = (false, None, 0);
    let mut attributes = message.get(MESSAGE_BYTES..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        if length < 4 {
            break;
        }
        let value = attributes.get(4..length).unwrap_or_default();
        if kind == INET_DIAG_SKV6ONLY {
            v6_only = value.first().is_some_and(|flag| *flag != 0);
        }
        if kind == INET_DIAG_INFO {
            traffic = traffic_in(value);
            unacknowledged = word(value, UNACKNOWLEDGED).unwrap_or(0);
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    Some(Entry {
        local: Place { address: address(8)?, port: port(4)? },
        remote: Place { address: address(24)?, port: port(6)? },
        v6_only,
        cookie: message.get(44..52)?.try_into().ok()?,
        inode: word(message, 68)?,
        queued: word(message, 56)?.saturating_add(word(message, 60)?).saturating_add(unacknowledged),
        traffic,
        state: *message.get(1)?,
    })
}

fn traffic_in(information: &[u8]) -> Option<Traffic> {
    let field = |at| word(information, at);
    let ago = |at| Some(Duration::from_millis(field(at)?.into()));
    Some(Traffic {
        sent_ago: ago(LAST_SENT)?,
        received_ago: ago(LAST_RECEIVED)?,
        has_sent: field(PACKETS_SENT)? > 0,
        has_received: field(PACKETS_RECEIVED)? > 0,
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
    use super::*;

    fn message(kind: u16, sequence: u32, payload: &[u8]) -> Vec<u8> {
        let length = u32::try_from(HEADER_BYTES + payload.len()).unwrap();
        [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 2], &sequence.to_ne_bytes(), &[0; 4], payload]
            .concat()
    }

    fn listener(port: u16) -> Vec<u8> {
        let mut payload = vec![0; MESSAGE_BYTES];
        (payload[0], payload[1]) = (2, State::Listen as u8);
        payload[4..6].copy_from_slice(&port.to_be_bytes());
        payload
    }

    #[test]
    fn an_answer_to_an_earlier_question_is_none_to_this_one() {
        let mut entries = Vec::new();
        let late = [message(SOCK_DIAG_BY_FAMILY, 1, &listener(80)), message(NLMSG_DONE, 1, &[0; 4])].concat();
        assert!(
            entries_in(&late, 2, &mut entries).is_ok_and(|dump| dump == Dump::More) && entries.is_empty()
        );
        let now = [message(SOCK_DIAG_BY_FAMILY, 2, &listener(81)), message(NLMSG_DONE, 2, &[0; 4])].concat();
        assert!(entries_in(&now, 2, &mut entries).is_ok_and(|dump| dump == Dump::Done));
        assert_eq!(entries.iter().map(|entry| entry.local.port).collect::<Vec<_>>(), [81]);
        let failed = message(NLMSG_DONE, 2, &(-libc::ENOMEM).to_ne_bytes());
        assert!(entries_in(&failed, 2, &mut entries).is_err());
    }

    #[test]
    fn a_listener_is_never_closed() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets::open().unwrap();
        let listeners = sockets.dump(State::Listen).unwrap();
        let entry = listeners.iter().find(|entry| entry.local.port == address.port()).unwrap();
        assert_eq!(sockets.destroy(entry).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(std::net::TcpStream::connect(address).is_ok());
    }
}
