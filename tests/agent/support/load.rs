//! Connections at a constant rate, each with one request, and what became of
//! them.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use super::{Place, World};

/// Threads that share the load; each waits for its own answer.
const THREADS: u32 = 16;

/// One request's fate.
#[derive(Clone, Debug)]
pub(crate) struct Fate {
    pub(crate) began: Instant,
    pub(crate) ended: Instant,
    pub(crate) result: Result<(), String>,
}

pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    threads: Vec<thread::JoinHandle<Vec<Fate>>>,
}

impl Load {
    /// So many connections a second from the client to a port of the pod, each
    /// with one request that must be answered by `app`.
    pub(crate) fn start(world: &World, port: u16, per_second: u32) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let address = SocketAddr::from((super::POD4.parse::<IpAddr>().unwrap(), port));
        let namespace = format!("/var/run/netns/{}", world.namespace(Place::Client));
        let pause = Duration::from_secs(1) * THREADS / per_second;
        let threads = (0..THREADS).map(|number| {
            let (stop, namespace) = (Arc::clone(&stop), namespace.clone());
            thread::spawn(move || {
                let file = std::fs::File::open(namespace).unwrap();
                nix::sched::setns(file, nix::sched::CloneFlags::CLONE_NEWNET).unwrap();
                let mut fates = Vec::new();
                let mut next = Instant::now() + pause * number / THREADS;
                while !stop.load(Ordering::Relaxed) {
                    thread::sleep(next.saturating_duration_since(Instant::now()));
                    next += pause;
                    let began = Instant::now();
                    let result = request(address).map_err(|error| error.to_string());
                    fates.push(Fate { began, ended: Instant::now(), result });
                }
                fates
            })
        });
        let threads = threads.collect();
        Self { stop, threads }
    }

    /// Stops, and returns all fates in the order in which they began.
    pub(crate) fn stop(self) -> Vec<Fate> {
        self.stop.store(true, Ordering::Relaxed);
        let mut fates: Vec<Fate> =
            self.threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        fates.sort_by_key(|fate| fate.began);
        fates
    }
}

fn request(address: SocketAddr) -> std::io::Result<()> {
    let mut stream = TcpStream::connect_timeout(&address, Duration::from_secs(3))?;
    stream.set_read_timeout(Some(Duration::from_secs(3)))?;
    stream.write_all(b"GET /load HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    if answer.ends_with("app /load 0\n") {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("answer: {answer:?}")))
    }
}
