//! Connections to captured ports that are older than the capture: how many there
//! are, and closing them. Both list all sockets of the pod, which takes tens of
//! milliseconds where there are thousands, and happens on a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use rustix::process::setpriority_process;
use rustix::thread::gettid;
use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use super::capture::{Place, SocketTable, Which};
use super::open_connections::OpenConnections;

/// How old a count may be that is given as an answer. Each of the pod's sessions
/// asks every three seconds.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

/// The thread's nice value: a tenth of the event loop's share of the processor.
const PRIORITY: i32 = 10;

/// The thread, and the last count.
pub(super) struct OlderConnections {
    jobs: Sender<Job>,
    last: Mutex<Option<Count>>,
}

struct Count {
    at: Instant,
    ports: BTreeSet<u16>,
    connections: usize,
}

/// One list of all sockets.
struct Job {
    action: Action,
    answer: oneshot::Sender<io::Result<usize>>,
}

enum Action {
    Count(BTreeSet<u16>),
    Close(BTreeSet<Place>, Which),
}

// === impl OlderConnections ===

impl OlderConnections {
    /// Starts the thread.
    pub(super) fn start(sockets: SocketTable, own: Arc<OpenConnections>) -> io::Result<Self> {
        let (jobs, receiver) = channel();
        thread::Builder::new()
            .name("sockets".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || work(&receiver, sockets, &own))?;
        Ok(Self { jobs, last: Mutex::default() })
    }

    /// How many there are on these ports, or were within the last second.
    pub(super) async fn count(&self, ports: BTreeSet<u16>) -> io::Result<usize> {
        if ports.is_empty() {
            return Ok(0);
        }
        // Those who ask at the same time wait for the first one's answer.
        let mut last = self.last.lock().await;
        if let Some(count) = &*last
            && count.ports == ports
            && count.at.elapsed() < COUNTED_EVERY
        {
            return Ok(count.connections);
        }
        let connections = self.run(Action::Count(ports.clone())).await?;
        *last = Some(Count { at: Instant::now(), ports, connections });
        Ok(connections)
    }

    /// Closes those to these places; returns how many were closed.
    pub(super) async fn close(&self, places: BTreeSet<Place>, which: Which) -> io::Result<usize> {
        self.run(Action::Close(places, which)).await
    }

    async fn run(&self, action: Action) -> io::Result<usize> {
        let (answer, answered) = oneshot::channel();
        let gone = |_| io::Error::other("the thread that lists sockets has ended");
        self.jobs.send(Job { action, answer }).map_err(|_| io::Error::other("the thread has ended"))?;
        answered.await.map_err(gone)?
    }
}

fn work(jobs: &Receiver<Job>, mut sockets: SocketTable, own: &OpenConnections) {
    // On Linux, priorities belong to threads. Where there is one processor for all of
    // them, connections come first.
    if let Err(error) = setpriority_process(Some(gettid()), PRIORITY) {
        tracing::warn!(%error, "could not lower the priority of the thread that lists sockets");
    }
    for Job { action, answer } in jobs {
        let result = match action {
            Action::Count(ports) => sockets.count_older(&ports, own),
            Action::Close(places, which) => sockets.close_older(&places, which, own),
        };
        // The session that asked may have ended.
        let _ = answer.send(result);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn counts_within_a_second_are_answered_from_the_first_one() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connect = || {
            let client = std::net::TcpStream::connect(address).unwrap();
            (client, listener.accept().unwrap().0)
        };
        let own = Arc::new(OpenConnections::new(10));
        let older = OlderConnections::start(SocketTable::open().unwrap(), own).unwrap();
        let ports = BTreeSet::from([address.port()]);
        assert_eq!(older.count(BTreeSet::new()).await.unwrap(), 0);
        let _first = connect();
        assert_eq!(older.count(ports.clone()).await.unwrap(), 1);
        let _second = connect();
        assert_eq!(older.count(ports.clone()).await.unwrap(), 1, "from the first count");
        tokio::time::pause();
        tokio::time::advance(COUNTED_EVERY).await;
        tokio::time::resume();
        assert_eq!(older.count(ports).await.unwrap(), 2);
        let other = BTreeSet::from([address.port(), 1]);
        assert_eq!(older.count(other).await.unwrap(), 2, "other ports are counted anew");
    }
}
