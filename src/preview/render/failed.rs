//! `status --failed`: the starts that failed, and why.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{Listed, document, lines, shortened, since};
use crate::output::format::ListFormat;
use crate::output::{Mode, table};
use crate::session::Session;
use crate::words;

/// The failed starts.
pub(in crate::preview) fn list(
    listed: &[Listed],
    format: ListFormat,
    now: Timestamp,
    mode: Mode,
) -> Result<String> {
    Ok(match format {
        ListFormat::Table | ListFormat::Wide if mode != Mode::Json => rows(listed, format, now),
        ListFormat::Yaml if mode != Mode::Json => serde_saphyr::to_string(&items(listed))?,
        ListFormat::Name => {
            let name = |one: &Listed| format!("job.batch/{}", one.session.root);
            lines(&listed.iter().map(name).collect::<Vec<_>>(), mode)
        }
        _ => document(&items(listed), mode)?,
    })
}

fn rows(listed: &[Listed], format: ListFormat, now: Timestamp) -> String {
    let row = |session: &Session| {
        let reason = session.failed.as_deref().unwrap_or_default();
        vec![
            session.key.to_string(),
            session.target.clone(),
            session.namespace.clone(),
            session
                .created
                .map_or_else(|| "?".to_owned(), |at| format!("{} ago", words::brief(since(at, now)))),
            match format {
                // A row is one line.
                ListFormat::Wide => reason.lines().map(str::trim).collect::<Vec<_>>().join(" | "),
                _ => shortened(reason, format),
            },
        ]
    };
    let rows: Vec<Vec<String>> = listed.iter().map(|one| row(&one.session)).collect();
    table::table(&["KEY", "TARGET", "NAMESPACE", "FAILED", "REASON"], &rows)
}

/// The document of `-o json` and `-o yaml`: the names are those of an
/// environment's, as far as they mean something here.
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
