//! Capture by BPF `sk_lookup`: the first choice.
//!
//! The kernel hands new connections for the places in a map to the agent's
//! listener. It touches nothing else, and no established connection. The link, the
//! program and the maps end with the process that holds them.

use std::fs::File;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use rustix::time::{ClockId, clock_gettime};

use super::place::Place;
use super::program::{KEY_BYTES, instructions};
use super::system::{self, Map, MapKind};

/// Places that can be captured at once: far more than any pod listens on.
const MAX_PLACES: u32 = 4_096;

/// The hook: attached while this value lives.
#[derive(Debug)]
pub(super) struct SkLookup {
    /// Listeners by the key that the program builds.
    places: Map<KEY_BYTES, 8>,
    /// The last heartbeat, in nanoseconds of the monotonic clock, at index 0.
    heartbeat: Map<4, 8>,
    _program: OwnedFd,
    _link: OwnedFd,
}

// === impl SkLookup ===

impl SkLookup {
    /// Attaches to this process's network namespace, with nothing captured.
    pub(super) fn open() -> io::Result<Self> {
        let places = Map::create(MapKind::SocketHash, MAX_PLACES)?;
        let heartbeat = Map::create(MapKind::Array, 1)?;
        let program = system::load(&instructions(places.as_fd(), heartbeat.as_fd()))?;
        let link = system::attach(program.as_fd(), File::open("/proc/self/ns/net")?)?;
        Ok(Self { places, heartbeat, _program: program, _link: link })
    }

    /// Sends new connections for `place` to `listener`.
    pub(super) fn add(&self, place: Place, listener: &TcpListener) -> io::Result<()> {
        let descriptor = u64::try_from(listener.as_raw_fd()).expect("an open descriptor is not negative");
        self.places.update(key(place), descriptor.to_ne_bytes())
    }

    /// Sends new connections for `place` to the application again.
    pub(super) fn remove(&self, place: Place) -> io::Result<()> {
        self.places.remove(key(place))
    }

    /// Tells the kernel that the agent is alive. Without a heartbeat for
    /// [`MAX_SILENCE`](super::MAX_SILENCE), new connections go to the application.
    pub(super) fn beat(&self) -> io::Result<()> {
        self.set_heartbeat(monotonic_nanoseconds())
    }

    /// Stops capturing until the next heartbeat, as if the last one had been at
    /// the machine's start.
    pub(super) fn pause(&self) -> io::Result<()> {
        self.set_heartbeat(0)
    }

    fn set_heartbeat(&self, nanoseconds: u64) -> io::Result<()> {
        self.heartbeat.update(0_u32.to_ne_bytes(), nanoseconds.to_ne_bytes())
    }
}

/// The clock that `bpf_ktime_get_ns` reads.
fn monotonic_nanoseconds() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |number: i64| u64::try_from(number).expect("the monotonic clock starts at zero");
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

/// The key that the program builds from a connection.
fn key(place: Place) -> [u8; KEY_BYTES] {
    let mut key = [0; KEY_BYTES];
    let family = match place.address {
        IpAddr::V4(address) => {
            key[8..12].copy_from_slice(&address.octets());
            libc::AF_INET
        }
        IpAddr::V6(address) => {
            key[8..24].copy_from_slice(&address.octets());
            libc::AF_INET6
        }
    };
    key[0..4].copy_from_slice(&family.to_ne_bytes());
    key[4..8].copy_from_slice(&u32::from(place.port).to_ne_bytes());
    key
}
