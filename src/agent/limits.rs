//! How many connections the agent may carry with the descriptors it may have.

/// Descriptors that are kept for other things than connections: at least so
/// many, and an eighth of all.
const SPARE_DESCRIPTORS: u64 = 64;
const SPARE_SHARE: u64 = 8;

/// Of the spare ones, those for the agent itself and for previews.
const OWN_DESCRIPTORS: u64 = 32;

/// What a captured connection takes: the client's side and the application's.
const DESCRIPTORS_EACH: u64 = 2;

/// The agent listens for IPv4 and for IPv6.
const LISTENERS: u64 = 2;

/// More than so many need not wait to be accepted.
const MAX_BACKLOG: u64 = 4_096;

/// The room for connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Limits {
    /// Connections at once, before new ones pass to the application.
    pub(super) connections: usize,
    /// Connections that each listener may hold for the agent to accept: by the
    /// time that it takes no more, the kernel has promised these to it. What
    /// exceeds them the kernel drops, and the client tries again a second later.
    pub(super) backlog: i32,
}

// === impl Limits ===

impl Limits {
    /// Of a process that may have so many descriptors.
    pub(super) fn of(descriptors: u64) -> Self {
        let spare = SPARE_DESCRIPTORS + descriptors / SPARE_SHARE;
        let connections = descriptors.saturating_sub(spare) / DESCRIPTORS_EACH;
        let backlog = (spare - OWN_DESCRIPTORS) / (DESCRIPTORS_EACH * LISTENERS);
        Self {
            connections: usize::try_from(connections).unwrap_or(usize::MAX).max(1),
            backlog: i32::try_from(backlog.min(MAX_BACKLOG)).unwrap_or(i32::MAX),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_room_for_what_is_open_and_for_what_the_kernel_has_promised() {
        for (descriptors, connections, backlog) in
            [(1, 1, 8), (256, 80, 16), (1_024, 416, 40), (20_000, 8_718, 633), (1_048_576, 458_720, 4_096)]
        {
            let room = Limits::of(descriptors);
            assert_eq!(room, Limits { connections, backlog }, "{descriptors}");
            if descriptors > 1 {
                // The queue of a listener holds one more than its backlog.
                let promised = LISTENERS * (u64::try_from(backlog).unwrap() + 1);
                let taken = (u64::try_from(connections).unwrap() + promised) * DESCRIPTORS_EACH;
                assert!(taken + OWN_DESCRIPTORS - 4 <= descriptors, "{descriptors}: {taken}");
            }
        }
    }
}
