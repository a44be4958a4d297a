//! The connections that go through the agent now: how many they are, and between
//! which ends.

use std::collections::HashSet;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

/// The two ends of a connection in this network namespace. Addresses are
/// canonical: an IPv4 address within IPv6 is an IPv4 address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Ends {
    local: SocketAddr,
    remote: SocketAddr,
}

/// All open connections; shared by threads.
#[derive(Debug)]
pub(super) struct OpenConnections {
    max: usize,
    count: watch::Sender<usize>,
    /// How many of them have no connection to the application.
    preview_only: AtomicUsize,
    known: Mutex<Known>,
}

#[derive(Debug, Default)]
struct Known {
    open: HashSet<Ends>,
    /// The connections that have ended since a list of sockets was begun; `None`
    /// while there is no such list.
    ended: Option<HashSet<Ends>>,
}

/// One open connection, until this value is dropped.
#[derive(Debug)]
pub(super) struct Open {
    connections: Arc<OpenConnections>,
    ends: Ends,
}

/// A connection that has no connection to the application, until this value is
/// dropped.
#[derive(Debug)]
pub(super) struct PreviewOnly(Arc<OpenConnections>);

// === impl Ends ===

impl Ends {
    /// The ends of a connection, in any form of their addresses.
    pub(super) fn new(local: SocketAddr, remote: SocketAddr) -> Self {
        let canonical = |end: SocketAddr| SocketAddr::new(end.ip().to_canonical(), end.port());
        Self { local: canonical(local), remote: canonical(remote) }
    }
}

// === impl OpenConnections ===

impl OpenConnections {
    /// No connections, of which there may be `max` at once.
    pub(super) fn new(max: usize) -> Self {
        Self { max, count: watch::Sender::new(0), preview_only: AtomicUsize::new(0), known: Mutex::default() }
    }

    /// Counts a connection until the result is dropped.
    pub(super) fn open(self: &Arc<Self>, ends: Ends) -> Open {
        self.known().open.insert(ends);
        self.count.send_modify(|count| *count += 1);
        Open { connections: Arc::clone(self), ends }
    }

    /// How many are open now.
    pub(super) fn count(&self) -> usize {
        *self.count.borrow()
    }

    /// Counts one of the open connections as one without a connection to the
    /// application until the result is dropped.
    pub(super) fn preview_only(self: &Arc<Self>) -> PreviewOnly {
        self.preview_only.fetch_add(1, Relaxed);
        PreviewOnly(Arc::clone(self))
    }

    /// Whether one of the open connections has a connection to the application.
    pub(super) fn reach_application(&self) -> bool {
        self.count() > self.preview_only.load(Relaxed)
    }

    /// Whether there are as many as there may be.
    pub(super) fn is_full(&self) -> bool {
        self.count() >= self.max
    }

    /// The number of open connections, now and whenever it changes.
    pub(super) fn watch(&self) -> watch::Receiver<usize> {
        self.count.subscribe()
    }

    /// Lists sockets with `list`, and removes from the result those of connections
    /// that went through the agent at any time since the list was begun. One list
    /// at a time.
    pub(super) fn others<T>(
        &self,
        list: impl FnOnce() -> io::Result<Vec<T>>,
        ends: impl Fn(&T) -> Ends,
    ) -> io::Result<Vec<T>> {
        self.known().ended = Some(HashSet::new());
        let sockets = list();
        // One lock for each socket: the event loop, which has more urgent work, must
        // not wait for all of them.
        let is_own = |ends: &Ends| {
            let known = self.known();
            let ended = known.ended.as_ref().expect("there is one list at a time");
            known.open.contains(ends) || ended.contains(ends)
        };
        let others =
            sockets.map(|sockets| sockets.into_iter().filter(|socket| !is_own(&ends(socket))).collect());
        self.known().ended = None;
        others
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Nothing panics between two changes that belong together.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for PreviewOnly {
    fn drop(&mut self) {
        self.0.preview_only.fetch_sub(1, Relaxed);
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut known = self.connections.known();
        known.open.remove(&self.ends);
        if let Some(ended) = &mut known.ended {
            ended.insert(self.ends);
        }
        drop(known);
        self.connections.count.send_modify(|count| *count -= 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ends(port: u16) -> Ends {
        Ends::new("[::ffff:10.0.0.1]:80".parse().unwrap(), SocketAddr::from(([10, 0, 0, 2], port)))
    }

    #[test]
    fn a_connection_that_opens_or_ends_during_a_list_is_still_the_agents() {
        let connections = Arc::new(OpenConnections::new(2));
        let first = connections.open(ends(1));
        let mut second = None;
        let list = || {
            second = Some(connections.open(ends(2)));
            assert!(connections.is_full());
            drop(first);
            Ok(vec![ends(1), ends(2), ends(3)])
        };
        assert_eq!(connections.others(list, |ends| *ends).unwrap(), [ends(3)]);
        assert_eq!(connections.count(), 1);
        // What has ended before the next list is forgotten.
        drop(second);
        let all = || Ok(vec![ends(1), ends(2)]);
        assert_eq!(connections.others(all, |ends| *ends).unwrap().len(), 2);
        assert!(
            connections.others(|| Err::<Vec<Ends>, _>(io::ErrorKind::Other.into()), |ends| *ends).is_err()
        );
        assert_eq!(connections.others(all, |ends| *ends).unwrap().len(), 2, "after an error, too");
    }

    #[tokio::test]
    async fn the_end_of_the_last_connection_wakes_those_who_wait_for_it() {
        let connections = Arc::new(OpenConnections::new(10));
        let open = [connections.open(ends(1)), connections.open(ends(2))];
        let mut count = connections.watch();
        let waits = tokio::spawn(async move { count.wait_for(|count| *count == 0).await.is_ok() });
        drop(open);
        assert!(waits.await.unwrap());
    }
}
