//! How fast a keeper works: quick where a target has a few pods, and never
//! more than a share of the API server's time where it has hundreds.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Semaphore;

/// How often a container that may be starting is reached for, by itself.
const REACHES_EVERY: Duration = Duration::from_millis(75);
/// How many may be reached for before each waits longer.
const REACHED_TOGETHER: u32 = 4;
/// How often rules are renewed and counts asked for.
const RENEWS_EVERY: Duration = Duration::from_secs(3);
/// So many agents hear from the keeper as often as that.
const RENEWED_TOGETHER: u32 = 50;
/// A third of the lease: two renewals may be lost.
const RENEWS_AT_LEAST: Duration = Duration::from_secs(20);
/// Attachments, and canaries, under way at once.
const AT_ONCE: usize = 16;

/// Shared by all that a keeper does.
#[derive(Debug)]
pub(super) struct Pace {
    reaching: AtomicUsize,
    talking: AtomicUsize,
    attachments: Semaphore,
    proofs: Semaphore,
}

/// Counts one as long as it lives.
pub(super) struct Counted<'a>(&'a AtomicUsize);

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            reaching: AtomicUsize::new(0),
            talking: AtomicUsize::new(0),
            attachments: Semaphore::new(AT_ONCE),
            proofs: Semaphore::new(AT_ONCE),
        }
    }
}

impl Pace {
    /// Somebody reaches for a container that may be starting.
    pub(super) fn reaching(&self) -> Counted<'_> {
        Counted::one(&self.reaching)
    }

    /// The pause between two tries.
    pub(super) fn reaches_every(&self) -> Duration {
        REACHES_EVERY * shares(&self.reaching, REACHED_TOGETHER)
    }

    /// Somebody talks with an agent.
    pub(super) fn talking(&self) -> Counted<'_> {
        Counted::one(&self.talking)
    }

    /// The pause between two renewals.
    pub(super) fn renews_every(&self) -> Duration {
        (RENEWS_EVERY * shares(&self.talking, RENEWED_TOGETHER)).min(RENEWS_AT_LEAST)
    }

    /// Waits for one's turn to attach an agent.
    pub(super) const fn attachments(&self) -> &Semaphore {
        &self.attachments
    }

    /// Waits for one's turn to send canaries.
    pub(super) const fn proofs(&self) -> &Semaphore {
        &self.proofs
    }
}

/// How many times over `count` is more than goes together.
fn shares(count: &AtomicUsize, together: u32) -> u32 {
    u32::try_from(count.load(Relaxed)).unwrap_or(u32::MAX).div_ceil(together).max(1)
}

// === impl Counted ===

impl<'a> Counted<'a> {
    fn one(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Relaxed);
        Self(count)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_are_served_at_once_and_hundreds_in_turn() {
        let pace = Pace::default();
        assert_eq!((pace.reaches_every(), pace.renews_every()), (REACHES_EVERY, RENEWS_EVERY));
        let few: Vec<_> = (0..4).map(|_| (pace.reaching(), pace.talking())).collect();
        assert_eq!((pace.reaches_every(), pace.renews_every()), (REACHES_EVERY, RENEWS_EVERY));
        let many: Vec<_> = (0..496).map(|_| (pace.reaching(), pace.talking())).collect();
        assert_eq!(pace.reaches_every(), REACHES_EVERY * 125, "some fifty tries a second in all");
        assert_eq!(pace.renews_every(), RENEWS_AT_LEAST);
        drop((few, many));
        assert_eq!(pace.reaches_every(), REACHES_EVERY);
    }
}
