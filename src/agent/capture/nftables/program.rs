//! The table, in the syntax of `nft`:
//!
//! ```text
//! table inet mirrord-preview {
//!   flags owner
//!   set alive   { type mark; flags dynamic, timeout; }
//!   set places4 { type ipv4_addr . inet_service; }
//!   set places6 { type ipv6_addr . inet_service; }
//!   chain arrivals {
//!     type filter hook prerouting priority -90;
//!     ip saddr 127.6.6.6 ip daddr 127.6.6.6 udp update @alive { 1 timeout 800ms } drop
//!     not tcp accept
//!     1 not in @alive accept                                (a hung agent captures nothing)
//!     tcp sport >= 61000 fib saddr type local accept        (no loop)
//!     tcp sport < 32768 fib saddr type local accept
//!     ip daddr . tcp dport @places4 tproxy ip to 127.0.0.1:port accept
//!     0.0.0.0 . tcp dport @places4 tproxy ip to 127.0.0.1:port accept
//!     the same two for IPv6, where there is any
//!   }
//! }
//! ```
//!
//! The heartbeat is a datagram that the agent sends to itself and that the first
//! rule drops. A transaction for each heartbeat would fill the node's audit log,
//! twenty times a second.

use std::net::{Ipv4Addr, Ipv6Addr};

use super::super::program::{MAX_SILENCE, PICKED_PORTS};
use super::rule::Rule;
use super::transaction::{SetKind, Transaction};

/// The loopback address between whose ports the heartbeat is sent. Other programs
/// have no reason to use it.
pub(super) const SOURCE: Ipv4Addr = Ipv4Addr::new(127, 6, 6, 6);

pub(super) const TABLE: &str = "mirrord-preview";
pub(super) const PLACES4: &str = "places4";
pub(super) const PLACES6: &str = "places6";
pub(super) const ALIVE: &str = "alive";
const CHAIN: &str = "arrivals";

/// After destination NAT (-100): a mesh redirects first, and the port that it
/// redirects to can be captured, as with BPF.
const PRIORITY: i32 = -90;

/// The one element of [`ALIVE`].
pub(super) const HEARTBEAT: [u8; 4] = [1, 0, 0, 0];

const PREROUTING: u32 = 0;
const NFPROTO_IPV4: u8 = 2;
const NFPROTO_IPV6: u8 = 10;
const TCP: u8 = 6;
const UDP: u8 = 17;

// The first of the kernel's registers of four bytes; the others follow it.
const REGISTER: u32 = 8;

// Where the fields lie in their headers.
const SOURCE4: u32 = 12;
const DESTINATION4: u32 = 16;
const DESTINATION6: u32 = 24;
const SOURCE_PORT: u32 = 0;
const DESTINATION_PORT: u32 = 2;

/// The table, without captured places. The agent listens on these ports of the
/// loopback addresses.
pub(super) fn table((port4, port6): (u16, Option<u16>)) -> Transaction {
    let mut all = Transaction::default();
    all.add_table(TABLE);
    all.add_set(TABLE, ALIVE, 4, SetKind::Timed);
    all.add_set(TABLE, PLACES4, 8, SetKind::Plain);
    all.add_set(TABLE, PLACES6, 20, SetKind::Plain);
    all.add_chain(TABLE, CHAIN, PREROUTING, PRIORITY);
    for rule in [heartbeat(), other_protocols(), hung(), own_above(), own_below()] {
        all.add_rule(TABLE, CHAIN, rule);
    }
    for address in [None, Some(Ipv4Addr::UNSPECIFIED.octets().as_slice())] {
        all.add_rule(TABLE, CHAIN, arrival4(address, port4));
    }
    if let Some(port) = port6 {
        for address in [None, Some(Ipv6Addr::UNSPECIFIED.octets().as_slice())] {
            all.add_rule(TABLE, CHAIN, arrival6(address, port));
        }
    }
    all
}

fn heartbeat() -> Rule {
    let mut rule = Rule::default();
    rule.is_family(NFPROTO_IPV4);
    rule.is_protocol(UDP);
    rule.network(SOURCE4, 4, REGISTER);
    rule.is_equal(REGISTER, &SOURCE.octets());
    rule.network(DESTINATION4, 4, REGISTER);
    rule.is_equal(REGISTER, &SOURCE.octets());
    rule.load(REGISTER, &HEARTBEAT);
    rule.refresh(ALIVE, REGISTER, MAX_SILENCE);
    rule.drop();
    rule
}

fn other_protocols() -> Rule {
    let mut rule = Rule::default();
    rule.is_other_protocol(TCP);
    rule.accept();
    rule
}

fn hung() -> Rule {
    let mut rule = Rule::default();
    rule.load(REGISTER, &HEARTBEAT);
    rule.is_not_in(ALIVE, REGISTER);
    rule.accept();
    rule
}

/// Rules cannot compare two fields of a packet with each other. A source that is
/// an address of the pod means nearly the same.
fn own_above() -> Rule {
    let mut rule = Rule::default();
    rule.transport(SOURCE_PORT, 2, REGISTER);
    rule.is_at_least(REGISTER, &(PICKED_PORTS.end() + 1).to_be_bytes());
    rule.is_source_local(REGISTER);
    rule.accept();
    rule
}

fn own_below() -> Rule {
    let mut rule = Rule::default();
    rule.transport(SOURCE_PORT, 2, REGISTER);
    rule.is_below(REGISTER, &PICKED_PORTS.start().to_be_bytes());
    rule.is_source_local(REGISTER);
    rule.accept();
    rule
}

/// Packets for a place with this address, or with the packet's own.
fn arrival4(address: Option<&[u8]>, port: u16) -> Rule {
    let mut rule = Rule::default();
    rule.is_family(NFPROTO_IPV4);
    match address {
        None => rule.network(DESTINATION4, 4, REGISTER),
        Some(address) => rule.load(REGISTER, address),
    }
    rule.transport(DESTINATION_PORT, 2, REGISTER + 1);
    rule.is_in(PLACES4, REGISTER);
    rule.load(REGISTER, &Ipv4Addr::LOCALHOST.octets());
    rule.load(REGISTER + 1, &port.to_be_bytes());
    rule.deliver_to(NFPROTO_IPV4, REGISTER, REGISTER + 1);
    rule.accept();
    rule
}

fn arrival6(address: Option<&[u8]>, port: u16) -> Rule {
    let mut rule = Rule::default();
    rule.is_family(NFPROTO_IPV6);
    match address {
        None => rule.network(DESTINATION6, 16, REGISTER),
        Some(address) => rule.load(REGISTER, address),
    }
    rule.transport(DESTINATION_PORT, 2, REGISTER + 4);
    rule.is_in(PLACES6, REGISTER);
    rule.load(REGISTER, &Ipv6Addr::LOCALHOST.octets());
    rule.load(REGISTER + 4, &port.to_be_bytes());
    rule.deliver_to(NFPROTO_IPV6, REGISTER, REGISTER + 4);
    rule.accept();
    rule
}
