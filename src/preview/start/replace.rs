//! Ends the environments that a new one replaces.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use crate::cluster::{Cluster, Deadline, Scope, persist};
use crate::output::{Reporter, Step};
use crate::preview::lifetime;
use crate::preview::plan::Request;
use crate::session::{KEY, REPLACED_BY, Session};

/// Ends the earlier sessions of the same key on the same target, and returns those
/// that end now. With a `step` the new pods are ready, and they end at once. Without
/// one nobody waits for the new pods: the earlier sessions serve until these have
/// had the time to become ready.
pub(super) async fn earlier(
    cluster: &Cluster,
    request: &Request,
    session: &Session,
    step: Option<&Step>,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let scope = Scope::Namespace(session.namespace.clone());
    let labels = [(KEY, session.key.label_value())];
    let found = persist(async || cluster.sessions(&scope, &labels).await).await?;
    let replaced: Vec<Session> = found.sessions.into_iter().filter(|old| session.replaces(old)).collect();
    // A failure must not keep the others alive.
    let mut failure = None;
    for old in &replaced {
        let ended = match (&old.failed, step) {
            // The record of a failed start is a root only: there is nothing to wait for.
            (Some(_), _) => persist(async || cluster.delete(&old.namespace, &old.root).await).await,
            (None, None) => retire(cluster, old, session, request.patience(), reporter).await,
            (None, Some(step)) => {
                step.update(&format!("replacing `{}`", old.root));
                persist(async || cluster.end(&old.namespace, &old.root).await).await
            }
        };
        failure = failure.or(ended.err());
    }
    match failure {
        Some(error) => Err(error),
        None if step.is_some() => Ok(replaced),
        None => Ok(Vec::new()),
    }
}

/// Shortens the life of a session to `patience`, if it would live longer.
async fn retire(
    cluster: &Cluster,
    old: &Session,
    new: &Session,
    patience: Duration,
    reporter: &Reporter,
) -> Result<()> {
    let now = cluster.clock(Timestamp::now());
    let change = |root: &Job, _: &Session| {
        let metadata = json!({"annotations": {REPLACED_BY: new.id.as_str()}});
        Some(Deadline { seconds: lifetime::retiring(root, patience, now), metadata })
    };
    let changed = cluster.change_deadline(&old.namespace, &old.root, change).await;
    let problem = || format!("could not set the deadline of `{}`", old.root);
    if changed.map_err(|error| error.into_problem(problem()))?.is_none() {
        return Ok(());
    }
    reporter.warning(&format!(
        "`{}` serves until the pods that replace it are ready, and ends within {}",
        old.root,
        humantime::format_duration(patience)
    ));
    Ok(())
}
