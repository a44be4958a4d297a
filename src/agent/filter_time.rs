//! How long the judgements of one session take. Filters are the users' own programs, and
//! one thread relays all traffic of the pod: a filter that is slow is suspended.
//!
//! Time is that of the thread's processor: an agent that is not scheduled for a while is
//! no fault of the filter. That clock costs a system call, so it is read only if the
//! wall clock suggests it.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};
use tracing::warn;

use super::shared::Counters;
use crate::traffic::judge::Meter;
use crate::traffic::{Answer, Rules};

/// How long one judgement may take. New connections bypass the agent after 0.8 s without
/// a heartbeat, so a few such judgements in a row must not matter.
pub(super) const MAX_JUDGEMENT: Duration = Duration::from_millis(50);

/// How old a reading of the processor's clock may be when a judgement begins: a
/// judgement is measured too long by up to this much, which is taken off again.
const MAX_READING_AGE: Duration = Duration::from_millis(10);

/// Whether a session's filter is suspended. It stays so for as long as this agent knows
/// the session.
#[derive(Debug, Default)]
pub(super) struct FilterTime {
    /// How long the judgement took after which it was, in milliseconds; 0 before.
    suspended_after_milliseconds: AtomicU64,
}

/// The clocks that judgements are measured with.
trait Clocks {
    /// The monotonic clock.
    fn wall(&self) -> Instant;

    /// How long this thread has run.
    fn processor(&self) -> Duration;
}

/// The clocks of this thread.
struct ThreadClocks;

/// One reading of both clocks.
#[derive(Clone, Copy)]
struct Reading {
    wall: Instant,
    processor: Duration,
}

/// One judgement under way.
struct Measured<'a, C> {
    clocks: &'a C,
    begun: Instant,
    reading: Reading,
}

thread_local! {
    static LAST_READING: Cell<Option<Reading>> = const { Cell::new(None) };
}

// === impl FilterTime ===

impl FilterTime {
    /// How long the judgement took after which the filter was suspended, in milliseconds.
    pub(super) fn suspended_after_milliseconds(&self) -> Option<u64> {
        Some(self.suspended_after_milliseconds.load(Relaxed)).filter(|milliseconds| *milliseconds > 0)
    }

    /// Runs one judgement, or none where the filter is suspended. `last` is the last
    /// reading of the clocks.
    fn measure(
        &self,
        clocks: &impl Clocks,
        last: &Cell<Option<Reading>>,
        judge: impl FnOnce(&dyn Fn() -> bool) -> Answer,
    ) -> Answer {
        if self.suspended_after_milliseconds().is_some() {
            return Answer::No;
        }
        let begun = clocks.wall();
        let is_fresh = |reading: &Reading| begun.saturating_duration_since(reading.wall) <= MAX_READING_AGE;
        let reading = last.get().filter(is_fresh).unwrap_or_else(|| {
            let reading = Reading { wall: begun, processor: clocks.processor() };
            last.set(Some(reading));
            reading
        });
        let measured = Measured { clocks, begun, reading };
        let answer = judge(&|| measured.over().is_some());
        if let Some(took) = measured.over() {
            let milliseconds = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
            self.suspended_after_milliseconds.store(milliseconds, Relaxed);
        }
        answer
    }
}

// === impl Measured ===

impl<C: Clocks> Measured<'_, C> {
    /// How long the judgement has taken, if that is too long.
    fn over(&self) -> Option<Duration> {
        if self.clocks.wall().saturating_duration_since(self.begun) <= MAX_JUDGEMENT {
            return None;
        }
        let before = self.begun.saturating_duration_since(self.reading.wall);
        let took = self.clocks.processor().saturating_sub(self.reading.processor).saturating_sub(before);
        (took > MAX_JUDGEMENT).then_some(took)
    }
}

// === impl ThreadClocks ===

impl Clocks for ThreadClocks {
    fn wall(&self) -> Instant {
        Instant::now()
    }

    fn processor(&self) -> Duration {
        let time = clock_gettime(ClockId::ThreadCPUTime);
        Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
    }
}

// === impl Meter ===

impl Meter for Arc<Counters> {
    fn measure(&self, rules: &Rules, judge: impl FnOnce(&dyn Fn() -> bool) -> Answer) -> Answer {
        let time = &self.filter_time;
        let was_suspended = time.suspended_after_milliseconds().is_some();
        let answer = LAST_READING.with(|last| time.measure(&ThreadClocks, last, judge));
        if !was_suspended && let Some(milliseconds) = time.suspended_after_milliseconds() {
            let session = &rules.session;
            warn!(session, milliseconds, "suspended a filter: judging one request took too long");
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clocks that a test moves.
    struct Given {
        wall: Cell<Instant>,
        processor: Cell<Duration>,
        readings: Cell<usize>,
    }

    impl Given {
        fn new() -> Self {
            Self { wall: Cell::new(Instant::now()), processor: Cell::default(), readings: Cell::new(0) }
        }

        /// Time passes, and the thread runs for a part of it.
        fn pass(&self, wall: u64, processor: u64) {
            self.wall.set(self.wall.get() + Duration::from_millis(wall));
            self.processor.set(self.processor.get() + Duration::from_millis(processor));
        }
    }

    impl Clocks for Given {
        fn wall(&self) -> Instant {
            self.wall.get()
        }

        fn processor(&self) -> Duration {
            self.readings.set(self.readings.get() + 1);
            self.processor.get()
        }
    }

    #[test]
    fn a_filter_is_suspended_after_one_judgement_that_took_too_long() {
        let (time, clocks, last) = (FilterTime::default(), Given::new(), Cell::default());
        let judge = |wall, processor| {
            time.measure(&clocks, &last, |is_over| {
                assert!(!is_over());
                clocks.pass(wall, processor);
                assert_eq!(is_over(), processor > 50);
                Answer::Yes
            })
        };
        // At the bound, or not scheduled for long.
        for (wall, processor) in [(50, 50), (5_000, 50), (0, 0)] {
            assert_eq!(judge(wall, processor), Answer::Yes);
            assert_eq!(time.suspended_after_milliseconds(), None, "{wall} {processor}");
        }
        assert_eq!(judge(80, 70), Answer::Yes, "this one is decided");
        assert_eq!(time.suspended_after_milliseconds(), Some(70));
        let asked = time.measure(&clocks, &last, |_| unreachable!("a suspended filter is not asked"));
        assert_eq!(asked, Answer::No);
    }

    #[test]
    fn time_before_a_judgement_is_not_its_own_and_the_processors_clock_is_read_rarely() {
        let (time, clocks, last) = (FilterTime::default(), Given::new(), Cell::default());
        for _ in 0..1_000 {
            time.measure(&clocks, &last, |_| Answer::No);
            clocks.pass(1, 1);
        }
        assert!(clocks.readings.get() <= 100, "{}", clocks.readings.get());
        last.set(Some(Reading { wall: clocks.wall(), processor: clocks.processor() }));
        clocks.pass(9, 9);
        time.measure(&clocks, &last, |_| {
            clocks.pass(51, 50);
            Answer::No
        });
        assert_eq!(time.suspended_after_milliseconds(), None);
    }

    #[test]
    fn the_threads_own_clock_advances() {
        let begun = ThreadClocks.processor();
        while ThreadClocks.processor() == begun {}
    }
}
