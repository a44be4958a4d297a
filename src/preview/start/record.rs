//! Keeps the reason of a start that failed because of the preview pod, for
//! `status --failed`.
//!
//! The root is created again once all objects are gone, so that users need the
//! right to delete roots only.

use anyhow::Error;

use super::super::plan::Plan;
use crate::cluster::{Cluster, Scope};
use crate::problem::{Exit, Problem, Report};
use crate::session::{KEY, Session};

/// Keeps the reason where the preview pod failed, and returns the error with a hint
/// that says so. Failures to keep it are ignored: the command prints the reason.
pub(super) async fn keep(cluster: &Cluster, plan: &Plan, error: Error) -> Error {
    let report = Report::of(&error);
    if report.exit != Exit::PreviewFailed {
        return error;
    }
    let Ok(root) = cluster.create_root(&plan.record(&report.causes.join("\n"))).await else { return error };
    let Some(session) = Session::of(&root) else { return error };
    forget(cluster, &session).await;
    let again =
        format!("`mirrord preview status --failed -n {}` shows this again for 15 minutes", session.namespace);
    match error.downcast::<Problem>() {
        Ok(problem) => {
            let hint = report.hint.map_or_else(|| again.clone(), |hint| format!("{hint}\n{again}"));
            problem.hint(hint).into()
        }
        Err(error) => error,
    }
}

/// Removes the records of earlier failures of the same key on the same target.
async fn forget(cluster: &Cluster, session: &Session) {
    let scope = Scope::Namespace(session.namespace.clone());
    let Ok(found) = cluster.sessions(&scope, &[(KEY, session.key.label_value())]).await else { return };
    for old in found.sessions.iter().filter(|old| old.failed.is_some() && session.replaces(old)) {
        // Its deadline removes it otherwise.
        let _ = cluster.delete(&old.namespace, &old.root).await;
    }
}
