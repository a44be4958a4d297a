//! `stop`: brings the deadline of environments forward, waits until all their
//! objects are gone, and lists them. It needs neither the target nor a configuration
//! file.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{Interrupts, Selector, connected, features, find};
use crate::cluster::{Cluster, END, Remains, Scope, SessionList, persist};
use crate::config::Selection;
use crate::connection::Purpose;
use crate::output::Reporter;
use crate::problem::{Exit, Explain as _, Problem};
use crate::session::{Session, SessionId};
use crate::words;

/// The time between two checks whether everything is gone.
const LOOK: Duration = Duration::from_millis(250);
/// How long pods may take to terminate: grace periods are seldom longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// The result if there is nothing to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// An error.
    Fails,
    /// Success.
    Passes,
}

/// How long the command waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until all objects are gone.
    UntilGone,
    /// Until Kubernetes has accepted the new deadlines.
    UntilTold,
}

/// A session that was told to end.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) namespace: String,
    pub(super) root: String,
    pub(super) session: SessionId,
}

// === impl Ending ===

impl Ending {
    pub(super) fn of(session: &Session) -> Self {
        Self { namespace: session.namespace.clone(), root: session.root.clone(), session: session.id.clone() }
    }
}

/// Stops the environments that match `selector`.
///
/// # Errors
///
/// `NotFound` if there is none and that [`NotFound::Fails`]; `Usage` if they are in
/// several namespaces and `--all-namespaces` was not typed; `TimedOut` if an object
/// stays longer than its grace period allows.
pub async fn stop(
    selection: &Selection,
    selector: &Selector,
    scope: Scope,
    not_found: NotFound,
    patience: Patience,
    reporter: &Reporter,
) -> Result<()> {
    let mut interrupts = Interrupts::listen()?;
    let work = async {
        let cluster = connected(selection, Purpose::Change, reporter).await?;
        let step = reporter.step("finding preview sessions");
        let SessionList { sessions, scope: searched } =
            find::matching(&cluster, selector, &scope, reporter).await?;
        if sessions.is_empty() {
            if not_found == NotFound::Fails {
                return Err(find::nothing(&cluster, selector, &scope, &searched).await.into());
            }
            step.done(&selector.nothing_in(&searched));
            return Ok(sessions);
        }
        find::in_one_namespace(&sessions, selection.reach)?;
        step.done(&format!("found {} to delete", words::count(sessions.len(), "session")));
        let step = reporter.step("deleting sessions");
        // All deadlines are set before the first wait, so that an interrupt spares none.
        let mut untold: Option<anyhow::Error> = None;
        for session in &sessions {
            let told = persist(async || cluster.end(&session.namespace, &session.root).await).await;
            if let Some(error) = told.err().and_then(|error| untold.replace(error)) {
                reporter.warning(&format!("{error:#}"));
            }
        }
        if let Some(error) = untold {
            return Err(error);
        }
        if patience == Patience::UntilGone {
            for session in &sessions {
                let gone =
                    until_gone(&cluster, &Ending::of(session), |left| step.update(&ending(left))).await;
                gone.explain(|| unwatched(session))?;
            }
            step.done("all sessions deleted");
        } else {
            step.done("sessions are terminating (not waiting)");
        }
        Ok(sessions)
    };
    let sessions: Vec<Session> = tokio::select! {
        sessions = work => sessions.map_err(|error: anyhow::Error| error.context("could not stop the environment"))?,
        () = interrupts.next() => {
            return Err(Problem::new("interrupted while stopping").hint("sessions that were told to end go on terminating").exit(Exit::Interrupted).into());
        }
    };
    let removed = |session: &Session| {
        format!("removed: {} on {} in namespace {}", session.key, session.target, session.namespace)
    };
    reporter.success(&sessions.iter().map(removed).collect::<Vec<_>>());
    Ok(())
}

/// The object that is still there, and why.
fn ending(left: &Remains) -> String {
    let why = left.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} is terminating{why}", left.what)
}

/// The error if a session was told to end, and could not be watched.
pub(super) fn unwatched(session: &Session) -> Problem {
    let Session { root, namespace, .. } = session;
    Problem::new(format!(
        "`{root}` in namespace `{namespace}` was told to end, but could not be watched until it was gone"
    ))
}

/// Waits until no object of a session that was told to end is left.
///
/// A suspended root never meets its deadline, so it is deleted after a while.
///
/// # Errors
///
/// `TimedOut` if an object stays longer than [`PATIENCE`] and its own grace period.
pub(super) async fn until_gone(cluster: &Cluster, ending: &Ending, tell: impl Fn(&Remains)) -> Result<()> {
    let Ending { namespace, root, session } = ending;
    let began = Instant::now();
    let kinds = features::gone();
    let mut deleted = false;
    // Grace periods of the pods may be longer.
    let mut patience = PATIENCE;
    while let Some(left) = persist(async || cluster.remains(namespace, root, session, &kinds).await).await? {
        tell(&left);
        patience = patience.max(left.grace.saturating_add(END));
        if began.elapsed() > patience {
            return Err(Problem::new(format!(
                "{} in namespace `{namespace}` was not deleted within {} s",
                left.what,
                patience.as_secs()
            ))
            .because_of(left.why.unwrap_or_else(|| "Kubernetes gives no reason".to_owned()))
            .hint("check its finalizers and grace period with `kubectl describe`")
            .exit(Exit::TimedOut)
            .into());
        }
        if began.elapsed() > END && !deleted {
            deleted = true;
            persist(async || cluster.delete(namespace, root).await).await?;
        }
        sleep(LOOK).await;
    }
    Ok(())
}
