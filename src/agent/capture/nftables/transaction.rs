//! Transactions of `nf_tables` over a netlink socket: the kernel puts all changes
//! in force at once, or none.

use std::io::{self, Read as _};

use socket2::{Domain, Protocol, Socket, Type};

use super::attributes::Attributes;
use super::rule::Rule;

// From <linux/netlink.h> and <linux/netfilter/nfnetlink.h>.
const HEADER_BYTES: usize = 16;
const NLMSG_ERROR: u16 = 2;
const REQUEST: u16 = 0x1;
const ACKNOWLEDGE: u16 = 0x4;
const CREATE: u16 = 0x400;
const EXCLUSIVE: u16 = 0x200;
const APPEND: u16 = 0x800;
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
const POLICY_ACCEPT: u32 = 1;

// The attributes of each kind of message, from the same file.
const TABLE_NAME: u16 = 1;
const TABLE_FLAGS: u16 = 2;
const CHAIN_TABLE: u16 = 1;
const CHAIN_NAME: u16 = 3;
const CHAIN_HOOK: u16 = 4;
const CHAIN_POLICY: u16 = 5;
const CHAIN_TYPE: u16 = 7;
const HOOK_NUMBER: u16 = 1;
const HOOK_PRIORITY: u16 = 2;
const RULE_TABLE: u16 = 1;
const RULE_CHAIN: u16 = 2;
const RULE_EXPRESSIONS: u16 = 4;
const SET_TABLE: u16 = 1;
const SET_NAME: u16 = 2;
const SET_FLAGS: u16 = 3;
const SET_KEY_TYPE: u16 = 4;
const SET_KEY_LENGTH: u16 = 5;
const SET_ID: u16 = 10;
const ELEMENTS_TABLE: u16 = 1;
const ELEMENTS_SET: u16 = 2;
const ELEMENTS_LIST: u16 = 3;
const LIST_ELEMENT: u16 = 1;
const ELEMENT_KEY: u16 = 1;
const DATA_VALUE: u16 = 1;

/// What a set is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SetKind {
    /// Elements that the agent adds and removes.
    Plain,
    /// Elements that packets add, and that the kernel removes after a while.
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

// === impl Transaction ===

impl Transaction {
    pub(super) fn add_table(&mut self, table: &str) {
        self.change(NEW_TABLE, CREATE | EXCLUSIVE, |message| {
            message.text(TABLE_NAME, table).number(TABLE_FLAGS, TABLE_OWNED)
        });
    }

    pub(super) fn add_set(&mut self, table: &str, set: &str, key_bytes: u32, kind: SetKind) {
        let flags = match kind {
            SetKind::Plain => 0,
            SetKind::Timed => SET_TIMEOUT | SET_DYNAMIC,
        };
        self.change(NEW_SET, CREATE | EXCLUSIVE, |message| {
            message
                .text(SET_TABLE, table)
                .text(SET_NAME, set)
                .number(SET_FLAGS, flags)
                // Only `nft list` uses the key's type; 0 is none.
                .number(SET_KEY_TYPE, 0)
                .number(SET_KEY_LENGTH, key_bytes)
                .number(SET_ID, 1)
        });
    }

    pub(super) fn add_chain(&mut self, table: &str, chain: &str, hook: u32, priority: i32) {
        self.change(NEW_CHAIN, CREATE | EXCLUSIVE, |message| {
            message
                .text(CHAIN_TABLE, table)
                .text(CHAIN_NAME, chain)
                .nested(CHAIN_HOOK, |at| {
                    at.number(HOOK_NUMBER, hook).number(HOOK_PRIORITY, priority.cast_unsigned())
                })
                .number(CHAIN_POLICY, POLICY_ACCEPT)
                .text(CHAIN_TYPE, "filter")
        });
    }

    pub(super) fn add_rule(&mut self, table: &str, chain: &str, rule: Rule) {
        self.change(NEW_RULE, CREATE | APPEND, |message| {
            message.text(RULE_TABLE, table).text(RULE_CHAIN, chain).nested(RULE_EXPRESSIONS, |_| rule.0)
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
            message.text(ELEMENTS_TABLE, table).text(ELEMENTS_SET, set).nested(ELEMENTS_LIST, |list| {
                list.nested(LIST_ELEMENT, |element| {
                    element.nested(ELEMENT_KEY, |data| data.bytes(DATA_VALUE, key))
                })
            })
        });
    }

    fn change(&mut self, kind: u16, flags: u16, fill: impl FnOnce(Attributes) -> Attributes) {
        let attributes = fill(Attributes::default());
        message(
            &mut self.bytes,
            SUBSYSTEM << 8 | kind,
            flags | ACKNOWLEDGE,
            (FAMILY_INET, 0),
            attributes.as_bytes(),
        );
    }

    /// The transaction as it is sent.
    fn into_bytes(self) -> Vec<u8> {
        let mut bytes = Vec::new();
        message(&mut bytes, BATCH_BEGIN, 0, (0, SUBSYSTEM), &[]);
        bytes.extend(self.bytes);
        message(&mut bytes, BATCH_END, 0, (0, SUBSYSTEM), &[]);
        bytes
    }
}

fn message(bytes: &mut Vec<u8>, kind: u16, flags: u16, (family, resource): (u8, u16), attributes: &[u8]) {
    let length = HEADER_BYTES + 4 + attributes.len();
    bytes.extend(u32::try_from(length).expect("messages are small").to_ne_bytes());
    bytes.extend(kind.to_ne_bytes());
    bytes.extend((REQUEST | flags).to_ne_bytes());
    // Neither a sequence number nor an address: the socket has one request at a time.
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

    /// Puts a transaction in force, or nothing of it if there is an error.
    pub(super) fn commit(&mut self, transaction: Transaction) -> io::Result<()> {
        self.socket.send(&transaction.into_bytes())?;
        // The kernel has finished when `send` returns, and its answers can be read.
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

/// Reads one datagram of answers. The first refusal is the reason why the kernel
/// has refused the transaction.
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
    fn the_first_refusal_among_the_answers_is_the_error() {
        let refused = [answer(0), answer(-libc::EPERM), answer(-libc::ENOENT)].concat();
        assert_eq!(answers(&refused).unwrap_err().raw_os_error(), Some(libc::EPERM));
        assert!(answers(&[answer(0), answer(0)].concat()).is_ok());
        assert!(answers(&[1; 30]).is_err(), "a length beyond the datagram");
    }
}
