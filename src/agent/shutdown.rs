//! Why and how the agent leaves: capture off first, then what is under way may
//! finish, then the reason goes where the keeper finds it.

use std::fmt;
use std::path::Path;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{Instant, interval, sleep};

use super::log;
use super::rules_in_force::RulesInForce;
use super::shared::Shared;
use crate::problem::Report;

/// How long connections may still arrive that the kernel had promised to the
/// agent before the capture was off: a handshake's last packet is that late.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// How much longer than new connections those that are open are carried on, where
/// the pod's time is over at last: the process is gone before it is ended.
const STAYS_LONGER: Duration = Duration::from_secs(2);

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

/// Waits for a reason to leave. While a connection goes through it, the agent is
/// not idle, whoever's it is: its end would be that connection's.
pub(super) async fn reason(
    sessions: &RulesInForce,
    shared: &Shared,
    idle: Duration,
) -> anyhow::Result<Reason> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut looks = interval(COUNTS_EVERY);
    let mut busy = Instant::now();
    loop {
        tokio::select! {
            _ = terminate.recv() => return Ok(Reason::Told),
            _ = interrupt.recv() => return Ok(Reason::Told),
            _ = looks.tick() => {
                if !sessions.is_idle() || shared.connections.load(Relaxed) > 0 {
                    busy = Instant::now();
                } else if busy.elapsed() >= idle {
                    return Ok(Reason::Idle);
                }
            }
        }
    }
}

/// Until when new connections are taken, and until when open ones are carried on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadlines {
    stay: Instant,
    drain: Instant,
}

// === impl Deadlines ===

impl Deadlines {
    /// Of an agent that leaves `now`. One that is told to stays as long as its pod
    /// does, and what is open may take all of that time, whenever new connections
    /// end to come.
    pub(super) fn of(reason: Reason, now: Instant, stay: Duration, drain: Duration) -> Self {
        match reason {
            Reason::Told => Self { stay: now + stay, drain: now + drain.max(stay + STAYS_LONGER) },
            Reason::Idle => Self { stay: now, drain: now + drain },
        }
    }

    /// A pod that ends tells all its containers at once, and its application may
    /// serve on for a while: what is keyed goes to the preview until it stops
    /// listening, or until the time is over.
    pub(super) async fn stay(&self, sessions: &RulesInForce) {
        while Instant::now() < self.stay && sessions.is_capturing() {
            sleep(COUNTS_EVERY).await;
        }
    }

    /// Lets what is under way finish, while there is time.
    pub(super) async fn drain(&self, shared: &Shared) {
        let start = Instant::now();
        loop {
            sleep(COUNTS_EVERY).await;
            let is_over = shared.connections.load(Relaxed) == 0 && start.elapsed() >= HANDSHAKES;
            if is_over || Instant::now() >= self.drain {
                return;
            }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_open_may_take_all_the_time_that_its_pod_has() {
        let now = Instant::now();
        let after = |reason, stay, drain| {
            let deadlines = Deadlines::of(reason, now, Duration::from_secs(stay), Duration::from_secs(drain));
            ((deadlines.stay - now).as_secs(), (deadlines.drain - now).as_secs())
        };
        assert_eq!(after(Reason::Told, 297, 20), (297, 299));
        assert_eq!(
            after(Reason::Told, 7, 20),
            (7, 20),
            "whoever ends the pod will not wait, nor does it harm"
        );
        assert_eq!(after(Reason::Told, 0, 20), (0, 20));
        assert_eq!(after(Reason::Idle, 297, 20), (0, 20));
    }
}
