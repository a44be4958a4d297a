//! Capture by BPF `sk_lookup`: the first choice.
//!
//! New connections for a place in the map come to the agent's listener;
//! everything else, established connections included, is never touched. The
//! link, the program and the maps die with the process that holds them.

use std::fs::File;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};

use super::listening::Place;
use super::program::{KEY_BYTES, instructions};
use super::system::{self, MapKind};

/// Places that can be captured at once: far more than any pod listens on.
const MAX_PLACES: u32 = 4_096;

/// The hook: attached while this value lives.
#[derive(Debug)]
pub(super) struct SkLookup {
    places: OwnedFd,
    heartbeat: OwnedFd,
    _program: OwnedFd,
    _link: OwnedFd,
}

// === impl SkLookup ===

impl SkLookup {
    /// Attaches to this process's network namespace, with nothing captured.
    pub(super) fn open() -> io::Result<Self> {
        let places = system::create_map(MapKind::SocketHash, KEY_BYTES, 8, MAX_PLACES)?;
        let heartbeat = system::create_map(MapKind::Array, 4, 8, 1)?;
        let program = system::load(&instructions(places.as_fd(), heartbeat.as_fd()))?;
        let link = system::attach(program.as_fd(), File::open("/proc/self/ns/net")?)?;
        Ok(Self { places, heartbeat, _program: program, _link: link })
    }

    /// Sends new connections for `place` to `listener`.
    pub(super) fn add(&self, place: Place, listener: &TcpListener) -> io::Result<()> {
        let descriptor = u64::from(listener.as_raw_fd().unsigned_abs());
        system::update(self.places.as_fd(), &key(place), &descriptor.to_ne_bytes())
    }

    /// Gives `place` back to the application.
    pub(super) fn remove(&self, place: Place) -> io::Result<()> {
        system::remove(self.places.as_fd(), &key(place))
    }

    /// Says that the agent is alive. Without a beat for [`MAX_SILENCE`], new
    /// connections are the application's.
    pub(super) fn beat(&self) -> io::Result<()> {
        let now = system::monotonic_nanoseconds();
        system::update(self.heartbeat.as_fd(), &0_u32.to_ne_bytes(), &now.to_ne_bytes())
    }

    /// As if the agent had been silent since the machine was started.
    pub(super) fn hush(&self) -> io::Result<()> {
        system::update(self.heartbeat.as_fd(), &0_u32.to_ne_bytes(), &0_u64.to_ne_bytes())
    }
}

/// The key that the program builds from a connection.
fn key(place: Place) -> [u8; KEY_BYTES as usize] {
    let mut key = [0; KEY_BYTES as usize];
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
