//! The agent's log: JSON lines on standard error, for `kubectl logs`. What the
//! agent did and to which session; never a header's value, never a body.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use serde::Serialize;

use super::clock;

/// How it ended.
pub(super) const LEFT: &str = "left";

#[derive(Serialize)]
struct Line<'a, T> {
    milliseconds: u64,
    what: &'a str,
    #[serde(flatten)]
    detail: T,
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
