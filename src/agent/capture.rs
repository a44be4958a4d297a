//! Captures new connections. No other module uses the kernel's hooks.
//!
//! Whatever happens to the process, new connections go to the application again: the
//! hook ends with the process, and lets connections pass by itself when the process
//! has sent no heartbeat for [`MAX_SILENCE`].

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
use crate::contract::control::CaptureMethod;
use crate::problem::{Explain as _, Problem};
use diag::Sockets;
pub(super) use dial::{dial, is_exhausted};
use hook::Hook;
pub(super) use place::Place;
pub(super) use predating::{SocketTable, Which};
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

/// The changes of an update.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Change {
    /// The places whose new connections now go to the agent.
    pub(super) added: Vec<Place>,
    /// The places whose new connections now go to the application.
    pub(super) removed: Vec<Place>,
}

// === impl Capture ===

impl Capture {
    /// Attaches to the network namespace by this method, or by the first one that
    /// works; versions do not tell. Up to `backlog` connections wait in each listener
    /// for the agent to accept them.
    pub(super) fn open(method: Option<CaptureMethod>, backlog: i32) -> anyhow::Result<Self> {
        let sockets =
            Sockets::open().explain(|| Problem::new("could not ask the kernel for the pod's listeners"))?;
        let version4 = listener(Ipv4Addr::LOCALHOST.into(), backlog)
            .explain(|| Problem::new("could not listen on 127.0.0.1"))?;
        let version6 = listener(Ipv6Addr::LOCALHOST.into(), backlog).ok();
        let hook = Hook::open(method, &version4, version6.as_ref())?;
        Ok(Self { hook, sockets, version4, version6, captured: BTreeSet::new() })
    }

    /// The method by which it is attached.
    pub(super) fn method(&self) -> CaptureMethod {
        self.hook.method()
    }

    /// The listeners that accept captured connections.
    pub(super) fn listeners(&self) -> io::Result<Vec<TcpListener>> {
        std::iter::once(&self.version4).chain(&self.version6).map(TcpListener::try_clone).collect()
    }

    /// Tells the kernel that the agent is alive.
    pub(super) fn beat(&self) -> io::Result<()> {
        self.hook.beat()
    }

    /// Captures the `ports` on which the application listens now, and no others. An
    /// error does not prevent the other changes: the first one is returned beside them.
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

    /// The addresses on which the agent itself listens. A connection to one of them
    /// was not captured, and is closed.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let listeners = std::iter::once(&self.version4).chain(&self.version6);
        listeners.filter_map(|listener| listener.local_addr().ok()).collect()
    }

    /// The captured places.
    pub(super) fn captured(&self) -> &BTreeSet<Place> {
        &self.captured
    }

    /// Sends new connections to the application until the next heartbeat.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        self.hook.pause()
    }

    /// Sends all new connections to the application from now on. Places that cannot be
    /// removed do no harm without a heartbeat.
    pub(super) fn release(&mut self) -> io::Result<()> {
        let paused = self.hook.pause();
        let (_, removed) = self.update(&[]);
        paused.and(removed)
    }
}

/// A listener for captured connections. It is plain TCP, because the kernel refuses
/// multipath listeners in its map. Accepted connections inherit `SO_REUSEADDR`: they
/// have the application's port, and without it the application could not bind that
/// again after a restart. They inherit keep-alive probes, too.
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
