//! Lists the TCP sockets of the network namespace and closes connections, over
//! netlink (`sock_diag`), as `ss` does.

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

// Offsets in `struct nlmsghdr`, and its size.
const LENGTH: usize = 0;
const KIND: usize = 4;
const FLAGS: usize = 6;
const SEQUENCE: usize = 8;
const HEADER_BYTES: usize = 16;

// Offsets in a request: `struct inet_diag_req_v2` behind the header.
const REQUEST_FAMILY: usize = HEADER_BYTES;
const REQUEST_PROTOCOL: usize = HEADER_BYTES + 1;
const REQUEST_EXTENSIONS: usize = HEADER_BYTES + 2;
const REQUEST_STATES: usize = HEADER_BYTES + 4;
const REQUEST_ID: usize = HEADER_BYTES + 8;
const REQUEST_BYTES: usize = HEADER_BYTES + 56;

// Offsets in `struct inet_diag_sockid`.
const ID_LOCAL_PORT: usize = 0;
const ID_REMOTE_PORT: usize = 2;
const ID_LOCAL_ADDRESS: usize = 4;
const ID_REMOTE_ADDRESS: usize = 20;
const ID_COOKIE: usize = 40;

// Offsets in an answer, `struct inet_diag_msg`, and its size.
const ANSWER_FAMILY: usize = 0;
const ANSWER_STATE: usize = 1;
const ANSWER_ID: usize = 4;
const ANSWER_RECEIVE_QUEUE: usize = 56;
const ANSWER_SEND_QUEUE: usize = 60;
const ANSWER_INODE: usize = 68;
const ANSWER_BYTES: usize = 72;

// Offsets in `struct tcp_info`: packets without an acknowledgement, milliseconds
// since data was last sent and received, and packets of data in each direction.
const UNACKNOWLEDGED: usize = 24;
const LAST_SENT: usize = 44;
const LAST_RECEIVED: usize = 52;
const PACKETS_RECEIVED: usize = 152;
const PACKETS_SENT: usize = 156;

/// The bytes of an attribute before its value.
const ATTRIBUTE_HEADER_BYTES: usize = 4;

/// How long to wait for an answer. The kernel answers at once, or not at all.
const MAX_WAIT: Duration = Duration::from_millis(500);

/// The states of the sockets to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum TcpState {
    /// An open connection.
    Established = 1,
    /// A listener.
    Listen = 10,
}

/// How much to ask for about each socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Detail {
    /// Its ends, queues and owner.
    Ends,
    /// Also [`Entry::traffic`]: three times as many bytes.
    Traffic,
}

/// An open netlink socket for these requests.
#[derive(Debug)]
pub(super) struct Sockets {
    socket: Socket,
    buffer: Vec<u8>,
    /// The number of the last request, which its answers carry too.
    sequence: u32,
}

/// A socket of the network namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The local end.
    pub(super) local: Place,
    /// The other end.
    pub(super) remote: Place,
    /// Whether it is a listener for IPv6 alone.
    pub(super) v6_only: bool,
    /// Unique among all sockets since the machine's start.
    cookie: [u8; 8],
    /// The inode of its file; 0 until a process accepts the connection.
    pub(super) inode: u32,
    /// Bytes that the process has not read, or the other end has not acknowledged.
    pub(super) queued: u32,
    /// What it has carried; `None` if that was not asked for.
    pub(super) traffic: Option<Traffic>,
    /// Its [`TcpState`], or another one by the kernel's number.
    state: u8,
}

/// What a connection has carried, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    /// Time since data was last sent.
    pub(super) sent_ago: Duration,
    /// Time since data was last received.
    pub(super) received_ago: Duration,
    /// Whether anything was ever sent.
    pub(super) has_sent: bool,
    /// Whether anything was ever received.
    pub(super) has_received: bool,
}

// === impl Entry ===

#[cfg(test)]
impl Entry {
    /// An entry with these values.
    pub(super) fn for_test(local: Place, queued: u32, traffic: Option<Traffic>) -> Self {
        let state = TcpState::Established as u8;
        Self { local, remote: local, v6_only: false, cookie: [0; 8], inode: 1, queued, traffic, state }
    }
}

// === impl Sockets ===

impl Sockets {
    /// Opens the netlink socket, in the network namespace of this thread.
    pub(super) fn open() -> io::Result<Self> {
        Ok(Self { socket: socket()?, buffer: vec![0; 32 * 1024], sequence: 0 })
    }

    /// Lists every TCP socket in this state, of both address families.
    pub(super) fn list(&mut self, state: TcpState, detail: Detail) -> io::Result<Vec<Entry>> {
        let mut entries = Vec::new();
        for family in [libc::AF_INET, libc::AF_INET6] {
            let mut request = request(SOCK_DIAG_BY_FAMILY, NLM_F_REQUEST_DUMP, family);
            if detail == Detail::Traffic {
                request[REQUEST_EXTENSIONS] = 1 << (INET_DIAG_INFO - 1);
            }
            put(&mut request, REQUEST_STATES, &(1_u32 << state as u8).to_ne_bytes());
            entries.extend(self.ask(request)?);
        }
        entries.retain(|entry| entry.state == state as u8);
        Ok(entries)
    }

    /// Closes a connection: both ends see a reset. For one that has already ended,
    /// the error is `ENOENT` or `ESTALE`.
    pub(super) fn destroy(&mut self, entry: &Entry) -> io::Result<()> {
        if entry.state != TcpState::Established as u8 {
            // Never the application's listener.
            return Err(io::ErrorKind::InvalidInput.into());
        }
        // The kernel finds IPv4 within an IPv6 socket by its IPv4 addresses.
        let family = if entry.local.address.is_ipv4() { libc::AF_INET } else { libc::AF_INET6 };
        let mut request = request(SOCK_DESTROY, NLM_F_REQUEST_ACK, family);
        for (place, port, address) in [
            (entry.local, ID_LOCAL_PORT, ID_LOCAL_ADDRESS),
            (entry.remote, ID_REMOTE_PORT, ID_REMOTE_ADDRESS),
        ] {
            put(&mut request, REQUEST_ID + port, &place.port.to_be_bytes());
            match place.address {
                IpAddr::V4(octets) => put(&mut request, REQUEST_ID + address, &octets.octets()),
                IpAddr::V6(octets) => put(&mut request, REQUEST_ID + address, &octets.octets()),
            }
        }
        // Without the cookie, the kernel would close the listener if the connection
        // has just ended.
        put(&mut request, REQUEST_ID + ID_COOKIE, &entry.cookie);
        self.ask(request).map(drop)
    }

    /// Sends a request and reads all its answers.
    fn ask(&mut self, mut request: [u8; REQUEST_BYTES]) -> io::Result<Vec<Entry>> {
        self.sequence = self.sequence.wrapping_add(1);
        put(&mut request, SEQUENCE, &self.sequence.to_ne_bytes());
        let answers = self.answers(&request);
        if answers.is_err() {
            // Later answers to this request must not disturb the next one.
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
    socket.set_read_timeout(Some(MAX_WAIT))?;
    Ok(socket)
}

fn request(kind: u16, flags: u16, family: i32) -> [u8; REQUEST_BYTES] {
    let byte = |number: i32| u8::try_from(number).expect("families and protocols are small numbers");
    let mut request = [0; REQUEST_BYTES];
    put(&mut request, LENGTH, &u32::try_from(REQUEST_BYTES).expect("requests are small").to_ne_bytes());
    put(&mut request, KIND, &kind.to_ne_bytes());
    put(&mut request, FLAGS, &flags.to_ne_bytes());
    request[REQUEST_FAMILY] = byte(family);
    request[REQUEST_PROTOCOL] = byte(libc::IPPROTO_TCP);
    request
}

fn put(request: &mut [u8; REQUEST_BYTES], at: usize, bytes: &[u8]) {
    request[at..at + bytes.len()].copy_from_slice(bytes);
}

/// Whether further datagrams follow.
#[derive(PartialEq, Eq)]
enum Dump {
    More,
    Done,
}

/// Reads one datagram of answers. Those to other requests do not count.
fn entries_in(mut datagram: &[u8], sequence: u32, entries: &mut Vec<Entry>) -> io::Result<Dump> {
    while let (Some(length), Some(kind)) = (word(datagram, LENGTH), half(datagram, KIND)) {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        if length < HEADER_BYTES || length > datagram.len() {
            return Err(io::Error::from(io::ErrorKind::InvalidData));
        }
        let payload = &datagram[HEADER_BYTES..length];
        if word(datagram, SEQUENCE) == Some(sequence) {
            match kind {
                // Either may carry an error, and then the list is not complete.
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

/// Reads one socket; `None` for a message that is too short.
fn entry(message: &[u8]) -> Option<Entry> {
    let family = i32::from(*message.get(ANSWER_FAMILY)?);
    let port = |at| bytes(message, ANSWER_ID + at).map(u16::from_be_bytes);
    let address = |at| -> Option<IpAddr> {
        Some(if family == libc::AF_INET {
            bytes::<4>(message, ANSWER_ID + at)?.into()
        } else {
            Ipv6Addr::from(bytes::<16>(message, ANSWER_ID + at)?).to_canonical()
        })
    };
    let (mut v6_only, mut traffic, mut unacknowledged) = (false, None, 0);
    let mut attributes = message.get(ANSWER_BYTES..)?;
    while let (Some(length), Some(kind)) = (half(attributes, 0), half(attributes, 2)) {
        let length = usize::from(length);
        if length < ATTRIBUTE_HEADER_BYTES {
            break;
        }
        let value = attributes.get(ATTRIBUTE_HEADER_BYTES..length).unwrap_or_default();
        match kind {
            INET_DIAG_SKV6ONLY => v6_only = value.first().is_some_and(|flag| *flag != 0),
            INET_DIAG_INFO => {
                traffic = traffic_in(value);
                unacknowledged = word(value, UNACKNOWLEDGED).unwrap_or(0);
            }
            _ => {}
        }
        attributes = attributes.get(length.next_multiple_of(4)..).unwrap_or_default();
    }
    let queued = word(message, ANSWER_RECEIVE_QUEUE)?.saturating_add(word(message, ANSWER_SEND_QUEUE)?);
    Some(Entry {
        local: Place { address: address(ID_LOCAL_ADDRESS)?, port: port(ID_LOCAL_PORT)? },
        remote: Place { address: address(ID_REMOTE_ADDRESS)?, port: port(ID_REMOTE_PORT)? },
        v6_only,
        cookie: bytes(message, ANSWER_ID + ID_COOKIE)?,
        inode: word(message, ANSWER_INODE)?,
        queued: queued.saturating_add(unacknowledged),
        traffic,
        state: *message.get(ANSWER_STATE)?,
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

fn half(message: &[u8], at: usize) -> Option<u16> {
    bytes(message, at).map(u16::from_ne_bytes)
}

fn word(message: &[u8], at: usize) -> Option<u32> {
    bytes(message, at).map(u32::from_ne_bytes)
}

fn bytes<const COUNT: usize>(message: &[u8], at: usize) -> Option<[u8; COUNT]> {
    message.get(at..at + COUNT)?.try_into().ok()
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
        let mut payload = vec![0; ANSWER_BYTES];
        (payload[ANSWER_FAMILY], payload[ANSWER_STATE]) = (2, TcpState::Listen as u8);
        payload[4..6].copy_from_slice(&port.to_be_bytes());
        payload
    }

    #[test]
    fn answers_to_an_earlier_request_are_ignored() {
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
    fn closing_a_listener_is_refused() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets::open().unwrap();
        let listeners = sockets.list(TcpState::Listen, Detail::Ends).unwrap();
        let entry = listeners.iter().find(|entry| entry.local.port == address.port()).unwrap();
        assert_eq!(sockets.destroy(entry).unwrap_err().kind(), io::ErrorKind::InvalidInput);
        assert!(std::net::TcpStream::connect(address).is_ok());
    }
}
