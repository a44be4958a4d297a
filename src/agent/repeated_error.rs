//! An error that may happen many times a second, and is logged once a minute.

use std::cell::Cell;
use std::fmt::Display;
use std::time::Duration;

use tokio::time::Instant;

/// How often an error that continues is logged again.
const LOGGED_EVERY: Duration = Duration::from_mins(1);

/// When an action's error was last logged; none since it last succeeded.
#[derive(Debug, Default)]
pub(super) struct RepeatedError(Cell<Option<Instant>>);

// === impl RepeatedError ===

impl RepeatedError {
    /// Logs an error if it is new, and once a minute while it continues. `what` says
    /// what could not be done.
    pub(super) fn note<T, E: Display>(&self, result: &Result<T, E>, what: &str) {
        match result {
            Ok(_) => self.0.set(None),
            Err(error) => {
                if self.is_due(Instant::now()) {
                    tracing::error!(%error, "{what}");
                }
            }
        }
    }

    fn is_due(&self, now: Instant) -> bool {
        let is_due = self.0.get().is_none_or(|last| now.saturating_duration_since(last) >= LOGGED_EVERY);
        if is_due {
            self.0.set(Some(now));
        }
        is_due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_due_at_once_then_once_a_minute_and_at_once_after_a_success() {
        let (error, start) = (RepeatedError::default(), Instant::now());
        let is_due = |seconds: u64| error.is_due(start + Duration::from_secs(seconds));
        assert_eq!((0..150).filter(|second| is_due(*second)).count(), 3);
        error.note(&Ok::<_, std::io::Error>(()), "");
        assert!(is_due(150) && !is_due(151));
    }
}
