//! The agent's log: JSON lines on standard error, for `kubectl logs`. What the
//! agent did and to which session; never a header's value, never a body.

use std::cell::Cell;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::clock;

/// How often an error is said that lasts.
const SAYS_EVERY: Duration = Duration::from_mins(1);

/// How it ended.
pub(super) const LEFT: &str = "left";

#[derive(Serialize)]
struct Line<'a, T> {
    milliseconds: u64,
    what: &'a str,
    #[serde(flatten)]
    detail: T,
}

/// Something that is tried many times a second, and may fail each time.
#[derive(Debug, Default)]
pub(super) struct Trouble(Cell<Option<Instant>>);

// === impl Trouble ===

impl Trouble {
    /// It has failed: says so when that is news, and now and then while it lasts.
    pub(super) fn lasts(&self, name: &str, words: &str) {
        if self.is_news(Instant::now()) {
            line(name, words);
        }
    }

    /// It has succeeded.
    pub(super) fn is_over(&self) {
        self.0.set(None);
    }

    fn is_news(&self, now: Instant) -> bool {
        let is_news = self.0.get().is_none_or(|said| now.saturating_duration_since(said) >= SAYS_EVERY);
        if is_news {
            self.0.set(Some(now));
        }
        is_news
    }
}

static IS_QUIET: AtomicBool = AtomicBool::new(false);

/// From now on, only how it ended is said.
pub(super) fn be_quiet() {
    IS_QUIET.store(true, Ordering::Relaxed);
}

/// One event with what belongs to it, which serialises to an object.
pub(super) fn event(name: &str, detail: impl Serialize) {
    if IS_QUIET.load(Ordering::Relaxed) && name != LEFT {
        return;
    }
    let line = Line { milliseconds: clock::unix_milliseconds(), what: name, detail };
    if let Ok(mut text) = serde_json::to_vec(&line) {
        text.push(b'\n');
        // Nobody is left to be told that the log is gone.
        let _ = std::io::stderr().write_all(&text);
    }
}

/// One event in words.
pub(super) fn line(name: &str, words: &str) {
    event(name, serde_json::json!({ "words": words }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_that_lasts_is_said_once_a_minute_and_again_when_it_comes_back() {
        let (trouble, start) = (Trouble::default(), Instant::now());
        let said = |seconds: u64| trouble.is_news(start + Duration::from_secs(seconds));
        assert_eq!((0..150).filter(|second| said(*second)).count(), 3);
        trouble.is_over();
        assert!(said(150) && !said(151));
    }
}
