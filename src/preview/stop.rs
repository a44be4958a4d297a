//! `stop`: bring the end forward, wait until everything is gone, say what was
//! removed. It needs neither the target nor the configuration.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{Interrupts, Selector, connected, features, find};
use crate::cluster::{Cluster, END, Remains, Scope, persist};
use crate::config::Selection;
use crate::output::Reporter;
use crate::problem::{Exit, Explain as _, Problem, Report};
use crate::session::{Session, SessionId};
use crate::words;

/// How often to look whether everything is gone.
const LOOK: Duration = Duration::from_millis(250);
/// How long pods may take to end: their grace periods are seldom longer.
const PATIENCE: Duration = Duration::from_mins(5);

/// What to do where there is nothing to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// It is an error.
    Fails,
    /// It is what was wanted.
    Passes,
}

/// Whether to wait until everything is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Patience {
    /// Until everything is gone.
    UntilGone,
    /// Until Kubernetes has been told.
    UntilTold,
}

/// A session on its way out.
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

/// Stops the environments that `selector` means.
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
        let cluster = connected(selection, reporter).await?;
        let step = reporter.step("finding preview sessions");
        let sessions = match find::found(&cluster, selector, &scope, reporter).await {
            Ok(sessions) => sessions,
            Err(error) if not_found == NotFound::Passes && Report::of(&error).exit == Exit::NotFound => {
                step.done(&error.to_string());
                return Ok(Vec::new());
            }
            Err(error) => return Err(error),
        };
        step.done(&format!("found {} to delete", words::count(sessions.len(), "session")));
        let step = reporter.step("deleting sessions");
        // All are told first, so that none outlives an interrupt.
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
            step.done("all sessions end by themselves");
        }
        Ok(sessions)
    };
    let sessions: Vec<Session> = tokio::select! {
        sessions = work => sessions.map_err(|error: anyhow::Error| error.context("could not stop the environment"))?,
        () = interrupts.next() => {
            return Err(Problem::new("interrupted while stopping").hint("what was told to end does so by itself").exit(Exit::Interrupted).into());
        }
    };
    let removed = |session: &Session| {
        format!("removed: {} on {} in namespace {}", session.key, session.target, session.namespace)
    };
    reporter.success(&sessions.iter().map(removed).collect::<Vec<_>>());
    Ok(())
}

/// What is waited for, and why that is still there.
fn ending(left: &Remains) -> String {
    let why = left.why.as_ref().map(|why| format!(": {why}")).unwrap_or_default();
    format!("{} is ending{why}", left.what)
}

/// It was told to end, and whether it has is not known.
pub(super) fn unwatched(session: &Session) -> Problem {
    let Session { root, namespace, .. } = session;
    Problem::new(format!("`{root}` in namespace `{namespace}` was told to end, but not seen to be gone"))
}

/// Waits until nothing is left of a session that was told to end.
///
/// A root whose clock does not run (somebody suspended it) never meets its
/// deadline; it is deleted.
pub(super) async fn until_gone(cluster: &Cluster, ending: &Ending, tell: impl Fn(&Remains)) -> Result<()> {
    let Ending { namespace, root, session } = ending;
    let began = Instant::now();
    let kinds = features::gone();
    let mut deleted = false;
    // What may take long by its own word is waited for.
    let mut patience = PATIENCE;
    while let Some(left) = persist(async || cluster.remains(namespace, root, session, &kinds).await).await? {
        tell(&left);
        patience = patience.max(left.grace.saturating_add(END));
        if began.elapsed() > patience {
            return Err(Problem::new(format!(
                "{} in namespace `{namespace}` has not ended within {} s",
                left.what,
                patience.as_secs()
            ))
            .because_of(left.why.unwrap_or_else(|| "Kubernetes does not say why".to_owned()))
            .hint("look at its finalizers and grace period with `kubectl describe`")
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
