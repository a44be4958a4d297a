//! Namespaces, applications, clients and agents for the tests.

pub(crate) mod agent;
pub(crate) mod cgroup;
pub(crate) mod frames;
pub(crate) mod load;
pub(crate) mod server;
pub(crate) mod shop;
pub(crate) mod stage;

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use nix::sched::{CloneFlags, setns};

/// Longer than anything takes: a test that waits so long has failed.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(10);

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// A pod's network, a client's and a preview's, joined by veth pairs.
pub(crate) struct World {
    name: String,
}

/// One of the world's namespaces.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    Pod,
    Client,
    Preview,
}

pub(crate) const POD4: &str = "10.77.0.1";
pub(crate) const POD6: &str = "fd77::1";
pub(crate) const PREVIEW4: &str = "10.77.1.2";
/// The address of a second preview pod, in the same namespace.
pub(crate) const OTHER_PREVIEW4: &str = "10.77.1.3";

impl World {
    pub(crate) fn new() -> Self {
        let world =
            Self { name: format!("mrd{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed)) };
        for place in [Place::Pod, Place::Client, Place::Preview] {
            let name = world.namespace(place);
            ip(&["netns", "add", &name]);
            ip(&["-n", &name, "link", "set", "lo", "up"]);
        }
        world.join("v0", Place::Client, "10.77.0.1/24", "10.77.0.2/24", "fd77::1/64", "fd77::2/64");
        world.join("v1", Place::Preview, "10.77.1.1/24", "10.77.1.2/24", "fd78::1/64", "fd78::2/64");
        let preview = world.namespace(Place::Preview);
        ip(&["-n", &preview, "addr", "add", "10.77.1.3/24", "dev", "v1"]);
        world
    }

    fn join(&self, link: &str, other: Place, pod4: &str, other4: &str, pod6: &str, other6: &str) {
        let (pod, other) = (self.namespace(Place::Pod), self.namespace(other));
        ip(&["-n", &pod, "link", "add", link, "type", "veth", "peer", "name", link, "netns", &other]);
        for (name, address4, address6) in [(&pod, pod4, pod6), (&other, other4, other6)] {
            ip(&["-n", name, "addr", "add", address4, "dev", link]);
            ip(&["-n", name, "addr", "add", address6, "dev", link, "nodad"]);
            ip(&["-n", name, "link", "set", link, "up"]);
        }
    }

    /// Adds an address to a link of one of the namespaces.
    pub(crate) fn add_address(&self, place: Place, link: &str, address: &str) {
        ip(&["-n", &self.namespace(place), "addr", "add", address, "dev", link, "nodad"]);
    }

    pub(crate) fn namespace(&self, place: Place) -> String {
        format!(
            "{}-{}",
            self.name,
            match place {
                Place::Pod => "pod",
                Place::Client => "client",
                Place::Preview => "preview",
            }
        )
    }

    /// Runs `action` in one of the namespaces. Sockets that it opens stay there.
    pub(crate) fn within<T: Send>(&self, place: Place, action: impl FnOnce() -> T + Send) -> T {
        let file = File::open(format!("/var/run/netns/{}", self.namespace(place))).unwrap();
        thread::scope(|scope| {
            let entered = scope.spawn(move || {
                setns(file, CloneFlags::CLONE_NEWNET).unwrap();
                action()
            });
            entered.join().unwrap()
        })
    }

    pub(crate) fn listen(&self, place: Place, address: &str, port: u16) -> TcpListener {
        let address = SocketAddr::from((address.parse::<IpAddr>().unwrap(), port));
        // A process that another test has forked has a copy of the last listener on
        // this port until it executes its program.
        let deadline = Instant::now() + MAX_WAIT;
        self.within(place, || {
            loop {
                match TcpListener::bind(address) {
                    Err(error) if error.kind() == ErrorKind::AddrInUse && Instant::now() < deadline => {
                        thread::sleep(Duration::from_millis(1));
                    }
                    bound => return bound.unwrap(),
                }
            }
        })
    }

    pub(crate) fn try_connect(&self, from: Place, address: &str, port: u16) -> std::io::Result<TcpStream> {
        let address = SocketAddr::from((address.parse::<IpAddr>().unwrap(), port));
        let stream = self.within(from, || TcpStream::connect_timeout(&address, MAX_WAIT))?;
        stream.set_read_timeout(Some(MAX_WAIT))?;
        stream.set_write_timeout(Some(MAX_WAIT))?;
        Ok(stream)
    }

    /// A connection from the client to the pod.
    pub(crate) fn connect(&self, port: u16) -> TcpStream {
        self.try_connect(Place::Client, POD4, port).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for place in [Place::Pod, Place::Client, Place::Preview] {
            let _ = Command::new("ip").args(["netns", "del", &self.namespace(place)]).status();
        }
    }
}

fn ip(arguments: &[&str]) {
    let output = Command::new("ip").args(arguments).output().unwrap();
    assert!(output.status.success(), "ip {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// Reads until `end` is at the end of what was read.
pub(crate) fn read_until(stream: &mut TcpStream, end: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 16 * 1024];
    while !bytes.ends_with(end) {
        match stream.read(&mut buffer) {
            Ok(0) => panic!("ended after {:?}", String::from_utf8_lossy(&bytes[..bytes.len().min(500)])),
            Ok(read) => bytes.extend_from_slice(&buffer[..read]),
            // A child process has ended: reads with a time-out are interrupted.
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => panic!("{error}"),
        }
    }
    bytes
}

/// Waits until a condition holds.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = std::time::Instant::now();
    while !holds() {
        assert!(start.elapsed() < MAX_WAIT, "waited in vain until {what}");
        thread::sleep(Duration::from_millis(5));
    }
}
