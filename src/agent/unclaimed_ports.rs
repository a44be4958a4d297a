//! Ports that sessions want and on which nobody listens: an application that is
//! started again is looked for often, one that never comes is not.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long after a port was last listened on, or was first wanted, it is looked
/// for often. Each look lists all the listeners of the pod.
const URGENT: Duration = Duration::from_secs(10);

/// The ports, and since when nobody has listened on them.
#[derive(Debug, Default)]
pub(super) struct UnclaimedPorts(BTreeMap<u16, Instant>);

// === impl UnclaimedPorts ===

impl UnclaimedPorts {
    /// These are the ports that are wanted `now`, and whether somebody listens on each.
    pub(super) fn follow(&mut self, ports: impl Iterator<Item = (u16, bool)>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        let missing = ports.filter(|(_, is_listening)| !is_listening);
        self.0 = missing.map(|(port, _)| (port, before.get(&port).copied().unwrap_or(now))).collect();
    }

    /// Whether one of them is still looked for often.
    pub(super) fn is_urgent(&self, now: Instant) -> bool {
        self.0.values().any(|since| now.saturating_duration_since(*since) < URGENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_that_was_listened_on_lately_is_looked_for_often_and_one_that_never_was_is_not_for_long() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut awaited = UnclaimedPorts::default();
        for (second, ports, urgent) in [
            (0, &[(80, true), (81, true)][..], false),
            (1, &[(80, true), (81, false)], true),
            (10, &[(80, true), (81, false)], true),
            (11, &[(80, true), (81, false)], false),
            (60, &[(80, false), (81, false)], true),
            (70, &[(80, false), (81, false)], false),
            // It was there for a moment, or nobody wanted it.
            (71, &[(80, true), (81, false)], false),
            (72, &[(80, false), (81, false)], true),
            (90, &[(80, false)], false),
            (91, &[], false),
            (92, &[(81, false)], true),
        ] {
            awaited.follow(ports.iter().copied(), at(second));
            assert_eq!(awaited.is_urgent(at(second)), urgent, "at {second} s");
        }
    }
}
