//! How many connections the agent may have open with the descriptors that the
//! process may have.

use std::io;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Descriptors that are kept for other purposes than connections: this many and
/// an eighth of all.
const SPARE_DESCRIPTORS: u64 = 64;
const SPARE_SHARE: u64 = 8;

/// Of the spare ones, those for the agent itself and for connections to previews.
const OWN_DESCRIPTORS: u64 = 32;

/// A captured connection takes one for the client's side and one for the
/// application's.
const DESCRIPTORS_EACH: u64 = 2;

/// The agent listens for IPv4 and for IPv6.
const LISTENERS: u64 = 2;

/// A longer queue of connections to accept is of no use.
const MAX_BACKLOG: u64 = 4_096;

/// How many connections the agent may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections at once, before new ones go to the application.
    pub(super) connections: usize,
    /// Connections that wait in each listener's queue. When the agent has as many
    /// connections as it may have, it must still accept these. The kernel drops
    /// what exceeds the queue, and the client tries again a second later.
    pub(super) backlog: i32,
}

// === impl Limits ===

impl Limits {
    /// The limits of a process that may have so many descriptors.
    pub(super) fn of(descriptors: u64) -> Self {
        let spare = SPARE_DESCRIPTORS + descriptors / SPARE_SHARE;
        let connections = descriptors.saturating_sub(spare) / DESCRIPTORS_EACH;
        let backlog = (spare - OWN_DESCRIPTORS) / (DESCRIPTORS_EACH * LISTENERS);
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX).max(1),
            backlog: i32::try_from(backlog.min(MAX_BACKLOG)).expect("the longest queue fits"),
        }
    }
}

/// Raises the number of descriptors that this process may have to the most that
/// it is allowed, and returns that. Container runtimes start processes with 1,024,
/// for the sake of programs that use select(2); that would be five hundred
/// connections.
pub(super) fn raise_descriptor_limit() -> io::Result<u64> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?;
    Ok(maximum.unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_and_full_queues_together_fit_into_the_descriptors() {
        for (descriptors, connections, backlog) in
            [(1, 1, 8), (256, 80, 16), (1_024, 416, 40), (20_000, 8_718, 633), (1_048_576, 458_720, 4_096)]
        {
            let limits = Limits::of(descriptors);
            assert_eq!(limits, Limits { connections, backlog }, "{descriptors}");
            if descriptors > 1 {
                // A listener's queue holds one more than its backlog.
                let queued = LISTENERS * (u64::try_from(backlog).unwrap() + 1);
                let taken = (u64::try_from(connections).unwrap() + queued) * DESCRIPTORS_EACH;
                assert!(taken + OWN_DESCRIPTORS - 4 <= descriptors, "{descriptors}: {taken}");
            }
        }
    }
}
