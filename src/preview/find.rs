//! Finds the sessions that `stop` and `extend` act on.

use anyhow::Result;

use super::Selector;
use crate::cluster::{Cluster, Scope};
use crate::output::Reporter;
use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::words;

/// The hint after only one namespace could be searched.
pub(super) const ELSEWHERE: &str = "if it is in another namespace, pass `-n <namespace>`";
/// The hint after everything was searched.
pub(super) const LIST_ALL: &str = "list the environments with `mirrord preview status`";

/// The sessions that match `selector`, at least one.
///
/// # Errors
///
/// `NotFound` if there is none, with the existing keys as the hint.
pub(super) async fn found(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let found = cluster.sessions(scope, &selector.labels()).await?;
    if found.scope != *scope {
        reporter
            .warning(&format!("you may not list every namespace: searched{} only", found.scope.in_words()));
    }
    let sessions: Vec<Session> =
        found.sessions.into_iter().filter(|session| selector.matches(session)).collect();
    if !sessions.is_empty() {
        return Ok(sessions);
    }
    let problem = Problem::new(selector.nothing_in(&found.scope)).exit(Exit::NotFound);
    let mut keys: Vec<String> = match cluster.sessions(&found.scope, &[]).await {
        Ok(found) => {
            let matching = found.sessions.iter().filter(|session| selector.wants(session));
            matching.map(|session| session.key.to_string()).collect()
        }
        Err(_) => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    Err(if found.scope != *scope {
        problem.hint(ELSEWHERE)
    } else if keys.is_empty() {
        problem.hint(LIST_ALL)
    } else {
        problem.hint(format!("existing keys: {}", words::quoted_list(&keys)))
    }
    .into())
}
