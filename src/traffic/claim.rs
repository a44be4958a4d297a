//! Which requests a session claims for its preview, and whether another session
//! claims the same.

use super::rules::Port;
use super::{Filter, Mode};

/// The parts of a session's rules that two sessions of one target are compared
/// by.
#[derive(Clone, Copy, Debug)]
pub struct Claim<'a> {
    /// The key of the environment.
    pub key: &'a str,
    /// What happens to a request that matches.
    pub mode: Mode,
    /// The ports of the application.
    pub ports: &'a [Port],
    /// Which requests match.
    pub filter: &'a Filter,
}

// === impl Claim ===

impl Claim<'_> {
    /// Whether two keys would steal the same requests. That is known of equal
    /// filters only; where others overlap, the older key gets the request.
    ///
    /// Two sessions of one key are not in conflict: one replaces the other.
    pub fn conflicts_with(&self, other: &Self) -> bool {
        let is_shared = |port: &Port| other.ports.iter().any(|known| known.port == port.port);
        self.key != other.key
            && self.mode == Mode::Steal
            && other.mode == Mode::Steal
            && self.filter == other.filter
            && self.ports.iter().any(is_shared)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::traffic::filter::baggage::Baggage;

    #[test]
    fn two_keys_that_steal_the_same_requests_of_one_port_are_in_conflict() {
        let port = |port| Port { port, preview_port: None };
        let (here, there, both) = ([port(80)], [port(81)], [port(81), port(80)]);
        let (one, other) = (Filter::Everything, Filter::Baggage(Baggage::new("pr-1")));
        let claim = Claim { key: "pr-1", mode: Mode::Steal, ports: &here, filter: &one };
        for (theirs, conflicts) in [
            (Claim { key: "pr-2", ..claim }, true),
            (Claim { key: "pr-2", ports: &both, ..claim }, true),
            (claim, false),
            (Claim { key: "pr-2", mode: Mode::Mirror, ..claim }, false),
            (Claim { key: "pr-2", ports: &there, ..claim }, false),
            (Claim { key: "pr-2", filter: &other, ..claim }, false),
        ] {
            assert_eq!(
                (claim.conflicts_with(&theirs), theirs.conflicts_with(&claim)),
                (conflicts, conflicts)
            );
        }
    }
}
