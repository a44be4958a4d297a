//! Other keys that steal the same requests of the same target.

use anyhow::Result;

use crate::cluster::{Cluster, Scope};
use crate::config::Config;
use crate::config::incoming::ConcurrentSteal;
use crate::contract::assignment::Assignment;
use crate::output::Reporter;
use crate::preview::render;
use crate::problem::Problem;
use crate::session::Session;

/// What may be done to the other keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OtherKeys {
    /// They are stopped where the configuration says so.
    Act,
    /// They are only named.
    Report,
}

/// Refuses, ignores or stops other keys that steal the same requests, as
/// `on_concurrent_steal` says.
///
/// # Errors
///
/// Where the configuration says `abort` and there is such a key, and where the
/// cluster does not answer.
pub(crate) async fn resolve(
    cluster: &Cluster,
    assignment: &Assignment,
    config: &Config,
    extent: OtherKeys,
    reporter: &Reporter,
) -> Result<()> {
    let scope = Scope::Namespace(assignment.namespace.clone());
    let found = cluster.sessions(&scope, &[]).await?;
    for session in found.sessions.iter().filter(|session| !session.ending) {
        let theirs =
            session.assignment.as_ref().and_then(|text| serde_json::from_str::<Assignment>(text).ok());
        if !theirs.is_some_and(|theirs| assignment.conflicts_with(&theirs)) {
            continue;
        }
        let Session { key, root, namespace, .. } = session;
        let what = format!("key `{key}` steals the same requests of `{}`", assignment.target);
        match config.incoming.on_concurrent_steal {
            ConcurrentSteal::Abort => {
                return Err(Problem::new(what)
                    .because_of(format!("both steal {}", assignment.filter))
                    .hint(format!(
                        "use another filter, stop it with `{}`, or set `on_concurrent_steal`",
                        render::command("stop", key, namespace, &config.selection.typed)
                    ))
                    .into());
            }
            ConcurrentSteal::Continue => {
                reporter.warning(&format!("{what}, and keeps them while it lives, because it is older"));
            }
            ConcurrentSteal::Override if extent == OtherKeys::Report => {
                reporter.warning(&format!("{what}, and would be stopped"));
            }
            ConcurrentSteal::Override => {
                reporter.warning(&format!("{what}, and is stopped"));
                cluster.end(&assignment.namespace, root).await?;
            }
        }
    }
    Ok(())
}
