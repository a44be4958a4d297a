//! `status --failed`: the starts that failed, and why.

use anyhow::Result;
use serde_json::{Value, json};

use super::{View, brief_since, document, lines, shortened};
use crate::output::format::ListFormat;
use crate::output::{ProgressMode, table};
use crate::preview::listed::Listed;
use crate::session::Session;

/// The failed starts.
pub(in crate::preview) fn list(listed: &[Listed], view: &View, mode: ProgressMode) -> Result<String> {
    Ok(match view.format {
        ListFormat::Table | ListFormat::Wide if mode != ProgressMode::Json => rows(listed, view),
        ListFormat::Yaml if mode != ProgressMode::Json => serde_saphyr::to_string(&items(listed))?,
        ListFormat::Name => {
            let name = |one: &Listed| format!("job.batch/{}", one.session.root);
            lines(&listed.iter().map(name).collect::<Vec<_>>(), mode)
        }
        _ => document(&items(listed), mode)?,
    })
}

fn rows(listed: &[Listed], view: &View) -> String {
    let row = |session: &Session| {
        let reason = session.failed.as_deref().unwrap_or_default();
        vec![
            session.key.to_string(),
            session.target.clone(),
            session.namespace.clone(),
            session.created.map_or_else(|| "?".to_owned(), |at| format!("{} ago", brief_since(at, view.now))),
            match view.format {
                // A row is one line.
                ListFormat::Wide => reason.lines().map(str::trim).collect::<Vec<_>>().join(" | "),
                format => shortened(reason, format),
            },
        ]
    };
    let rows: Vec<Vec<String>> = listed.iter().map(|one| row(&one.session)).collect();
    table::table(&["KEY", "TARGET", "NAMESPACE", "FAILED", "REASON"], &rows)
}

/// The document of `-o json` and `-o yaml`: the fields of an environment that
/// apply to a failed start.
fn items(listed: &[Listed]) -> Value {
    let item = |session: &Session| {
        json!({
            "key": session.key.as_str(),
            "target": session.target,
            "container": session.container,
            "namespace": session.namespace,
            "session": session.id.as_str(),
            "image": session.image,
            "state": "failed",
            "reason": session.failed,
            "failedAt": session.created.map(|time| time.to_string()),
            "expiresAt": session.expiry.map(|time| time.to_string()),
        })
    };
    json!({"kind": "PreviewList", "items": listed.iter().map(|one| item(&one.session)).collect::<Vec<_>>()})
}
