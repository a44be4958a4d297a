//! Ports that sessions want and on which the application does not listen. They are
//! polled often for a while, so that a restarted application is captured soon.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// How long a port is polled often after it lost its listener, or was first wanted.
/// Each poll lists all listeners of the pod.
const URGENT: Duration = Duration::from_secs(10);

/// The ports, and since when they have had no listener.
#[derive(Debug, Default)]
pub(super) struct UnclaimedPorts(BTreeMap<u16, Instant>);

// === impl UnclaimedPorts ===

impl UnclaimedPorts {
    /// Takes the ports that sessions want `now`, and whether each has a listener.
    pub(super) fn follow(&mut self, ports: impl Iterator<Item = (u16, bool)>, now: Instant) {
        let before = std::mem::take(&mut self.0);
        let missing = ports.filter(|(_, is_listening)| !is_listening);
        self.0 = missing.map(|(port, _)| (port, before.get(&port).copied().unwrap_or(now))).collect();
    }

    /// Whether a port is to be polled often.
    pub(super) fn is_urgent(&self, now: Instant) -> bool {
        self.0.values().any(|since| now.saturating_duration_since(*since) < URGENT)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recently_closed_port_is_polled_often_and_a_never_opened_one_for_ten_seconds_only() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut unclaimed = UnclaimedPorts::default();
        for (second, ports, urgent) in [
            (0, &[(80, true), (81, true)][..], false),
            (1, &[(80, true), (81, false)], true),
            (10, &[(80, true), (81, false)], true),
            (11, &[(80, true), (81, false)], false),
            (60, &[(80, false), (81, false)], true),
            (70, &[(80, false), (81, false)], false),
            // It had a listener for a moment, or no session wanted it.
            (71, &[(80, true), (81, false)], false),
            (72, &[(80, false), (81, false)], true),
            (90, &[(80, false)], false),
            (91, &[], false),
            (92, &[(81, false)], true),
        ] {
            unclaimed.follow(ports.iter().copied(), at(second));
            assert_eq!(unclaimed.is_urgent(at(second)), urgent, "at {second} s");
        }
    }
}
