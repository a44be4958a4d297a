//! Signals that ask the command to end.

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::problem::{Exit, Problem};

/// The signals of Ctrl-C, of a CI job that is cancelled, and of a closed terminal.
/// A signal that arrives between two calls of [`Interrupts::next`] is not lost.
pub(super) struct Interrupts([Signal; 3]);

/// Runs `work`, and fails with `Interrupted` if a signal arrives first.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        done = work => done,
        () = interrupts.next() => Err(Problem::new("interrupted").exit(Exit::Interrupted).into()),
    }
}

// === impl Interrupts ===

impl Interrupts {
    /// Takes the signals over from their default action.
    pub(super) fn listen() -> Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Returns at the next signal.
    pub(super) async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
