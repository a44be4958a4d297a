//! Connections of the application that are older than the capture: counted,
//! and closed where a session asks for it, so that its client's next request
//! comes to the agent.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::io;
use std::time::Duration;

use super::diag::{Entry, Sockets, State, Traffic};
use super::place::Place;
use super::program;

/// Silence after which nothing more is expected of an exchange.
const SILENCE: Duration = Duration::from_millis(250);

/// The same where the kernel's clock, which ticks every few milliseconds, does
/// not tell whether a request or an answer came last.
const LONG_SILENCE: Duration = Duration::from_secs(2);

/// Which connections are closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::agent) enum Which {
    /// Those between two exchanges, as far as can be told from outside.
    Idle,
    /// All of them.
    All,
}

/// How many of the application's connections on `ports` did not come through
/// the agent, which has `accepted` open ones itself.
pub(super) fn count(sockets: &mut Sockets, ports: &BTreeSet<u16>, accepted: usize) -> io::Result<usize> {
    let connections = sockets.dump(State::Established)?;
    // One that nobody has accepted may be on its way to the agent.
    let is_inbound =
        |entry: &&Entry| entry.inode != 0 && ports.contains(&entry.local.port) && !is_own_dial(entry);
    let inbound = connections.iter().filter(is_inbound);
    Ok(inbound.count().saturating_sub(accepted))
}

/// Closes connections to captured places that did not come through the agent;
/// how many were closed.
pub(super) fn close(
    sockets: &mut Sockets,
    captured: &BTreeSet<Place>,
    ports: &[u16],
    which: Which,
) -> io::Result<usize> {
    let own = own_inodes()?;
    let is_wanted = |entry: &Entry| {
        let Place { address, port } = entry.local;
        let is_place = |place: &Place| {
            place.port == port
                && (place.address == address
                    || place.address.is_unspecified() && place.address.is_ipv4() == address.is_ipv4())
        };
        // One that nobody has accepted may be on its way to the agent.
        let is_the_applications = entry.inode != 0 && !own.contains(&entry.inode) && !is_own_dial(entry);
        ports.contains(&port) && is_the_applications && captured.iter().any(is_place)
    };
    let is_due = |entry: &Entry| is_wanted(entry) && (which == Which::All || is_idle(entry));
    let mut closed = 0;
    for entry in sockets.dump(State::Established)?.into_iter().filter(is_due) {
        match sockets.destroy(&entry) {
            Ok(()) => closed += 1,
            // It ended by itself.
            Err(error) if matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ESTALE)) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(closed)
}

/// Whether nothing is under way: nothing queued, and what came last was the
/// application's answer, a while ago.
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

/// One of the agent's dials, seen from the application's end.
fn is_own_dial(entry: &Entry) -> bool {
    program::is_own(entry.remote.address, entry.remote.port, entry.local.address)
}

/// The agent's own sockets.
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
    fn a_connection_is_seen_from_both_ends_with_whose_it_is() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (from, to) = (client.local_addr().unwrap().port(), listener.local_addr().unwrap().port());
        let connections = Sockets::open().unwrap().dump(State::Established).unwrap();
        let seen = |from, to| {
            connections.iter().find(move |seen| seen.local.port == from && seen.remote.port == to).unwrap()
        };
        assert_eq!(seen(to, from).inode, 0, "nobody has accepted it");
        assert!(own_inodes().unwrap().contains(&seen(from, to).inode));
    }

    #[test]
    fn what_is_no_connection_any_more_takes_no_listener_with_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let _client = TcpStream::connect(address).unwrap();
        let mut sockets = Sockets::open().unwrap();
        let connections = sockets.dump(State::Established).unwrap();
        let mut gone = connections.into_iter().find(|seen| seen.local.port == address.port()).unwrap();
        gone.remote.port = 1;
        let refused = sockets.destroy(&gone).unwrap_err().raw_os_error();
        // Without the rights, it does not come so far.
        assert!(matches!(refused, Some(libc::ENOENT | libc::ESTALE | libc::EPERM)), "{refused:?}");
        assert!(TcpStream::connect(address).is_ok());
    }

    #[test]
    fn idle_is_what_has_been_answered_a_while_ago() {
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
