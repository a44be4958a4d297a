//! Out of descriptors or of source ports, the agent lets new connections pass
//! to the application for a while: what it cannot carry it must not take.

use std::time::Duration;

use tokio::time::Instant;

/// The first pause: longer than the silence that the kernel's hook allows, so
/// that what passed meanwhile is counted as a lapse.
const MIN_PAUSE: Duration = Duration::from_secs(1);

/// What pauses grow to that come one soon after the other: at the end of each,
/// a few connections may find out in vain that nothing has changed.
const MAX_PAUSE: Duration = Duration::from_secs(32);

/// The last pause.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Overload(Option<(Instant, Duration)>);

// === impl Overload ===

impl Overload {
    /// There is no room `now`; whether a pause begins with that.
    pub(super) fn begin(&mut self, now: Instant) -> bool {
        let pause = match self.0 {
            Some((until, _)) if now < until => return false,
            Some((until, pause)) if now < until + pause => (pause * 2).min(MAX_PAUSE),
            _ => MIN_PAUSE,
        };
        self.0 = Some((now + pause, pause));
        true
    }

    /// Whether connections pass `now`.
    pub(super) fn is_on(&self, now: Instant) -> bool {
        self.0.is_some_and(|(until, _)| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_while_they_are_in_vain_and_are_short_again_later() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut passing = Overload::default();
        assert!(!passing.is_on(at(0)));
        for (second, begins, over) in
            [(0, true, 1), (0, false, 1), (1, true, 3), (4, true, 8), (100, true, 101)]
        {
            assert_eq!(passing.begin(at(second)), begins, "at {second} s");
            assert!(
                passing.is_on(at(over) - Duration::from_millis(1)) && !passing.is_on(at(over)),
                "at {second} s"
            );
        }
        (102..1_000).for_each(|second| _ = passing.begin(at(second)));
        let longest = MAX_PAUSE.as_secs();
        assert!((1_000..1_000 + longest).any(|second| !passing.is_on(at(second))));
    }
}
