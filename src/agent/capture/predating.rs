//! Connections of the application that are older than the capture: they are
//! counted, and closed for sessions that ask for it, so that the client's next
//! request comes through the agent.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use super::diag::{Detail, Entry, Sockets, TcpState, Traffic};
use super::place::Place;
use super::program;
use crate::agent::open_connections::{Ends, OpenConnections};

/// After this time without data, the exchange on a connection is over.
const SILENCE: Duration = Duration::from_millis(250);

/// The same where the kernel's clock, which ticks every few milliseconds, cannot
/// tell whether the request or the answer was later.
const LONG_SILENCE: Duration = Duration::from_secs(2);

/// Which connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Which {
    /// Those between two exchanges, as far as the kernel can tell.
    Idle,
    /// All of them.
    All,
}

/// The sockets of the network namespace.
#[derive(Debug)]
pub(in crate::agent) struct SocketTable(Sockets);

// === impl SocketTable ===

impl SocketTable {
    /// The sockets of this thread's network namespace.
    pub(in crate::agent) fn open() -> io::Result<Self> {
        Sockets::open().map(Self)
    }

    /// How many connections to the application on these ports do not go through
    /// the agent, whose connections are `own`.
    pub(in crate::agent) fn count_older(
        &mut self,
        ports: &BTreeSet<u16>,
        own: &OpenConnections,
    ) -> io::Result<usize> {
        let list = || {
            let mut entries = self.0.list(TcpState::Established, Detail::Ends)?;
            entries.retain(|entry| ports.contains(&entry.local.port) && is_applications(entry));
            Ok(entries)
        };
        Ok(own.others(list, ends)?.len())
    }

    /// Closes the connections to these places that do not go through the agent,
    /// whose connections are `own`; returns how many were closed.
    pub(in crate::agent) fn close_older(
        &mut self,
        places: &BTreeSet<Place>,
        which: Which,
        own: &OpenConnections,
    ) -> io::Result<usize> {
        let list = || {
            let mut entries = self.0.list(TcpState::Established, Detail::Traffic)?;
            entries.retain(|entry| {
                is_at(entry.local, places)
                    && is_applications(entry)
                    && (which == Which::All || is_idle(entry))
            });
            Ok(entries)
        };
        let entries = own.others(list, ends)?;
        // The event loop may have accepted a connection and not yet noted it.
        let inodes = own_inodes()?;
        let mut closed = 0;
        for entry in entries.into_iter().filter(|entry| !inodes.contains(&entry.inode)) {
            match self.0.destroy(&entry) {
                Ok(()) => closed += 1,
                // It has just ended.
                Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(closed)
    }
}

fn ends(entry: &Entry) -> Ends {
    let end = |place: Place| SocketAddr::new(place.address, place.port);
    Ends::new(end(entry.local), end(entry.remote))
}

/// Whether connections to `local` are captured by one of the places.
fn is_at(local: Place, places: &BTreeSet<Place>) -> bool {
    let is_address = |place: &Place| {
        place.address == local.address
            || place.address.is_unspecified() && place.address.is_ipv4() == local.address.is_ipv4()
    };
    places.iter().any(|place| place.port == local.port && is_address(place))
}

/// Whether it may be the application's end of a connection from a client: not one
/// that waits to be accepted, perhaps by the agent, and not one that the agent has
/// dialled.
fn is_applications(entry: &Entry) -> bool {
    entry.inode != 0 && !program::is_own(entry.remote.address, entry.remote.port, entry.local.address)
}

/// Whether the connection is between two exchanges: its queues are empty, and the
/// last data was the application's answer, a while ago.
fn is_idle(entry: &Entry) -> bool {
    let Some(Traffic { sent_ago, received_ago, has_sent, has_received }) = entry.traffic else {
        return false;
    };
    let silence = match sent_ago.cmp(&received_ago) {
        Ordering::Less => SILENCE,
        Ordering::Equal => LONG_SILENCE,
        Ordering::Greater => return false,
    };
    entry.queued == 0 && sent_ago >= silence && (has_sent || !has_received)
}

/// The inodes of this process's sockets.
fn own_inodes() -> io::Result<BTreeSet<u32>> {
    let inode =
        |link: std::path::PathBuf| link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok();
    let files = std::fs::read_dir("/proc/self/fd")?;
    Ok(files.flatten().filter_map(|file| inode(std::fs::read_link(file.path()).ok()?)).collect())
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_connection_is_listed_from_both_ends_with_the_inode_of_each() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (from, to) = (client.local_addr().unwrap().port(), listener.local_addr().unwrap().port());
        let connections = Sockets::open().unwrap().list(TcpState::Established, Detail::Ends).unwrap();
        let seen = |from, to| {
            connections.iter().find(move |seen| seen.local.port == from && seen.remote.port == to).unwrap()
        };
        assert_eq!(seen(to, from).inode, 0, "no process has accepted it");
        assert!(own_inodes().unwrap().contains(&seen(from, to).inode));
    }

    #[test]
    fn closing_a_connection_that_has_ended_leaves_its_listener_open() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let mut sockets = Sockets::open().unwrap();
        let connections = sockets.list(TcpState::Established, Detail::Ends).unwrap();
        let mut gone = connections.into_iter().find(|seen| seen.local.port == address.port()).unwrap();
        gone.remote.port = 1;
        let refused = sockets.destroy(&gone).unwrap_err().raw_os_error();
        // Without the capability, the kernel does not look for it.
        assert!(matches!(refused, Some(libc::ENOENT | libc::ESTALE | libc::EPERM)), "{refused:?}");
        assert!(TcpStream::connect(address).is_ok());
    }

    #[test]
    fn a_connection_is_idle_a_while_after_the_answer() {
        let place = Place { address: [127, 0, 0, 1].into(), port: 1 };
        let after = |sent, received| Traffic {
            sent_ago: Duration::from_millis(sent),
            received_ago: Duration::from_millis(received),
            has_sent: true,
            has_received: true,
        };
        let fresh = Traffic { has_sent: false, ..after(3_000, 3_000) };
        for (traffic, queued, idle) in [
            (Some(after(300, 400)), 0, true),
            (Some(after(300, 300)), 0, false),
            (Some(after(2_300, 2_300)), 0, true),
            (Some(after(400, 300)), 0, false),
            (Some(after(100, 300)), 0, false),
            (Some(after(300, 400)), 1, false),
            (Some(fresh), 0, false),
            (Some(Traffic { has_received: false, ..fresh }), 0, true),
            (None, 0, false),
        ] {
            let entry = Entry::for_test(place, queued, traffic);
            assert_eq!(is_idle(&entry), idle, "{traffic:?} {queued}");
        }
    }
}
