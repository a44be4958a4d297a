//! Pauses of the capture: when the agent has no descriptors or source ports left, new
//! connections go to the application for a while.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause. It is longer than the silence that the kernel's hook allows, so
/// that it is counted as a lapse.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// The longest pause. Pauses that follow each other soon grow, because at the end of
/// each a few connections may fail when nothing has changed.
const MAX_PAUSE: Duration = Duration::from_secs(32);

/// The last pause: its end, and its length.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overload(Option<(Instant, Duration)>);

// === impl Overload ===

impl Overload {
    /// The limit is reached `now`; returns whether a pause begins.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let pause = match self.0 {
            Some((until, _)) if now < until => return false,
            Some((until, pause)) if now < until + pause => (pause * 2).min(MAX_PAUSE),
            _ => MIN_PAUSE,
        };
        self.0 = Some((now + pause, pause));
        true
    }

    /// Whether the capture pauses `now`.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.0.is_some_and(|(until, _)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_the_overload_lasts_and_are_short_again_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut overload = Overload::default();
        assert!(!overload.is_on(at(0)));
        for (second, begins, over) in
            [(0, true, 1), (0, false, 1), (1, true, 3), (4, true, 8), (100, true, 101)]
        {
            assert_eq!(overload.begin(at(second)), begins, "at {second} s");
            assert!(
                overload.is_on(at(over) - Duration::from_millis(1)) && !overload.is_on(at(over)),
                "at {second} s"
            );
        }
        (102..1_000).for_each(|second| _ = overload.begin(at(second)));
        let longest = MAX_PAUSE.as_secs();
        assert!((1_000..1_000 + longest).any(|second| !overload.is_on(at(second))));
    }
}
