//! Connections at a constant rate, each with one request, and their results.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Place, World};

/// Threads that share the load. Each waits for its own answer, so there are enough of
/// them that a second without answers does not delay later requests.
const THREADS: u32 = 1_200;

/// One request's result.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) result: Result<(), String>,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<Outcome>>>,
}

impl Load {
    /// Starts connections from the client to a port of the pod, at this rate. Each
    /// sends one request that an `app` must answer. Late answers do not lower the rate.
    pub(crate) fn start(world: &World, port: u16, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = SocketAddr::from((super::POD4.parse::<IpAddr>().unwrap(), port));
        let namespace = format!("/var/run/netns/{}", world.namespace(Place::Client));
        let (epoch, tickets) = (Instant::now() + Duration::from_millis(300), Arc::new(AtomicU32::new(0)));
        let threads = (0..THREADS).map(|_| {
            let (stop, namespace, tickets) = (Arc::clone(&stop), namespace.clone(), Arc::clone(&tickets));
            let work = move || {
                let file = std::fs::File::open(namespace).unwrap();
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let mut outcomes = Vec::new();
                loop {
                    let ticket = tickets.fetch_add(1, Ordering::Relaxed);
                    let next = epoch + Duration::from_secs(1) * ticket / per_second;
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    if stop.load(Ordering::Relaxed) {
                        return outcomes;
                    }
                    let began = Instant::now();
                    let result = request(address).map_err(|error| error.to_string());
                    outcomes.push(Outcome { began, ended: Instant::now(), result });
                }
            };
            thread::Builder::new().stack_size(128 * 1024).spawn(work).unwrap()
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Stops, and returns all requests in the order in which they began.
    pub(crate) fn stop(self) -> Vec<Outcome> {
        self.stop.store(true, Ordering::Relaxed);
        let mut outcomes: Vec<Outcome> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        outcomes.sort_by_key(|outcome| outcome.began);
        outcomes
    }
}

fn request(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(b"GET /load HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.contains("\r\n\r\napp ") {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("answer: {answer:?}")))
    }
}
