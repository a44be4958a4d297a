//! Limits on a keeper's requests: short pauses while a target has a few pods, longer
//! ones with hundreds, so that the API server keeps time for others.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;

use tokio::sync::Semaphore;

/// The pause between two tries to exec into a container that may be starting.
const REACHES_EVERY: Duration = Duration::from_millis(75);
/// With more such containers than this, the pause grows.
const REACHED_TOGETHER: u32 = 4;
/// The pause between two renewals of an agent's rules, and requests for its counters.
const RENEWS_EVERY: Duration = Duration::from_secs(3);
/// With more agents than this, the pause grows.
const RENEWED_TOGETHER: u32 = 50;
/// The longest pause: a third of the shortest lease, so that two renewals may be lost.
const RENEWS_AT_LEAST: Duration = Duration::from_secs(20);
/// The most attachments under way at once, and the most proofs.
const AT_ONCE: usize = 16;

/// The limits, shared by all tasks of a keeper.
#[derive(Debug)]
pub(super) struct Pace {
    reaching: AtomicUsize,
    conversing: AtomicUsize,
    attachments: Semaphore,
    proofs: Semaphore,
}

/// Is counted until it is dropped.
pub(super) struct Counted<'a>(&'a AtomicUsize);

// === impl Pace ===

impl Default for Pace {
    fn default() -> Self {
        Self {
            reaching: AtomicUsize::new(0),
            conversing: AtomicUsize::new(0),
            attachments: Semaphore::new(AT_ONCE),
            proofs: Semaphore::new(AT_ONCE),
        }
    }
}

impl Pace {
    /// Counts a task that tries to exec into a container.
    pub(super) fn reaching(&self) -> Counted<'_> {
        Counted::one(&self.reaching)
    }

    /// The pause between two tries of one task.
    pub(super) fn reaches_every(&self) -> Duration {
        REACHES_EVERY * batches(&self.reaching, REACHED_TOGETHER)
    }

    /// Counts a conversation with an agent.
    pub(super) fn conversing(&self) -> Counted<'_> {
        Counted::one(&self.conversing)
    }

    /// The pause between two renewals.
    pub(super) fn renews_every(&self) -> Duration {
        (RENEWS_EVERY * batches(&self.conversing, RENEWED_TOGETHER)).min(RENEWS_AT_LEAST)
    }

    /// The permits to attach an agent.
    pub(super) const fn attachments(&self) -> &Semaphore {
        &self.attachments
    }

    /// The permits to send canaries.
    pub(super) const fn proofs(&self) -> &Semaphore {
        &self.proofs
    }
}

/// The number of batches of size `together` that hold `count`, at least one.
fn batches(count: &AtomicUsize, together: u32) -> u32 {
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
    fn pauses_grow_with_the_number_of_pods() {
        let pace = Pace::default();
        assert_eq!((pace.reaches_every(), pace.renews_every()), (REACHES_EVERY, RENEWS_EVERY));
        let few: Vec<_> = (0..4).map(|_| (pace.reaching(), pace.conversing())).collect();
        assert_eq!((pace.reaches_every(), pace.renews_every()), (REACHES_EVERY, RENEWS_EVERY));
        let many: Vec<_> = (0..496).map(|_| (pace.reaching(), pace.conversing())).collect();
        assert_eq!(pace.reaches_every(), REACHES_EVERY * 125, "some fifty tries a second in all");
        assert_eq!(pace.renews_every(), RENEWS_AT_LEAST);
        drop((few, many));
        assert_eq!(pace.reaches_every(), REACHES_EVERY);
    }
}
