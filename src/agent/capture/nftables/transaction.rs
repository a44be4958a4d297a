//! Transactions of `nf_tables` over our own netlink socket: all of it is put
//! in force at once, or none.

use std::io::{self, Read as _};

use socket2::{Domain, Protocol, Socket, Type};

use super::rule::Rule;

// From <linux/netlink.h> and <linux/netfilter/nfnetlink.h>.
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const APPEND: u16 = 0x800;
const NESTED: u16 = 0x8000;
const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;
const SUBSYSTEM: u16 = 10;

// From <linux/netfilter/nf_tables.h>.
const FAMILY_INET: u8 = 1;
const NEW_TABLE: u16 = 0;
const NEW_CHAIN: u16 = 3;
const NEW_RULE: u16 = 6;
const NEW_SET: u16 = 9;
const NEW_ELEMENT: u16 = 12;
const DELETE_ELEMENT: u16 = 14;
const TABLE_OWNED: u32 = 0x2;
const SET_TIMEOUT: u32 = 0x10;
const SET_DYNAMIC: u32 = 0x20;
const ALL_ACCEPTED: u32 = 1;

/// Attributes of a message, or nested in another.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

/// What a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetKind {
    /// Elements that we put in and take out.
    Plain,
    /// Elements that packets put in, for a time.
    Timed,
}

/// Changes that take effect together.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    bytes: Vec<u8>,
}

/// The socket that owns the table.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    buffer: Vec<u8>,
}

// === impl Attributes ===

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = u16::try_from(value.len() + 4).unwrap_or(u16::MAX);
        self.0.extend(length.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        // Attributes start at multiples of four.
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    /// All numbers of `nf_tables` travel in network order.
    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        let mut bytes = value.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    pub(super) fn nested(self, kind: u16, fill: impl FnOnce(Self) -> Self) -> Self {
        self.bytes(kind | NESTED, &fill(Self::default()).0)
    }
}

// === impl Transaction ===

impl Transaction {
    pub(super) fn add_table(&mut self, table: &str) {
        self.change(NEW_TABLE, CREATE | EXCLUSIVE, |message| message.text(1, table).number(2, TABLE_OWNED));
    }

    pub(super) fn add_set(&mut self, table: &str, set: &str, key_bytes: u32, kind: SetKind) {
        let flags = match kind {
            SetKind::Plain => 0,
            SetKind::Timed => SET_TIMEOUT | SET_DYNAMIC,
        };
        self.change(NEW_SET, CREATE | EXCLUSIVE, |message| {
            message
                .text(1, table)
                .text(2, set)
                .number(3, flags)
                // The type of the key is only for people who list the table: none.
                .number(4, 0)
                .number(5, key_bytes)
                .number(10, 1)
        });
    }

    pub(super) fn add_chain(&mut self, table: &str, chain: &str, hook: u32, priority: i32) {
        self.change(NEW_CHAIN, CREATE | EXCLUSIVE, |message| {
            message
                .text(1, table)
                .text(3, chain)
                .nested(4, |at| at.number(1, hook).number(2, priority.cast_unsigned()))
                .number(5, ALL_ACCEPTED)
                .text(7, "filter")
        });
    }

    pub(super) fn add_rule(&mut self, table: &str, chain: &str, rule: Rule) {
        self.change(NEW_RULE, CREATE | APPEND, |message| {
            message.text(1, table).text(2, chain).nested(4, |_| rule.0)
        });
    }

    pub(super) fn add_element(&mut self, table: &str, set: &str, key: &[u8]) {
        self.element(NEW_ELEMENT, CREATE, table, set, key);
    }

    pub(super) fn remove_element(&mut self, table: &str, set: &str, key: &[u8]) {
        self.element(DELETE_ELEMENT, 0, table, set, key);
    }

    fn element(&mut self, kind: u16, flags: u16, table: &str, set: &str, key: &[u8]) {
        self.change(kind, flags, |message| {
            message
                .text(1, table)
                .text(2, set)
                .nested(3, |list| list.nested(1, |element| element.nested(1, |value| value.bytes(1, key))))
        });
    }

    fn change(&mut self, kind: u16, flags: u16, fill: impl FnOnce(Attributes) -> Attributes) {
        let attributes = fill(Attributes::default());
        message(&mut self.bytes, SUBSYSTEM << 8 | kind, flags | ACKNOWLEDGE, (FAMILY_INET, 0), &attributes.0);
    }

    /// As it is sent.
    fn whole(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        message(&mut bytes, BATCH_BEGIN, 0, (0, SUBSYSTEM), &[]);
        bytes.extend(self.bytes);
        message(&mut bytes, BATCH_END, 0, (0, SUBSYSTEM), &[]);
        bytes
    }
}

fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, (family, resource): (u8, u16), attributes: &[u8]) {
    let length = HEADER_BYTES + 4 + attributes.len();
    bytes.extend(u32::try_from(length).unwrap_or(u32::MAX).to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    // Neither numbered nor addressed: there is one socket and one question at a time.
    bytes.extend([0; 8]);
    bytes.extend([family, 0]);
    bytes.extend(resource.to_be_bytes());
    bytes.extend(attributes);
}

// === impl Netlink ===

impl Netlink {
    pub(super) fn open() -> io::Result<Self> {
        let socket = Socket::new(
            Domain::from(libc::AF_NETLINK),
            Type::DGRAM,
            Some(Protocol::from(libc::NETLINK_NETFILTER)),
        )?;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, buffer: vec![0; 8 * 1024] })
    }

    /// Puts a transaction in force; nothing of it, when there is an error.
    pub(super) fn commit(&mut self, transaction: Transaction) -> io::Result<()> {
        self.socket.send(&transaction.whole())?;
        // The kernel has done it when it returns: every answer waits already.
        let mut result = Ok(());
        loop {
            match (&self.socket).read(&mut self.buffer) {
                Ok(length) => result = result.and(answers(&self.buffer[..length])),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return result,
                Err(error) => return Err(error),
            }
        }
    }
}

/// Reads one datagram of answers; the first refusal is why all was refused.
fn answers(mut datagram: &[u8]) -> io::Result<()> {
    let invalid = || io::Error::from(io::ErrorKind::InvalidData);
    while datagram.len() >= HEADER_BYTES {
        let field = |at: usize| datagram.get(at..at + 4)?.try_into().ok().map(u32::from_ne_bytes);
        let length = field(0).and_then(|length| usize::try_from(length).ok()).ok_or_else(invalid)?;
        let kind = u16::from_ne_bytes([datagram[4], datagram[5]]);
        if length < HEADER_BYTES || length > datagram.len() {
            return Err(invalid());
        }
        if kind == NLMSG_ERROR {
            let code = field(HEADER_BYTES).unwrap_or(0).cast_signed();
            if code != 0 {
                return Err(io::Error::from_raw_os_error(-code));
            }
        }
        datagram = &datagram[length.next_multiple_of(4).min(datagram.len())..];
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(code: i32) -> Vec<u8> {
        let mut bytes = [20_u32.to_ne_bytes(), [2, 0, 0, 0], [0; 4], [0; 4]].concat();
        bytes.extend(code.to_ne_bytes());
        bytes
    }

    #[test]
    fn the_first_refusal_among_the_answers_is_the_reason() {
        let refused = [answer(0), answer(-libc::EPERM), answer(-libc::ENOENT)].concat();
        assert_eq!(answers(&refused).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(answers(&[answer(0), answer(0)].concat()).is_ok());
        assert!(answers(&[1; 30]).is_err(), "a length beyond the datagram");
    }

    #[test]
    fn attributes_are_padded_and_their_lengths_are_not() {
        let attributes = Attributes::default().nested(3, |inner| inner.text(1, "ab").number(2, 7));
        let inner = [[7, 0, 1, 0], [b'a', b'b', 0, 0], [8, 0, 2, 0], [0, 0, 0, 7]].concat();
        assert_eq!(attributes.0, [vec![20, 0, 3, 0x80], inner].concat());
    }
}
