//! `status`: what is there, its pods, its state, and the time it has left.

use anyhow::Result;
use jiff::Timestamp;

use super::Selector;
use super::progress::refusal;
use super::render::{self, Listed};
use crate::cli::ListFormat;
use crate::cluster::{Cluster, Scope, explain};
use crate::config::Selection;
use crate::output::{self, Mode, Reporter};
use crate::problem::{Exit, Problem};
use crate::session::Session;

/// Shows the environments that `selector` means.
pub async fn status(
    selection: &Selection,
    selector: &Selector,
    scope: Scope,
    format: ListFormat,
    reporter: &Reporter,
) -> Result<()> {
    let found = async {
        let cluster = Cluster::connect(&selection.connection).await?;
        let labels = selector.labels();
        let found = cluster.sessions(&scope, &labels).await?;
        let mut pods = cluster.preview_pods(&found.scope, &labels).await?;
        let mut listed: Vec<Listed> = found
            .sessions
            .into_iter()
            .filter(|session| selector.matches(session))
            .map(|session| Listed {
                pods: pods.remove(session.id.as_str()).unwrap_or_default(),
                refused: None,
                session,
            })
            .collect();
        for one in listed.iter_mut().filter(|one| one.pods.is_empty() && !one.session.ending) {
            let set = cluster.replica_set(&one.session).await;
            one.refused = set.as_ref().and_then(refusal).map(|(why, _)| why);
        }
        listed.sort_by_key(order);
        Ok::<_, anyhow::Error>((listed, found.scope, cluster.clock(Timestamp::now())))
    };
    let (listed, looked, now) =
        found.await.map_err(|error| error.context("could not show the environments"))?;
    if looked != scope {
        output::note(
            reporter.mode(),
            &format!("you may not list every namespace: this is{} alone", looked.in_words()),
        );
    }
    if listed.is_empty() {
        let nothing = nothing(selector, &looked);
        if selector.key.is_some() {
            return Err(Problem::new(nothing)
                .hint("see what is there with `mirrord preview status`")
                .exit(Exit::NotFound)
                .into());
        }
        output::note(reporter.mode(), &nothing);
        if matches!(format, ListFormat::Name)
            || (reporter.mode() != Mode::Json && matches!(format, ListFormat::Table | ListFormat::Wide))
        {
            return Ok(());
        }
    }
    output::data(&render::list(&listed, format, now, reporter.mode())?)?;
    Ok(())
}

/// The sessions that are meant, at least one.
pub(super) async fn found(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let found = cluster.sessions(scope, &selector.labels()).await?;
    if found.scope != *scope {
        reporter
            .warning(&format!("you may not list every namespace: looked{} alone", found.scope.in_words()));
    }
    let sessions: Vec<Session> =
        found.sessions.into_iter().filter(|session| selector.matches(session)).collect();
    if !sessions.is_empty() {
        return Ok(sessions);
    }
    let problem = Problem::new(nothing(selector, &found.scope)).exit(Exit::NotFound);
    let mut keys: Vec<String> = match cluster.sessions(&found.scope, &[]).await {
        Ok(found) => found.sessions.iter().map(|session| session.key.to_string()).collect(),
        Err(_) => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    Err(if keys.is_empty() {
        problem.hint("see what is there with `mirrord preview status`")
    } else {
        problem.hint(format!("there is {}", explain::listed(&keys)))
    }
    .into())
}

/// So many sessions.
pub(super) fn counted(count: usize) -> String {
    format!("{count} session{}", if count == 1 { "" } else { "s" })
}

/// Grouped by key, then by where it is.
fn order(one: &Listed) -> (String, String, String, Option<Timestamp>) {
    let session = &one.session;
    (session.key.to_string(), session.namespace.clone(), session.target.clone(), session.created)
}

/// What was looked for and is not there.
pub(super) fn nothing(selector: &Selector, scope: &Scope) -> String {
    let mut what = "there is no environment".to_owned();
    if let Some(key) = &selector.key {
        what.push_str(&format!(" with key `{key}`"));
    }
    if let Some(pattern) = &selector.glob {
        what.push_str(&format!(" whose key matches `{pattern}`"));
    }
    if let Some(target) = &selector.target {
        what.push_str(&format!(" on `{target}`"));
    }
    match scope {
        Scope::Namespace(_) => what + &scope.in_words(),
        Scope::All => what + " in any namespace",
    }
}
