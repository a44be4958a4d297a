//! The candidates that a shell offers for a key, a namespace or a target. An error
//! gives fewer candidates and no message, because the user is typing.

use anyhow::Result;

use super::Wanted;
use crate::cluster::{Cluster, Scope};
use crate::config::Selection;
use crate::connection::Purpose;

/// The candidates, each once and in order.
pub async fn candidates(selection: &Selection, wanted: Wanted, is_of_sessions: bool) -> Result<Vec<String>> {
    let cluster = Cluster::connect(&selection.connection, Purpose::Look).await?;
    let mut candidates = match wanted {
        Wanted::Namespace => cluster.namespaces().await,
        Wanted::Target if !is_of_sessions => {
            let namespace = selection.namespace.as_ref().unwrap_or(&cluster.default_namespace);
            cluster.targets(namespace).await
        }
        Wanted::Key | Wanted::Target => {
            let scope = selection.namespace.clone().map_or(Scope::All, Scope::Namespace);
            // Failed starts are among them: they can be shown and stopped.
            let sessions = cluster.sessions(&scope, &[]).await?.sessions;
            sessions
                .into_iter()
                .map(|session| match wanted {
                    Wanted::Target => session.target,
                    Wanted::Key | Wanted::Namespace => session.key.to_string(),
                })
                .collect()
        }
    };
    candidates.sort();
    candidates.dedup();
    Ok(candidates)
}
