//! Finds the sessions that `stop` and `extend` act on.

use std::collections::BTreeSet;

use anyhow::Result;

use super::Selector;
use crate::cluster::{Cluster, Scope, SessionList};
use crate::config::Reach;
use crate::output::Reporter;
use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::words;

/// The hint after only one namespace could be searched.
pub(super) const ELSEWHERE: &str = "if it is in another namespace, pass `-n <namespace>`";
/// The hint after everything was searched.
pub(super) const LIST_ALL: &str = "list the environments with `mirrord preview status`";
/// How many sessions an error lists.
const LISTED: usize = 20;

/// Refuses sessions in several namespaces, unless the user asked for all of them: a
/// key such as `pr-12` is likely to be in use in several teams' namespaces.
///
/// # Errors
///
/// `Usage` if more than one namespace holds a session and `reach` is not
/// [`Reach::Everywhere`].
pub(super) fn in_one_namespace(sessions: &[Session], reach: Reach) -> Result<()> {
    let namespaces: BTreeSet<&str> = sessions.iter().map(|session| session.namespace.as_str()).collect();
    if namespaces.len() < 2 || reach == Reach::Everywhere {
        return Ok(());
    }
    let mut found: Vec<String> = sessions
        .iter()
        .map(|session| format!("{} on {} in namespace {}", session.key, session.target, session.namespace))
        .collect();
    found.sort();
    let further = found.len().saturating_sub(LISTED);
    found.truncate(LISTED);
    if further > 0 {
        found.push(format!("and {further} more"));
    }
    Err(Problem::new(format!("there are environments in {} namespaces", namespaces.len()))
        .because_of(found.join("\n"))
        .hint("pass `-n <namespace>` for those of one namespace, or `-A` for all of them")
        .exit(Exit::Usage)
        .into())
}

/// The sessions that match `selector`, and the scope that was searched.
pub(super) async fn matching(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<SessionList> {
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::problem::ErrorReport;
    use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET};

    fn sessions(namespaces: &[&str]) -> Vec<Session> {
        let root = |namespace: &&str| {
            let labels = json!({MANAGED_BY: MIRRORD, SESSION: "1", KEY: "pr-1"});
            let annotations = json!({TARGET: "deployment/shop"});
            json!({"metadata": {"name": "root", "namespace": namespace, "labels": labels, "annotations": annotations}})
        };
        let roots = namespaces.iter().map(root);
        roots.map(|root| Session::of(&serde_json::from_value(root).unwrap()).unwrap()).collect()
    }

    #[test]
    fn sessions_in_several_namespaces_are_refused_unless_all_are_asked_for() {
        let one = sessions(&["a", "a"]);
        let two = sessions(&["b", "a", "b"]);
        assert!(in_one_namespace(&[], Reach::Named).is_ok());
        assert!(in_one_namespace(&one, Reach::Named).is_ok());
        assert!(in_one_namespace(&two, Reach::Everywhere).is_ok());
        let report = ErrorReport::of(&in_one_namespace(&two, Reach::Named).unwrap_err());
        assert_eq!(
            (report.exit, report.what.as_str()),
            (Exit::Usage, "there are environments in 2 namespaces")
        );
        assert_eq!(report.causes[0].lines().count(), 3);
        let many = sessions(&["a", "b"].repeat(LISTED));
        let report = ErrorReport::of(&in_one_namespace(&many, Reach::Named).unwrap_err());
        assert_eq!(report.causes[0].lines().last(), Some("and 20 more"));
    }
}
