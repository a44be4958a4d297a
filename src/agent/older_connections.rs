//! Connections to captured ports that are older than the capture: how many there
//! are, and closing them. Both list all sockets of the pod, which takes tens of
//! milliseconds where there are thousands, and happens on a thread of its own.

use std::collections::BTreeSet;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::Duration;

use tokio::sync::{Mutex, oneshot};
use tokio::time::Instant;

use super::capture::{Place, SocketTable, Which};
use super::open_connections::OpenConnections;

/// How old a count may be that is given as an answer. Each of the pod's sessions
/// asks every three seconds.
const COUNTED_EVERY: Duration = Duration::from_secs(1);

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
    for Job { action, answer } in jobs {
        let result = match action {
            Action::Count(ports) => sockets.count_older(&ports, own),
            Action::Close(places, which) => sockets.close_older(&places, which, own),
        };
        // The session that asked may have ended.
        let _ = answer.send(result);
    }
}
