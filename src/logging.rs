//! The log of the programs that run in the cluster: one JSON object per line on
//! standard error, for `kubectl logs`; and the message with which they end.
//!
//! A thread of its own writes it. Where nobody reads the log, lines are dropped and
//! counted, and the program goes on. Only this crate's messages are logged: those of
//! the libraries quote headers and bodies.

use std::cell::Cell;
use std::fs::OpenOptions;
use std::io::{self, Write as _};
use std::path::Path;

use tracing::Metadata;
use tracing::level_filters::LevelFilter;
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::layer::{Layer as _, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

/// Lines that wait to be written. Further ones are dropped.
const MAX_LINES: usize = 1_024;

/// The prefix of the targets of this crate's messages: its name.
const OWN: &str = env!("CARGO_CRATE_NAME");

/// The log, until this value is dropped: then the waiting lines are written, for a
/// second at most.
#[derive(Debug)]
pub(crate) struct Log {
    dropped: ErrorCounter,
    /// The number of dropped lines that was logged last.
    noted: Cell<usize>,
    /// How many lines about dropped lines were dropped.
    vain: Cell<usize>,
    _writer: WorkerGuard,
}

// === impl Log ===

impl Log {
    /// Starts the log of this process, at the level that the text names; see
    /// [`level`]. Panics are logged, too.
    pub(crate) fn start(text: Option<&str>) -> Self {
        let (writer, guard) = NonBlockingBuilder::default()
            .lossy(true)
            .buffered_lines_limit(MAX_LINES)
            .thread_name("log")
            .finish(io::stderr());
        let dropped = writer.error_counter();
        let level = text.map_or(LevelFilter::INFO, level);
        let is_own = move |metadata: &Metadata<'_>| {
            *metadata.level() <= level && metadata.target().split("::").next() == Some(OWN)
        };
        let lines = tracing_subscriber::fmt::layer()
            .json()
            .flatten_event(true)
            .with_current_span(false)
            .with_span_list(false)
            .with_writer(writer)
            .with_filter(filter_fn(is_own).with_max_level_hint(level));
        // Tests of this crate may have started another one.
        let _ = tracing_subscriber::registry().with(lines).try_init();
        std::panic::set_hook(Box::new(|panic| tracing::error!(%panic, "a bug of mirrord")));
        Self { dropped, noted: Cell::new(0), vain: Cell::new(0), _writer: guard }
    }

    /// Logs how many lines were dropped, if there are more than last time.
    pub(crate) fn note_dropped(&self) {
        // These lines, too, are dropped until somebody reads the log again.
        let all = self.dropped.dropped_lines();
        let dropped = all - self.vain.get();
        if dropped > self.noted.get() {
            tracing::warn!(dropped, "lines of this log were dropped since the start");
            if self.dropped.dropped_lines() == all {
                self.noted.set(dropped);
            } else {
                self.vain.set(self.vain.get() + 1);
            }
        }
    }
}

/// Where Kubernetes reads the reason why a container has ended.
pub(crate) const TERMINATION_LOG: &str = "/dev/termination-log";

/// Writes the reason why this program ends to where Kubernetes reads it. Does nothing
/// where the file does not exist: only a container has it.
pub(crate) fn write_termination_message(path: &Path, message: &str) {
    if let Ok(mut file) = OpenOptions::new().write(true).truncate(true).open(path) {
        // The log has the reason, too.
        let _ = file.write_all(message.as_bytes());
    }
}

/// The level that `agent.log_level` asks of this crate: a level, or a list of levels
/// and `target=level` like `mirrord=debug,warn`, as in mirrord's own agents. A level
/// for `mirrord` comes before the general one. Text that names no level is `info`.
fn level(text: &str) -> LevelFilter {
    let (mut general, mut own) = (None, None);
    // The empty text would be read as `error`.
    for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        match part.split_once('=') {
            None => general = part.parse().ok().or(general),
            Some((target, word)) if target.split("::").next() == Some(OWN) => own = word.parse().ok().or(own),
            Some(_) => {}
        }
    }
    own.or(general).unwrap_or(LevelFilter::INFO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_that_for_mirrord_else_the_general_one_else_info() {
        for (text, expected) in [
            ("off", LevelFilter::OFF),
            ("error", LevelFilter::ERROR),
            ("WARN", LevelFilter::WARN),
            ("info", LevelFilter::INFO),
            ("trace", LevelFilter::TRACE),
            ("mirrord=debug,warn", LevelFilter::DEBUG),
            ("warn, mirrord::agent=trace", LevelFilter::TRACE),
            ("warn,h2=trace", LevelFilter::WARN),
            ("mirrordish=trace", LevelFilter::INFO),
            ("h2=trace", LevelFilter::INFO),
            ("loud", LevelFilter::INFO),
            ("", LevelFilter::INFO),
        ] {
            assert_eq!(level(text), expected, "{text}");
        }
    }
}
