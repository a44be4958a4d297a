//! The kernel's hook: BPF where that is allowed, else nftables.

use std::io;
use std::net::TcpListener;

use super::nftables::Nftables;
use super::place::Place;
use super::sk_lookup::SkLookup;
use crate::contract::control::CaptureMethod;
use crate::problem::Problem;

/// The hook: attached while this value lives, for the listeners that it was opened with.
#[derive(Debug)]
pub(super) enum Hook {
    SkLookup(SkLookup),
    Nftables(Nftables),
}

// === impl Hook ===

impl Hook {
    /// Attaches by this method, or by the first one that the kernel allows.
    pub(super) fn open(
        method: Option<CaptureMethod>,
        version4: &TcpListener,
        version6: Option<&TcpListener>,
    ) -> anyhow::Result<Self> {
        let methods = method.map_or_else(|| CaptureMethod::ALL.to_vec(), |method| vec![method]);
        let mut whys = Vec::new();
        for method in methods {
            let opened = match method {
                CaptureMethod::SkLookup => SkLookup::open().map(Self::SkLookup),
                CaptureMethod::Nftables => Nftables::open(version4, version6).map(Self::Nftables),
            };
            match opened {
                Ok(hook) => return Ok(hook),
                Err(error) => {
                    let why = format!("{}: {error}", method.words());
                    tracing::warn!("could not capture by {why}");
                    whys.push(why);
                }
            }
        }
        Err(Problem::new("could not attach to the pod's network")
            .because_of(whys.join("; "))
            .hint(
                "the agent needs the capabilities BPF and NET_ADMIN and a kernel with sk_lookup (5.9), \
                 or NET_ADMIN and a kernel with nf_tables, tproxy and tables that have an owner (5.12)",
            )
            .into())
    }

    pub(super) fn method(&self) -> CaptureMethod {
        match self {
            Self::SkLookup(_) => CaptureMethod::SkLookup,
            Self::Nftables(_) => CaptureMethod::Nftables,
        }
    }

    /// Sends new connections for `place` to `listener`.
    pub(super) fn add(&mut self, place: Place, listener: &TcpListener) -> io::Result<()> {
        match self {
            Self::SkLookup(hook) => hook.add(place, listener),
            Self::Nftables(hook) => hook.add(place),
        }
    }

    /// Sends new connections for `place` to the application again.
    pub(super) fn remove(&mut self, place: Place) -> io::Result<()> {
        match self {
            Self::SkLookup(hook) => hook.remove(place),
            Self::Nftables(hook) => hook.remove(place),
        }
    }

    /// Tells the kernel that the agent is alive.
    pub(super) fn beat(&self) -> io::Result<()> {
        match self {
            Self::SkLookup(hook) => hook.beat(),
            Self::Nftables(hook) => hook.beat(),
        }
    }

    /// Stops capturing until the next heartbeat.
    pub(super) fn pause(&mut self) -> io::Result<()> {
        match self {
            Self::SkLookup(hook) => hook.pause(),
            Self::Nftables(hook) => hook.pause(),
        }
    }
}
