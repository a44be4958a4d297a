//! Capture by nftables: the second choice, where BPF is refused.
//!
//! A table with `flags owner` belongs to our netlink socket: the kernel takes
//! it away when the process ends, however it ends. Its one chain hands the
//! packets of captured places to the agent's listener with `tproxy`, which
//! rewrites nothing and needs neither conntrack nor routes of its own: the
//! packets are for this pod, and would come in all the same. Where the
//! listener is gone, `tproxy` lets packets pass: even a table that outlived us
//! would harm nobody.
//!
//! The chain is at the prerouting hook. What comes over loopback passes there
//! too, so that connections from within the pod are captured like all others.
//! One thing stays behind in the namespace: the kernel puts fragments together
//! before its hooks see them, as it does for every firewall.

mod program;
mod rule;
mod transaction;

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, UdpSocket};

use socket2::SockRef;

use super::listening::Place;
use transaction::{Netlink, Transaction};

/// The hook: attached while this value lives.
#[derive(Debug)]
pub(super) struct Nftables {
    netlink: Netlink,
    /// What it sends to itself refreshes the set of the living; see [`program`].
    heart: UdpSocket,
}

// === impl Nftables ===

impl Nftables {
    /// Attaches to this process's network namespace, with nothing captured.
    pub(super) fn open(version4: &TcpListener, version6: Option<&TcpListener>) -> io::Result<Self> {
        // Without it `tproxy` passes the listener over. IPv6 has a name of its
        // own for the same flag.
        for listener in std::iter::once(version4).chain(version6) {
            SockRef::from(listener).set_ip_transparent_v4(true)?;
        }
        let heart = UdpSocket::bind(SocketAddr::from((program::SOURCE, 0)))?;
        heart.connect(heart.local_addr()?)?;
        heart.set_nonblocking(true)?;
        let mut netlink = Netlink::open()?;
        let port = |listener: &TcpListener| Ok::<_, io::Error>(listener.local_addr()?.port());
        let ports = (port(version4)?, version6.map(port).transpose()?);
        netlink.commit(program::table(ports))?;
        Ok(Self { netlink, heart })
    }

    /// Sends new connections for `place` to the listener of its family.
    pub(super) fn add(&mut self, place: Place) -> io::Result<()> {
        let mut transaction = Transaction::default();
        transaction.add_element(program::TABLE, set(place), &key(place));
        self.netlink.commit(transaction)
    }

    /// Gives `place` back to the application.
    pub(super) fn remove(&mut self, place: Place) -> io::Result<()> {
        self.take_out(set(place), &key(place))
    }

    /// Says that the agent is alive. Without a beat for [`MAX_SILENCE`], new
    /// connections are the application's.
    pub(super) fn beat(&self) -> io::Result<()> {
        self.heart.send(&[0]).map(drop)
    }

    /// Lets new connections pass from now on, until the next beat.
    pub(super) fn hush(&mut self) -> io::Result<()> {
        self.take_out(program::ALIVE, &program::HEART)
    }

    /// Takes a key out of a set; one that is not there is gone already.
    fn take_out(&mut self, set: &str, key: &[u8]) -> io::Result<()> {
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

/// Address and port as they lie in registers of four bytes each.
fn key(place: Place) -> Vec<u8> {
    let mut key = match place.address {
        IpAddr::V4(address) => Ipv4Addr::octets(&address).to_vec(),
        IpAddr::V6(address) => address.octets().to_vec(),
    };
    key.extend(place.port.to_be_bytes());
    key.extend([0, 0]);
    key
}
