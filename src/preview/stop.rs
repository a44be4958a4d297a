//! `stop`: bring the end forward, wait until everything is gone, say what was
//! removed. It needs neither the target nor the configuration.

use std::time::Duration;

use anyhow::Result;
use tokio::time::{Instant, sleep};

use super::{Interrupts, Selector, status};
use crate::cluster::{Cluster, END, Scope, explain};
use crate::config::Selection;
use crate::output::Reporter;
use crate::problem::{Exit, Problem};
use crate::session::{Session, SessionId};

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
    for warning in &selection.warnings {
        reporter.warning(warning);
    }
    let mut interrupts = Interrupts::listen()?;
    let work = async {
        let step = reporter.step("connecting to operator");
        let cluster = Cluster::connect(&selection.connection).await?;
        step.done("connected to operator");
        let step = reporter.step("finding preview sessions");
        let found = cluster.sessions(&scope, &selector.labels()).await?;
        if found.scope != scope {
            reporter.warning(&format!(
                "you may not list every namespace: looked{} alone",
                found.scope.in_words()
            ));
        }
        let sessions: Vec<Session> =
            found.sessions.into_iter().filter(|session| selector.matches(session)).collect();
        if sessions.is_empty() {
            let nothing = status::nothing(selector, &found.scope);
            if not_found == NotFound::Passes {
                step.done(&nothing);
                return Ok(Vec::new());
            }
            return Err(missing(&cluster, nothing, &found.scope).await.into());
        }
        step.done(&format!(
            "found {} session{} to delete",
            sessions.len(),
            if sessions.len() == 1 { "" } else { "s" }
        ));
        let step = reporter.step("deleting sessions");
        // All are told first, so that none outlives an interrupt.
        for session in &sessions {
            cluster.end(&session.namespace, &session.root).await?;
        }
        if patience == Patience::UntilGone {
            for session in &sessions {
                until_gone(&cluster, &Ending::of(session), |what| step.update(&format!("{what} is ending")))
                    .await?;
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

/// Names the keys that there are.
async fn missing(cluster: &Cluster, nothing: String, scope: &Scope) -> Problem {
    let problem = Problem::new(nothing).exit(Exit::NotFound);
    let mut keys: Vec<String> = match cluster.sessions(scope, &[]).await {
        Ok(found) => found.sessions.iter().map(|session| session.key.to_string()).collect(),
        Err(_) => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        return problem.hint("see what is there with `mirrord preview status`, or pass `--ignore-not-found`");
    }
    problem.hint(format!("there is {}", explain::listed(&keys)))
}

/// Waits until nothing is left of a session that was told to end.
///
/// A root whose clock does not run (somebody suspended it) never meets its
/// deadline; it is deleted.
pub(super) async fn until_gone(cluster: &Cluster, ending: &Ending, tell: impl Fn(&str)) -> Result<()> {
    let Ending { namespace, root, session } = ending;
    let began = Instant::now();
    let mut deleted = false;
    while let Some(what) = cluster.remains(namespace, root, session).await? {
        tell(&what);
        if began.elapsed() > PATIENCE {
            return Err(Problem::new(format!(
                "{what} in namespace `{namespace}` has not ended within {} s",
                PATIENCE.as_secs()
            ))
            .hint("look at its finalizers and grace period with `kubectl describe`")
            .exit(Exit::TimedOut)
            .into());
        }
        if began.elapsed() > END && !deleted {
            cluster.delete(namespace, root).await?;
            deleted = true;
        }
        sleep(LOOK).await;
    }
    Ok(())
}

/// Refuses a `stop` that names nothing: it would stop everything, or nothing.
pub fn named(selector: &Selector) -> Result<()> {
    if selector.key.is_none() && selector.glob.is_none() {
        return Err(crate::config::wrong("no environment is named")
            .hint("pass `--key <key>` or `--glob <pattern>`, or set `MIRRORD_KEY`")
            .into());
    }
    Ok(())
}
