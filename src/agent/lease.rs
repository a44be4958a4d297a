//! The lease of one session's rules.

use std::time::Duration;

use tokio::time::Instant;

use crate::traffic::Rules;

/// The pause between two renewals that is assumed at least.
const RENEWED_EVERY: Duration = Duration::from_secs(3);

/// Before a second renewal, the pause is assumed to be this part of the lease: keepers of
/// many agents renew as seldom as that.
const LONGEST_PART: u32 = 3;

/// How late a renewal may be.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// How long the rules of a session are in force.
pub(super) struct Lease {
    /// The end, unless the lease is renewed.
    pub(super) until: Instant,
    renewed: Instant,
    renewed_every: Duration,
    /// Whether the preview pods are watched, because the keeper is silent.
    pub(super) is_watched: bool,
    /// The rules as the keeper sent them, if others are in force since it is silent.
    pub(super) sent: Option<Rules>,
}

// === impl Lease ===

impl Lease {
    /// A lease for `length` from `now` on, after the one `before`.
    pub(super) fn renew(before: Option<&Self>, length: Duration, now: Instant) -> Self {
        let pause = before.map(|before| now.saturating_duration_since(before.renewed));
        Self {
            until: now + length,
            renewed: now,
            renewed_every: pause.unwrap_or(length / LONGEST_PART).max(RENEWED_EVERY),
            is_watched: false,
            sent: None,
        }
    }

    /// Whether two renewals are missing: the keeper may be gone, and does not tell the
    /// agent any more which preview pods there are.
    pub(super) fn is_overdue(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.renewed) > self.renewed_every * 2 + MAX_DELAY
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keeper_is_silent_once_two_renewals_are_missing() {
        let (begun, seconds) = (Instant::now(), Duration::from_secs);
        let first = Lease::renew(None, seconds(60), begun);
        // With many agents, a keeper renews every 20 s.
        assert!(!first.is_overdue(begun + seconds(41)));
        assert!(first.is_overdue(begun + seconds(42)));
        let second = Lease::renew(Some(&first), seconds(60), begun + seconds(3));
        assert!(!second.is_overdue(begun + seconds(10)));
        assert!(second.is_overdue(begun + seconds(11)));
        assert_eq!(second.until, begun + seconds(63));
    }
}
