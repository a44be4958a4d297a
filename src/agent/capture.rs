//! How new connections reach the agent: the only room that touches the
//! kernel's hooks.
//!
//! Whatever happens to the process, the kernel gives the application its
//! connections back: the hook belongs to the process, and it lets connections
//! pass by itself when the process has been silent for [`MAX_SILENCE`].

mod diag;
mod dial;
mod hook;
mod listening;
mod nftables;
mod place;
mod predating;
mod program;
mod singleton;
mod sk_lookup;
mod system;

use std::collections::BTreeSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use socket2::{Domain, Protocol, Socket, Type};

use super::keep_alive;
use crate::contract::control::Method;
use crate::problem::{Explain as _, Problem};
use diag::Sockets;
pub(super) use dial::{dial, is_exhausted};
use hook::Hook;
pub(super) use place::Place;
pub(super) use predating::Which;
pub(super) use program::MAX_SILENCE;
pub(super) use singleton::Singleton;
pub(super) use system::ask_for_short_slices;

/// The capture of one network namespace, with nothing captured at first.
#[derive(Debug)]
pub(super) struct Capture {
    hook: Hook,
    sockets: Sockets,
    version4: TcpListener,
    /// None where the kernel has no IPv6.
    version6: Option<TcpListener>,
    captured: BTreeSet<Place>,
}

/// What an update changed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The places that now come to the agent.
    pub(super) added: Vec<Place>,
    /// The places that are the application's again.
    pub(super) removed: Vec<Place>,
}

// === impl Capture ===

impl Capture {
    /// Finds a way in, or takes the one that is asked for. Tried, never
    /// guessed from versions. Each listener may hold as many as the `backlog`
    /// for the agent to accept.
    pub(super) fn open(method: Option<Method>, backlog: i32) -> anyhow::Result<Self> {
        let sockets = Sockets::open().explain(|| Problem::new("could not ask the kernel for its sockets"))?;
        let version4 = listener(Ipv4Addr::LOCALHOST.into(), backlog)
            .explain(|| Problem::new("could not listen on 127.0.0.1"))?;
        let version6 = listener(Ipv6Addr::LOCALHOST.into(), backlog).ok();
        let hook = Hook::open(method, &version4, version6.as_ref())?;
        Ok(Self { hook, sockets, version4, version6, captured: BTreeSet::new() })
    }

    /// How it got in.
    pub(super) fn method(&self) -> Method {
        self.hook.method()
    }

    /// The listeners at which captured connections arrive.
    pub(super) fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        std::iter::once(&self.version4).chain(&self.version6).map(TcpListener::try_clone).collect()
    }

    /// Says that the agent is alive.
    pub(super) fn beat(&self) -> io::Result<()> {
        self.hook.beat()
    }

    /// Captures the `ports` on which the application listens now, and no others.
    /// What fails is not what holds up the rest: the first error comes back beside
    /// what was changed all the same.
    pub(super) fn update(&mut self, ports: &[u16]) -> (Change, io::Result<()>) {
        let mut change = Change::default();
        let wanted = if ports.is_empty() { Ok(BTreeSet::new()) } else { self.wanted(ports) };
        let wanted = match wanted {
            Ok(wanted) => wanted,
            Err(error) => return (change, Err(error)),
        };
        let mut result = Ok(());
        let gone: Vec<Place> = self.captured.difference(&wanted).copied().collect();
        for place in gone {
            match self.hook.remove(place) {
                Ok(()) => {
                    self.captured.remove(&place);
                    change.removed.push(place);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        let new: Vec<Place> = wanted.difference(&self.captured).copied().collect();
        for place in new {
            let listener = match place.address {
                IpAddr::V4(_) => Some(&self.version4),
                IpAddr::V6(_) => self.version6.as_ref(),
            };
            let Some(listener) = listener else { continue };
            match self.hook.add(place, listener) {
                Ok(()) => {
                    self.captured.insert(place);
                    change.added.push(place);
                }
                Err(error) => result = result.and(Err(error)),
            }
        }
        (change, result)
    }

    fn wanted(&mut self, ports: &[u16]) -> io::Result<BTreeSet<Place>> {
        let own: Vec<_> = self.addresses();
        let places = listening::listening(&mut self.sockets)?.into_iter();
        Ok(places
            .filter(|place| ports.contains(&place.port))
            .filter(|place| !own.contains(&SocketAddr::from((place.address, place.port))))
            .collect())
    }

    /// Where the agent itself listens: a connection that was dialled there
    /// directly is nobody's.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = std::iter::once(&self.version4).chain(&self.version6);
        listeners.filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// What is captured now.
    pub(super) fn captured(&self) -> &BTreeSet<Place> {
        &self.captured
    }

    /// Lets new connections pass to the application from now on, until the next beat.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.hook.pause()
    }

    /// Gives everything back to the application, at once. What cannot be taken
    /// out of the kernel does no harm there, as long as nothing beats any more.
    pub(super) fn release(&mut self) -> io::Result<()> {
        let paused = self.hook.pause();
        let (_, removed) = self.update(&[]);
        paused.and(removed)
    }

    /// How many of the application's connections on captured ports did not
    /// come through the agent, which has `accepted` open ones itself.
    pub(super) fn predating(&mut self, accepted: usize) -> io::Result<usize> {
        let ports = self.captured.iter().map(|place| place.port).collect();
        predating::count(&mut self.sockets, &ports, accepted)
    }

    /// Closes those of them that are on these ports; how many were closed.
    pub(super) fn close_predating(&mut self, ports: &[u16], which: Which) -> io::Result<usize> {
        predating::close(&mut self.sockets, &self.captured, ports, which)
    }
}

/// A listener for captured connections. Plain TCP: the kernel refuses
/// multipath listeners in its map. With `SO_REUSEADDR`, which accepted
/// connections inherit: they occupy the application's port, and without it the
/// application could not bind it again after a restart. They inherit too that
/// the kernel asks whether silent clients are still there.
fn listener(address: IpAddr, backlog: i32) -> io::Result<TcpListener> {
    let domain = Domain::for_address((address, 0).into());
    let socket = Socket::new(domain, Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_tcp_nodelay(true)?;
    keep_alive::watch(&socket);
    socket.bind(&SocketAddr::from((address, 0)).into())?;
    socket.listen(backlog)?;
    Ok(socket.into())
}
