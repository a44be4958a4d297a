//! Why and how the agent ends: it removes the capture, lets open connections finish,
//! and writes the reason where the keeper finds it.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout_at};
use tracing::{error, info};

use super::open_connections::OpenConnections;
use super::rules_in_force::RulesInForce;
use crate::logging::write_termination_message;
use crate::problem::ErrorReport;

/// How long connections may still arrive after the capture is removed: those whose
/// handshake the kernel had begun for the agent.
const HANDSHAKES: Duration = Duration::from_secs(1);

/// How much longer open connections go on than new ones are accepted, where the
/// whole pod ends: the process must end before Kubernetes kills it.
const STAYS_LONGER: Duration = Duration::from_secs(2);

/// How long connections may go on that only a preview serves, when nothing listens
/// on the captured ports any more: the pod ends with its last container.
const PREVIEW_ONLY_WITHOUT_APPLICATION: Duration = Duration::from_secs(1);

/// The same while the application listens, or when no session is left.
const PREVIEW_ONLY: Duration = Duration::from_secs(10);

/// How often to look whether only previews serve.
const LOOKS_EVERY: Duration = Duration::from_millis(100);

/// Why the agent ends without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ShutdownReason {
    /// A signal told it to.
    Told,
    /// It had no rules for a while.
    Idle,
}

// === impl ShutdownReason ===

impl fmt::Display for ShutdownReason {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match self {
            Self::Told => "told to stop",
            Self::Idle => "no rules for a while",
        })
    }
}

/// Waits for a reason to end.
pub(super) async fn reason(
    rules: &RulesInForce,
    connections: &OpenConnections,
    idle: Duration,
) -> anyhow::Result<ShutdownReason> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => Ok(ShutdownReason::Told),
        _ = interrupt.recv() => Ok(ShutdownReason::Told),
        () = idleness(rules.watch_sessions(), connections.watch(), idle) => Ok(ShutdownReason::Idle),
    }
}

/// Waits until there have been neither sessions nor connections for this time. The
/// agent's end would be the end of its connections.
async fn idleness(
    mut sessions: watch::Receiver<usize>,
    mut connections: watch::Receiver<usize>,
    time: Duration,
) {
    loop {
        // A receiver whose sender is gone stays as it is.
        let _ = sessions.wait_for(|count| *count == 0).await;
        let _ = connections.wait_for(|count| *count == 0).await;
        if *sessions.borrow_and_update() > 0 {
            continue;
        }
        tokio::select! {
            () = sleep(time) => return,
            Ok(()) = sessions.changed() => {}
            Ok(()) = connections.changed() => {}
        }
    }
}

/// When the agent stops accepting new connections, and when it ends the open ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Deadlines {
    stay: Instant,
    drain: Instant,
}

// === impl Deadlines ===

impl Deadlines {
    /// The deadlines of an agent that begins to end `now`. If it was told to, it stays
    /// as long as its pod, and open connections may take all of that time, even when
    /// new ones have stopped earlier.
    pub(super) fn of(reason: ShutdownReason, now: Instant, stay: Duration, drain: Duration) -> Self {
        match reason {
            ShutdownReason::Told => Self { stay: now + stay, drain: now + drain.max(stay + STAYS_LONGER) },
            ShutdownReason::Idle => Self { stay: now, drain: now + drain },
        }
    }

    /// Goes on capturing until the application stops listening, or until the deadline.
    /// A pod that ends tells all its containers at once, and its application may serve
    /// for a while longer.
    pub(super) async fn stay(&self, mut captured: watch::Receiver<usize>) {
        let _ = timeout_at(self.stay, captured.wait_for(|count| *count == 0)).await;
    }

    /// Lets open connections finish until the deadline. Those that only a preview
    /// serves, once no connection reaches the application, get 1 s if the application
    /// has stopped listening, and 10 s otherwise.
    pub(super) async fn drain(
        &self,
        mut connections: watch::Receiver<usize>,
        reach_application: impl Fn() -> bool,
        has_stopped_listening: bool,
    ) {
        let finished = async {
            sleep(HANDSHAKES).await;
            let _ = connections.wait_for(|count| *count == 0).await;
        };
        let patience = if has_stopped_listening { PREVIEW_ONLY_WITHOUT_APPLICATION } else { PREVIEW_ONLY };
        let only_previews = async {
            sleep(HANDSHAKES).await;
            let mut since = Instant::now();
            while since.elapsed() < patience {
                sleep(LOOKS_EVERY).await;
                if reach_application() {
                    since = Instant::now();
                }
            }
        };
        let drained = async {
            tokio::select! {
                () = finished => {}
                () = only_previews => {}
            }
        };
        let _ = timeout_at(self.drain, drained).await;
    }
}

/// Writes how the agent ended into the log, and where Kubernetes keeps it.
pub(super) fn write(path: &Path, result: &anyhow::Result<ShutdownReason>) {
    let words = match result {
        Ok(reason) => reason.to_string(),
        Err(error) => ErrorReport::of(error).to_string(),
    };
    if result.is_ok() {
        info!(why = words, "ended");
    } else {
        error!(why = words, "ended");
    }
    write_termination_message(path, &words);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_connections_may_take_all_the_time_that_the_pod_has() {
        let now = Instant::now();
        let after = |reason, stay, drain| {
            let deadlines = Deadlines::of(reason, now, Duration::from_secs(stay), Duration::from_secs(drain));
            ((deadlines.stay - now).as_secs(), (deadlines.drain - now).as_secs())
        };
        assert_eq!(after(ShutdownReason::Told, 297, 20), (297, 299));
        assert_eq!(
            after(ShutdownReason::Told, 7, 20),
            (7, 20),
            "longer than the pod has, which does no harm"
        );
        assert_eq!(after(ShutdownReason::Told, 0, 20), (0, 20));
        assert_eq!(after(ShutdownReason::Idle, 297, 20), (0, 20));
    }

    #[tokio::test(start_paused = true)]
    async fn the_agent_is_idle_once_sessions_and_connections_have_been_gone_for_the_time() {
        let (sessions, connections) = (watch::Sender::new(1), watch::Sender::new(1));
        let start = Instant::now();
        let idle =
            tokio::spawn(idleness(sessions.subscribe(), connections.subscribe(), Duration::from_secs(10)));
        for (second, set_sessions, set_connections) in
            [(5, 0, 1), (20, 0, 0), (25, 1, 0), (40, 0, 1), (45, 0, 0)]
        {
            tokio::time::sleep_until(start + Duration::from_secs(second)).await;
            assert!(!idle.is_finished(), "{second} s");
            sessions.send_replace(set_sessions);
            connections.send_replace(set_connections);
        }
        idle.await.unwrap();
        assert_eq!(start.elapsed().as_secs(), 55);
    }

    #[tokio::test(start_paused = true)]
    async fn draining_ends_with_the_last_connection_or_at_the_deadline() {
        let start = Instant::now();
        let deadlines = Deadlines { stay: start, drain: start + Duration::from_secs(10) };
        let connections = watch::Sender::new(0);
        let drain = |has_stopped| deadlines.drain(connections.subscribe(), || true, has_stopped);
        drain(true).await;
        assert_eq!(start.elapsed(), HANDSHAKES, "handshakes may still end");
        connections.send_replace(1);
        let last = async {
            sleep(Duration::from_secs(3)).await;
            connections.send_replace(0);
        };
        tokio::join!(drain(true), last);
        assert_eq!(start.elapsed(), HANDSHAKES + Duration::from_secs(3));
        connections.send_replace(1);
        drain(false).await;
        assert_eq!(start.elapsed(), Duration::from_secs(10));
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_only_a_preview_serves_do_not_hold_the_pod() {
        // From the last look at which the application was reached, a tenth of a second before it is left.
        for (has_stopped_listening, application, milliseconds) in
            [(true, 0, 2_000), (false, 0, 11_000), (true, 4, 4_900), (true, 200, 120_000)]
        {
            let start = Instant::now();
            let deadlines = Deadlines { stay: start, drain: start + Duration::from_mins(2) };
            let connections = watch::Sender::new(1);
            let reach = || start.elapsed() < Duration::from_secs(application);
            deadlines.drain(connections.subscribe(), reach, has_stopped_listening).await;
            assert_eq!(start.elapsed().as_millis(), milliseconds, "{has_stopped_listening}, {application} s");
        }
    }
}
