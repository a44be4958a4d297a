//! The candidates that a shell offers for a key, a namespace or a target. An error
//! gives fewer candidates and no message, because the user is typing.

use anyhow::Result;

use super::CandidateKind;
use crate::cluster::{Cluster, Scope};
use crate::config::Selection;
use crate::connection::Purpose;

/// The candidates, each once and in order.
pub async fn candidates(
    selection: &Selection,
    wanted: CandidateKind,
    is_of_sessions: bool,
) -> Result<Vec<String>> {
    let cluster = Cluster::connect(&selection.connection, Purpose::Look).await?;
    let mut candidates = match wanted {
        CandidateKind::Namespace => cluster.namespaces().await,
        CandidateKind::Target if !is_of_sessions => {
            let namespace = selection.namespace.as_ref().unwrap_or(&cluster.default_namespace);
            cluster.targets(namespace).await
        }
        CandidateKind::Key | CandidateKind::Target => {
            let scope = selection.namespace.clone().map_or(Scope::All, Scope::Namespace);
            // Failed starts are among them: they can be shown and stopped.
            let sessions = cluster.sessions(&scope, &[]).await?.sessions;
            sessions
                .into_iter()
                .map(|session| match wanted {
                    CandidateKind::Target => session.target,
                    CandidateKind::Key | CandidateKind::Namespace => session.key.to_string(),
                })
                .collect()
        }
    };
    candidates.sort();
    candidates.dedup();
    Ok(candidates)
}
