//! Capture by nftables: the second choice, where BPF is refused.
//!
//! A table with `flags owner` belongs to the agent's netlink socket: the kernel
//! removes it when the process ends, however it ends. Its only chain delivers the
//! packets of captured places to the agent's listener with `tproxy`, which rewrites
//! nothing and needs neither conntrack nor routes, because the packets are for this
//! pod anyway. Without the listener, `tproxy` lets packets pass: a table that
//! outlived the agent would do no harm.
//!
//! The chain is at the prerouting hook. Packets over loopback pass there too, so
//! that connections from within the pod are captured like all others. One change to
//! the namespace outlives the table: the kernel reassembles fragments before its
//! hooks see them, as it does for every firewall.

mod attributes;
mod program;
mod rule;
mod transaction;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::SockRef;

use super::place::Place;
use transaction::{Netlink, Transaction};

/// The hook: attached while this value lives.
#[derive(Debug)]
pub(super) struct Nftables {
    netlink: Netlink,
    /// Sends the heartbeat to itself; see [`program`].
    heartbeat: UdpSocket,
}

// === impl Nftables ===

impl Nftables {
    /// Attaches to this process's network namespace, with nothing captured.
    pub(super) fn open(version4: &TcpListener, version6: Option<&TcpListener>) -> io::Result<Self> {
        // `tproxy` ignores listeners without it. IPv6 has another option for the
        // same flag.
        for listener in std::iter::once(version4).chain(version6) {
            SockRef::from(listener).set_ip_transparent_v4(true)?;
        }
        let heartbeat = UdpSocket::bind(SocketAddr::from((program::SOURCE, 0)))?;
        heartbeat.connect(heartbeat.local_addr()?)?;
        heartbeat.set_nonblocking(true)?;
        let mut netlink = Netlink::open()?;
        let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
        let ports = (port(version4)?, version6.map(port).transpose()?);
        netlink.commit(program::table(ports))?;
        Ok(Self { netlink, heartbeat })
    }

    /// Sends new connections for `place` to the listener of its family.
    pub(super) fn add(&mut self, place: Place) -> io::Result<()> {
        let mut transaction = Transaction::default();
        transaction.add_element(program::TABLE, set(place), &key(place));
        self.netlink.commit(transaction)
    }

    /// Sends new connections for `place` to the application again.
    pub(super) fn remove(&mut self, place: Place) -> io::Result<()> {
        self.remove_element(set(place), &key(place))
    }

    /// Tells the kernel that the agent is alive. Without a heartbeat for
    /// [`MAX_SILENCE`](super::MAX_SILENCE), new connections go to the application.
    pub(super) fn beat(&self) -> io::Result<()> {
        self.heartbeat.send(&[0]).map(drop)
    }

    /// Stops capturing until the next heartbeat.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.remove_element(program::ALIVE, &program::HEARTBEAT)
    }

    /// Removes a key from a set; it is not an error if the set does not have it.
    fn remove_element(&mut self, set: &str, key: &[u8]) -> io::Result<()> {
        let mut transaction = Transaction::default();
        transaction.remove_element(program::TABLE, set, key);
        match self.netlink.commit(transaction) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

fn set(place: Place) -> &'static str {
    match place.address {
        IpAddr::V4(_) => program::PLACES4,
        IpAddr::V6(_) => program::PLACES6,
    }
}

/// Address and port as the rules have them in registers of four bytes each.
fn key(place: Place) -> Vec<u8> {
    let mut key = match place.address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    key.extend(place.port.to_be_bytes());
    key.extend([0, 0]);
    key
}
