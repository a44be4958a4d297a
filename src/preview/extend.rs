//! `extend`: changes the remaining lifetime of running environments.

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::json;

use super::{Selector, connected, find, lifetime, unless_interrupted};
use crate::cluster::{Cluster, Deadline, Scope};
use crate::config::Selection;
use crate::connection::Purpose;
use crate::output::{self, Reporter};
use crate::problem::{Exit, Problem};
use crate::session::{SESSION, Session, TTL, Ttl};
use crate::words;

/// Lets the environments that match `selector` live for `ttl` from now.
///
/// # Errors
///
/// `NotFound` if there is none; `Usage` if they are in several namespaces and
/// `--all-namespaces` was not typed. If the deadline of one cannot be set, those of the
/// others are set all the same.
pub async fn extend(
    selection: &Selection,
    selector: &Selector,
    scope: Scope,
    ttl: Ttl,
    reporter: &Reporter,
) -> Result<()> {
    let work = async {
        let cluster = connected(selection, Purpose::Change, reporter).await?;
        let step = reporter.step("finding preview sessions");
        let mut sessions = find::at_least_one(&cluster, selector, &scope, reporter).await?;
        // Sessions that are ending or being replaced are left alone.
        let goes_on = |session: &Session| !session.ending && !session.is_replaced;
        if sessions.iter().any(goes_on) {
            sessions.retain(goes_on);
        }
        find::in_one_namespace(&sessions, selection.reach)?;
        step.done(&format!("found {}", words::count(sessions.len(), "session")));
        let step = reporter.step("setting deadlines");
        let mut lines = Vec::new();
        let mut unset: Option<anyhow::Error> = None;
        for session in &sessions {
            let session = match set(&cluster, session, ttl).await {
                Ok(session) => session,
                Err(error) => {
                    if let Some(error) = unset.replace(error) {
                        reporter.warning(&format!("{error:#}"));
                    }
                    continue;
                }
            };
            lines.push(match session.expiry {
                Some(expiry) => format!(
                    "expires: {expiry} (in {ttl}): {} on {} in namespace {}",
                    session.key, session.target, session.namespace
                ),
                None => format!(
                    "expires: never: {} on {} in namespace {}",
                    session.key, session.target, session.namespace
                ),
            });
        }
        if let Some(error) = unset {
            drop(step);
            for line in &lines {
                output::note(reporter.mode(), line);
            }
            return Err(error);
        }
        step.done("deadlines are set");
        Ok::<_, anyhow::Error>(lines)
    };
    let lines = Box::pin(unless_interrupted(work))
        .await
        .map_err(|error| error.context("could not extend the environment"))?;
    reporter.success(&lines);
    Ok(())
}

async fn set(cluster: &Cluster, session: &Session, ttl: Ttl) -> Result<Session> {
    let Session { namespace, root: name, .. } = session;
    let problem =
        || Problem::new(format!("could not set the deadline of `{name}` in namespace `{namespace}`"));
    let now = cluster.clock(Timestamp::now());
    let change = |root: &Job, seen: &Session| {
        let metadata = json!({"labels": {TTL: ttl.label_value()}});
        (!seen.ending).then(|| Deadline { seconds: lifetime::counted_from(root, ttl, now), metadata })
    };
    let changed = cluster.change_deadline(namespace, name, change).await;
    let root = changed
        .map_err(|error| error.into_problem(problem().to_string()))?
        .ok_or_else(|| problem().because_of("it has ended in the meantime").exit(Exit::NotFound))?;
    let scope = Scope::Namespace(namespace.clone());
    let mut pods = cluster.preview_pods(&scope, &[(SESSION, session.id.as_str().to_owned())]).await?;
    let pods = pods.remove(session.id.as_str()).unwrap_or_default();
    cluster.relabel_pods(namespace, &pods, &ttl.label_value()).await;
    Ok(Session::of(&root).ok_or_else(problem)?)
}
