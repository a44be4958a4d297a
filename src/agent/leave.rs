//! Why and how the agent leaves: capture off first, then what is under way may
//! finish, then the reason goes where the keeper finds it.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep};

use super::log;
use super::sessions::Sessions;
use super::state::State;
use crate::problem::Report;

/// How long connections may still arrive that the kernel had promised to the
/// agent before the capture was off: a handshake's last packet is that late.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// How often the open connections are counted.
const COUNTS_EVERY: Duration = Duration::from_millis(50);

/// Why the agent leaves in good order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reason {
    /// It was told to.
    Told,
    /// Nobody had rules for it.
    Idle,
}

// === impl Reason ===

impl fmt::Display for Reason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Told => "told to stop",
            Self::Idle => "no rules for a while",
        })
    }
}

/// Waits for a reason to leave.
pub(super) async fn reason(sessions: &Sessions, idle: Duration) -> anyhow::Result<Reason> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut looks = interval(COUNTS_EVERY);
    let mut busy = Instant::now();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Reason::Told),
            _ = interrupt.recv() => return Ok(Reason::Told),
            _ = looks.tick() => {
                if !sessions.is_idle() {
                    busy = Instant::now();
                } else if busy.elapsed() >= idle {
                    return Ok(Reason::Idle);
                }
            }
        }
    }
}

/// A pod that ends tells all its containers at once, and its application may
/// serve on for a while: what is keyed goes to the preview until it stops
/// listening, or until `patience` is over.
pub(super) async fn stay(reason: Reason, sessions: &Sessions, patience: Duration) {
    let start = Instant::now();
    while reason == Reason::Told && start.elapsed() < patience && sessions.is_capturing() {
        sleep(COUNTS_EVERY).await;
    }
}

/// Lets what is under way finish, within `patience`.
pub(super) async fn drain(state: &State, patience: Duration) {
    let start = Instant::now();
    loop {
        sleep(COUNTS_EVERY).await;
        let is_over = state.connections.load(Relaxed) == 0 && start.elapsed() >= HANDSHAKES;
        if is_over || start.elapsed() >= patience {
            return;
        }
    }
}

/// Writes how it ended, in the log and where Kubernetes keeps it.
pub(super) fn write(path: &Path, result: &anyhow::Result<Reason>) {
    let words = match result {
        Ok(reason) => reason.to_string(),
        Err(error) => Report::of(error).to_string(),
    };
    log::line(log::LEFT, &words);
    // Only a container has the file; it is not for us to create one elsewhere.
    if let Ok(mut file) = std::fs::OpenOptions::new().write(true).truncate(true).open(path) {
        let _ = std::io::Write::write_all(&mut file, words.as_bytes());
    }
}
