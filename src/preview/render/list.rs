//! The list of environments, for `status`.

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::{brief_since, document, lines, shortened};
use crate::output::format::ListFormat;
use crate::output::{ProgressMode, table};
use crate::preview::features::FEATURES;
use crate::preview::listed::{Copied, Listed};
use crate::preview::progress::{PodState, pod_state};
use crate::session::{Session, Ttl};
use crate::words;

/// A column of the table.
pub(in crate::preview) struct Column {
    /// The heading.
    pub(in crate::preview) heading: &'static str,
    /// What it shows of one environment.
    pub(in crate::preview) cell: fn(&Listed, &View) -> String,
}

/// How the list is shown.
pub(in crate::preview) struct View {
    /// The form.
    pub(in crate::preview) format: ListFormat,
    /// The cluster's time.
    pub(in crate::preview) now: Timestamp,
}

/// A column with its heading.
pub(in crate::preview) const fn column(heading: &'static str, cell: fn(&Listed, &View) -> String) -> Column {
    Column { heading, cell }
}

/// The columns before those of the features.
const FIRST: &[Column] = &[
    column("KEY", |one, _| one.session.key.to_string()),
    column("TARGET", |one, _| one.session.target.clone()),
    column("NAMESPACE", |one, _| one.session.namespace.clone()),
    column("STATE", |one, view| match one.state(view.now) {
        (state, Some(reason)) => format!("{state} ({})", shortened(&reason, view.format)),
        (state, None) => state.to_owned(),
    }),
    column("PODS", |one, _| format!("{}/{}", one.ready_pods(), one.session.replicas)),
];

/// The columns behind those of the features.
const LAST: &[Column] = &[
    column("LEFT", |one, view| left(&one.session, view.now)),
    column("AGE", |one, view| match one.session.created {
        Some(created) => brief_since(created, view.now),
        None => "?".to_owned(),
    }),
];

/// The columns that only the wide table has, behind those of the features.
const WIDE: &[Column] = &[
    column("CONTAINER", |one, _| one.session.container.clone().unwrap_or_default()),
    column("IMAGE", |one, _| one.session.image.clone().unwrap_or_default()),
    column("COPY", |one, _| one.copy.map_or("", Copied::word).to_owned()),
    column("OWNER", |one, _| one.session.owner.clone().unwrap_or_default()),
    column("EXPIRES", |one, _| one.session.expiry.map_or_else(|| "never".to_owned(), |end| end.to_string())),
    column("SESSION", |one, _| one.session.id.as_str().to_owned()),
];

/// The environments as text.
pub(in crate::preview) fn list(listed: &[Listed], view: &View, mode: ProgressMode) -> Result<String> {
    Ok(match view.format {
        ListFormat::Table | ListFormat::Wide if mode != ProgressMode::Json => rows(listed, view),
        ListFormat::Yaml if mode != ProgressMode::Json => serde_saphyr::to_string(&items(listed, view.now))?,
        ListFormat::Name => lines(
            &listed.iter().map(|one| format!("job.batch/{}", one.session.root)).collect::<Vec<_>>(),
            mode,
        ),
        _ => document(&items(listed, view.now), mode)?,
    })
}

fn rows(listed: &[Listed], view: &View) -> String {
    let of_features = FEATURES.iter().flat_map(|feature| feature.columns);
    let mut columns: Vec<&Column> = FIRST.iter().chain(of_features).chain(LAST).collect();
    if view.format == ListFormat::Wide {
        columns.extend(FEATURES.iter().flat_map(|feature| feature.wide_columns).chain(WIDE));
    }
    let heading: Vec<&str> = columns.iter().map(|column| column.heading).collect();
    let row = |one: &Listed| columns.iter().map(|column| (column.cell)(one, view)).collect();
    table::table(&heading, &listed.iter().map(row).collect::<Vec<Vec<String>>>())
}

/// The document of `-o json` and `-o yaml`; `docs/output.md` describes its fields.
fn items(listed: &[Listed], now: Timestamp) -> Value {
    json!({"kind": "PreviewList", "items": listed.iter().map(|one| item(one, now)).collect::<Vec<_>>()})
}

fn item(one: &Listed, now: Timestamp) -> Value {
    let session = &one.session;
    let (state, reason) = one.state(now);
    let pods: Vec<Value> = one
        .pods
        .iter()
        .map(|pod| {
            let reason = match pod_state(pod) {
                PodState::Ready(_) => None,
                PodState::Waiting(why) => Some(why),
                PodState::Failed(failure) => Some(failure.why),
            };
            json!({"name": pod.metadata.name, "ready": reason.is_none(), "reason": reason})
        })
        .collect();
    let mut item = json!({
        "key": session.key.as_str(),
        "target": session.target,
        "container": session.container,
        "namespace": session.namespace,
        "session": session.id.as_str(),
        "image": session.image,
        "copy": one.copy.map(Copied::word),
        "owner": session.owner,
        "state": state,
        "reason": reason,
        "pods": pods,
        "podsReady": one.ready_pods(),
        "podsWanted": session.replicas,
    });
    for (field, document) in FEATURES.iter().filter_map(|feature| feature.document) {
        item[field] = document(session);
    }
    item["ttlSeconds"] = match session.ttl {
        Some(Ttl::Finite(life)) => life.as_secs().into(),
        Some(Ttl::Infinite) | None => Value::Null,
    };
    for (field, time) in
        [("createdAt", session.created), ("readyAt", session.ready_at), ("expiresAt", session.expiry)]
    {
        item[field] = time.map(|time| time.to_string()).into();
    }
    item["leftSeconds"] = session.left(now).map(|left| left.as_secs()).into();
    item
}

/// The part of a list that does not change as time passes.
pub(in crate::preview) fn signature(listed: &[Listed], now: Timestamp) -> String {
    let line = |one: &Listed| {
        let (state, reason) = one.state(now);
        let Session { root, expiry, .. } = &one.session;
        let documents = FEATURES.iter().filter_map(|feature| feature.document);
        let documents: Vec<Value> = documents.map(|(_, document)| document(&one.session)).collect();
        format!("{root} {state} {reason:?} {} {expiry:?} {documents:?} {:?}\n", one.ready_pods(), one.copy)
    };
    listed.iter().map(line).collect()
}

fn left(session: &Session, now: Timestamp) -> String {
    match session.left(now) {
        Some(left) if !left.is_zero() => words::brief(left),
        Some(_) => "0s".to_owned(),
        None => "infinite".to_owned(),
    }
}
