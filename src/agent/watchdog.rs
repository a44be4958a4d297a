//! Ends the process when its event loop has stopped, from a thread of its own. A
//! hung agent is worse than none: without the process, new connections go to the
//! application.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::mpsc::sync_channel;
use std::thread;
use std::time::Duration;

/// How often the thread looks.
const LOOKS_EVERY: Duration = Duration::from_millis(250);

/// Looks without a heartbeat after which the process is ended: two seconds. Not
/// measured by the clock: a process that was stopped as a whole and continues has not
/// hung.
const MAX_SILENT_LOOKS: u32 = 8;

/// How long the message in the log may take.
const MESSAGE_WAIT: Duration = Duration::from_millis(100);

/// Counts the event loop's heartbeats.
#[derive(Clone, Debug, Default)]
pub(super) struct Heartbeats(Arc<AtomicU64>);

// === impl Heartbeats ===

impl Heartbeats {
    /// Counts one: the event loop is alive.
    pub(super) fn beat(&self) {
        self.0.fetch_add(1, Relaxed);
    }
}

/// Watches `heartbeats` from now on.
pub(super) fn watch(heartbeats: Heartbeats) -> std::io::Result<()> {
    // The event loop may have stopped inside the allocator or the log, and with a lock
    // that the message needs: hence a thread that exists already, and a time limit.
    let (hung, message) = sync_channel(1);
    spawn("hang-message", move || {
        if message.recv().is_ok() {
            tracing::error!("the event loop has stopped for two seconds");
        }
    })?;
    let look = move || {
        let (mut last, mut silent) = (heartbeats.0.load(Relaxed), 0);
        loop {
            thread::sleep(LOOKS_EVERY);
            let beats = heartbeats.0.load(Relaxed);
            silent = if beats == last { silent + 1 } else { 0 };
            last = beats;
            if silent >= MAX_SILENT_LOOKS {
                let _ = hung.try_send(());
                thread::sleep(MESSAGE_WAIT);
                // Without any clean-up, which could hang too.
                std::process::abort();
            }
        }
    };
    spawn("watchdog", look).map(drop)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> std::io::Result<thread::JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).stack_size(64 * 1024).spawn(work)
}
