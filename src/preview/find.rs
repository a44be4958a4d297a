//! Finds the sessions that `stop` and `extend` act on.

use anyhow::Result;

use super::Selector;
use crate::cluster::{Cluster, Found, Scope};
use crate::output::Reporter;
use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::words;

/// The hint after only one namespace could be searched.
pub(super) const ELSEWHERE: &str = "if it is in another namespace, pass `-n <namespace>`";
/// The hint after everything was searched.
pub(super) const LIST_ALL: &str = "list the environments with `mirrord preview status`";

/// The sessions that match `selector`, and the scope that was searched.
pub(super) async fn matching(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<Found> {
    let mut found = cluster.sessions(scope, &selector.labels()).await?;
    if found.scope != *scope {
        reporter
            .warning(&format!("you may not list every namespace: searched{} only", found.scope.in_words()));
    }
    found.sessions.retain(|session| selector.matches(session));
    Ok(found)
}

/// The sessions that match `selector`, at least one.
///
/// # Errors
///
/// `NotFound` if there is none.
pub(super) async fn at_least_one(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let found = matching(cluster, selector, scope, reporter).await?;
    if found.sessions.is_empty() {
        return Err(nothing(cluster, selector, scope, &found.scope).await.into());
    }
    Ok(found.sessions)
}

/// The error if no session matches, with the existing keys as the hint. `searched`
/// is smaller than `scope` if the user may not list every namespace.
pub(super) async fn nothing(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    searched: &Scope,
) -> Problem {
    let problem = Problem::new(selector.nothing_in(searched)).exit(Exit::NotFound);
    if searched != scope {
        return problem.hint(ELSEWHERE);
    }
    let mut keys: Vec<String> = match cluster.sessions(searched, &[]).await {
        Ok(found) => {
            let matching = found.sessions.iter().filter(|session| selector.wants(session));
            matching.map(|session| session.key.to_string()).collect()
        }
        Err(_) => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    if keys.is_empty() {
        problem.hint(LIST_ALL)
    } else {
        problem.hint(format!("existing keys: {}", words::quoted_list(&keys)))
    }
}
