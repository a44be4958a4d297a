//! A hung agent is worse than a dead one: a thread of its own ends the process
//! when the event loop has stopped. The kernel then gives the application its
//! connections back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// How often the thread looks.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// Looks without a beat after which the process is ended: two seconds. Counted
/// in looks, not by the clock: a process that was stopped as a whole, and goes
/// on, has not hung.
const MAX_SILENT_LOOKS: u32 = 8;

/// How long the last words may take. The log may be what the event loop hangs in.
const LAST_WORDS: Duration = Duration::from_millis(100);

/// The event loop's pulse.
#[derive(Clone, Debug, Default)]
pub(super) struct Pulse(Arc<AtomicU64>);

// === impl Pulse ===

impl Pulse {
    /// The event loop is alive.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Watches `pulse` from now on.
pub(super) fn watch(pulse: Pulse) -> std::io::Result<()> {
    // A thread that is there already: whatever hangs could hang its beginning too.
    let (speak, spoken) = sync_channel(1);
    spawn("last-words", move || {
        if spoken.recv().is_ok() {
            super::log::line("watchdog", "the event loop has stopped for two seconds");
        }
    })?;
    let look = move || {
        let (mut last, mut silent) = (pulse.0.load(Relaxed), 0);
        loop {
            thread::sleep(LOOKS_EVERY);
            let beats = pulse.0.load(Relaxed);
            silent = if beats == last { silent + 1 } else { 0 };
            last = beats;
            if silent >= MAX_SILENT_LOOKS {
                let _ = speak.try_send(());
                thread::sleep(LAST_WORDS);
                // No clean-up: whatever hangs could hang that too.
                std::process::abort();
            }
        }
    };
    spawn("watchdog", look).map(drop)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(64 * 1024).spawn(work)
}
