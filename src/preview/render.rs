//! What the verbs report, as text. Pure: sessions and the time come in.

pub(super) mod failed;
mod routes;
mod traffic;

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

pub(super) use self::routes::{Routes, routes};
use super::plan::Plan;
use super::progress::{Failure, PodState, pod_state};
use crate::contract::Report;
use crate::output::format::{ListFormat, ObjectFormat};
use crate::output::{Mode, table};
use crate::session::{Key, Session, Ttl};
use crate::words;

/// A session and its pods.
pub(super) struct Listed {
    pub(super) session: Session,
    /// The previews.
    pub(super) pods: Vec<Pod>,
    /// The keeper, where it is there.
    pub(super) keeper: Option<Pod>,
    /// Why Kubernetes makes none, where that is so.
    pub(super) refused: Option<String>,
    /// What has become of the target since it was copied, where somebody asks.
    pub(super) copy: Option<Copied>,
}

/// What has become of a target since it was copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// Its template is as it was.
    Current,
    /// Its template has changed.
    Outdated,
    /// It is not there any more.
    Orphaned,
}

// === impl Copied ===

impl Copied {
    /// The word in tables and documents.
    fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Outdated => "outdated",
            Self::Orphaned => "orphaned",
        }
    }
}

/// The `info` lines of a start: key, namespace and pod first and in this order,
/// because programs read them.
pub(super) fn started(
    session: &Session,
    pods: &[String],
    routes: Option<&Routes>,
    typed: &[(&str, String)],
    now: Timestamp,
) -> Vec<String> {
    let key = &session.key;
    let mut lines = vec![format!("key: {key}"), format!("namespace: {}", session.namespace)];
    if pods.is_empty() {
        lines.push(format!("pod: {}", session.root.replacen("preview-keeper", "preview-session", 1)));
    }
    lines.extend(pods.iter().map(|pod| format!("pod: {pod}")));
    lines.push(match (session.expiry, session.left(now)) {
        (Some(expiry), Some(left)) => format!("expires: {expiry} (in {})", humantime::format_duration(left)),
        _ => "expires: never".to_owned(),
    });
    match routes {
        None => lines.push("traffic: none is routed to it".to_owned()),
        Some(routes) => {
            let report = Report::of(session);
            let pods = report.map_or_else(String::new, |report| format!(" ({})", traffic::pods(&report)));
            lines.push(format!("traffic: {}{pods}", routes.what));
            lines.extend(routes.example.iter().map(|example| format!("try: {example}")));
        }
    }
    let command = |verb| command(verb, key, &session.namespace, typed);
    lines.push(format!("look: {}", command("status")));
    lines.push(format!("stop: {}", command("stop")));
    lines
}

/// A command about one environment, which finds it from any shell: `typed` is what
/// was typed to reach its cluster.
pub(super) fn command(verb: &str, key: &Key, namespace: &str, typed: &[(&str, String)]) -> String {
    let word = words::shell_word(key.as_str());
    // A key that begins with `-` would be taken for a flag.
    let parted = if key.as_str().starts_with('-') { '=' } else { ' ' };
    let mut command = format!("mirrord preview {verb} --key{parted}{word} -n {namespace}");
    for (flag, value) in typed {
        command.push_str(&format!(" {flag} {}", words::shell_word(value)));
    }
    command
}

/// The objects of a plan.
pub(super) fn objects(plan: &Plan, format: ObjectFormat, mode: Mode) -> Result<String> {
    let mut root = serde_json::to_value(&plan.root)?;
    // Of an object that is not created yet there is no status to show.
    if let Some(root) = root.as_object_mut() {
        root.remove("status");
    }
    let objects: Vec<Value> = [root].into_iter().chain(plan.owned.iter().map(redacted)).collect();
    Ok(match format {
        ObjectFormat::Name => {
            let name = |object: &Value| {
                let text = |path| object.pointer(path).and_then(Value::as_str).unwrap_or_default();
                let group = text("/apiVersion")
                    .split_once('/')
                    .map(|(group, _)| format!(".{group}"))
                    .unwrap_or_default();
                format!("{}{group}/{}", text("/kind").to_lowercase(), text("/metadata/name"))
            };
            lines(&objects.iter().map(name).collect::<Vec<_>>(), mode)
        }
        ObjectFormat::Json => document(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), mode)?,
        ObjectFormat::Yaml if mode == Mode::Json => {
            document(&json!({"apiVersion": "v1", "kind": "List", "items": objects}), mode)?
        }
        ObjectFormat::Yaml => {
            let documents = objects.iter().map(serde_saphyr::to_string).collect::<Result<Vec<_>, _>>()?;
            documents.join("---\n")
        }
    })
}

/// A Secret is shown without what it holds.
fn redacted(object: &Value) -> Value {
    let mut object = object.clone();
    if object["kind"] == "Secret"
        && let Some(data) = object.as_object_mut().and_then(|object| object.remove("data"))
    {
        let names =
            data.as_object().into_iter().flatten().map(|(name, _)| (name.clone(), Value::from("(redacted)")));
        object["stringData"] = names.collect();
    }
    object
}

/// The environments.
pub(super) fn list(listed: &[Listed], format: ListFormat, now: Timestamp, mode: Mode) -> Result<String> {
    Ok(match format {
        ListFormat::Table | ListFormat::Wide if mode != Mode::Json => rows(listed, format, now),
        ListFormat::Yaml if mode != Mode::Json => serde_saphyr::to_string(&list_document(listed, now))?,
        ListFormat::Name => lines(
            &listed.iter().map(|one| format!("job.batch/{}", one.session.root)).collect::<Vec<_>>(),
            mode,
        ),
        _ => document(&list_document(listed, now), mode)?,
    })
}

fn rows(listed: &[Listed], format: ListFormat, now: Timestamp) -> String {
    let mut heading = vec!["KEY", "TARGET", "NAMESPACE", "STATE", "PODS", "TRAFFIC", "LEFT", "AGE"];
    if format == ListFormat::Wide {
        heading.extend([
            "AGENTS",
            "CAPTURE",
            "OLDER",
            "CONTAINER",
            "IMAGE",
            "COPY",
            "OWNER",
            "EXPIRES",
            "SESSION",
        ]);
    }
    let rows: Vec<Vec<String>> = listed
        .iter()
        .map(|one| {
            let session = &one.session;
            let (state, reason) = state(one, now);
            let mut row = vec![
                session.key.to_string(),
                session.target.clone(),
                session.namespace.clone(),
                reason.map_or_else(
                    || state.to_owned(),
                    |reason| format!("{state} ({})", shortened(&reason, format)),
                ),
                format!("{}/{}", ready_pods(one), session.replicas),
                traffic::cell(session, now),
                left(session, now),
                session.created.map_or_else(|| "?".to_owned(), |created| words::brief(since(created, now))),
            ];
            if format == ListFormat::Wide {
                row.extend([
                    traffic::agents(session),
                    Report::of(session).map(|report| report.methods.join(",")).unwrap_or_default(),
                    traffic::older(session),
                    session.container.clone().unwrap_or_default(),
                    session.image.clone().unwrap_or_default(),
                    one.copy.map_or("", Copied::word).to_owned(),
                    session.owner.clone().unwrap_or_default(),
                    session.expiry.map_or_else(|| "never".to_owned(), |expiry| expiry.to_string()),
                    session.id.as_str().to_owned(),
                ]);
            }
            row
        })
        .collect();
    table::table(&heading, &rows)
}

/// The document of `-o json` and `-o yaml`; its fields are described in `docs/output.md`.
fn list_document(listed: &[Listed], now: Timestamp) -> Value {
    let items: Vec<Value> = listed
        .iter()
        .map(|one| {
            let session = &one.session;
            let (state, reason) = state(one, now);
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
            json!({
                "key": session.key.as_str(),
                "target": session.target.clone(),
                "container": session.container,
                "namespace": session.namespace,
                "session": session.id.as_str(),
                "image": session.image,
                "copy": one.copy.map(Copied::word),
                "owner": session.owner,
                "state": state,
                "reason": reason,
                "pods": pods,
                "podsReady": ready_pods(one),
                "podsWanted": session.replicas,
                "traffic": traffic::document(session),
                "ttlSeconds": match session.ttl {
                    Some(Ttl::Finite(life)) => Some(life.as_secs()),
                    Some(Ttl::Infinite) | None => None,
                },
                "createdAt": session.created.map(|time| time.to_string()),
                "readyAt": session.ready_at.map(|time| time.to_string()),
                "expiresAt": session.expiry.map(|time| time.to_string()),
                "leftSeconds": session.left(now).map(|left| left.as_secs()),
            })
        })
        .collect();
    json!({"kind": "PreviewList", "items": items})
}

/// All that a list says but its times: what has changed when this has.
pub(super) fn signature(listed: &[Listed], now: Timestamp) -> String {
    let said = listed.iter().map(|one| {
        let (state, reason) = state(one, now);
        let Session { root, expiry, .. } = &one.session;
        let report = Report::of(&one.session);
        format!("{root} {state} {reason:?} {} {expiry:?} {report:?} {:?}\n", ready_pods(one), one.copy)
    });
    said.collect()
}

/// The state in one word, and why it is not `ready`.
fn state(one: &Listed, now: Timestamp) -> (&'static str, Option<String>) {
    // Past its deadline, whether or not Kubernetes has written that down.
    if one.session.ending || one.session.left(now).is_some_and(|left| left.is_zero()) {
        return ("ending", None);
    }
    let mut reason = None;
    for pod in one.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()) {
        match pod_state(pod) {
            PodState::Ready(_) => {}
            PodState::Waiting(why) => reason = reason.or(Some(why)),
            PodState::Failed(failure) => return ("failing", Some(failure.why)),
        }
    }
    if ready_pods(one) >= one.session.replicas {
        match Report::of(&one.session) {
            Some(report) if !report.ready => {
                reason = report.obstacle.map(|obstacle| obstacle.why).or(report.waiting);
            }
            None if one.session.is_routed => reason = Some("the keeper has not spoken yet".to_owned()),
            // What it has said holds as long as it is there to say otherwise.
            _ => match missing_keeper(one) {
                Some(why) => reason = Some(why),
                None => return ("ready", None),
            },
        }
    }
    let reason = reason.or_else(|| one.refused.clone());
    let state = if one.session.ready_at.is_some() { "degraded" } else { "starting" };
    (state, reason)
}

/// Why nobody keeps an environment that routes requests: once its rules run
/// out, the key's requests are the application's.
fn missing_keeper(one: &Listed) -> Option<String> {
    if !one.session.is_routed {
        return None;
    }
    let keeper = one.keeper.as_ref().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    match keeper.map(pod_state) {
        None => Some("the keeper's pod is not there".to_owned()),
        Some(PodState::Ready(_)) => None,
        Some(PodState::Waiting(why) | PodState::Failed(Failure { why, .. })) => {
            Some(format!("the keeper's pod: {why}"))
        }
    }
}

fn ready_pods(one: &Listed) -> usize {
    one.pods
        .iter()
        .filter(|pod| {
            pod.metadata.deletion_timestamp.is_none() && matches!(pod_state(pod), PodState::Ready(_))
        })
        .count()
}

fn left(session: &Session, now: Timestamp) -> String {
    match session.left(now) {
        Some(left) if !left.is_zero() => words::brief(left),
        Some(_) => "0s".to_owned(),
        None => "infinite".to_owned(),
    }
}

pub(super) fn since(then: Timestamp, now: Timestamp) -> Duration {
    Duration::from_secs(u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0))
}

/// A reason within a table; `-o wide` and `-o json` show all of it.
fn shortened(reason: &str, format: ListFormat) -> String {
    const MOST: usize = 60;
    let line = reason.lines().next().unwrap_or_default();
    if format == ListFormat::Wide || line.chars().count() <= MOST {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(MOST - 1).collect();
    cut.push('…');
    cut
}

/// One line of text each, or one JSON object each where nothing else may be printed.
fn lines(names: &[String], mode: Mode) -> String {
    names
        .iter()
        .map(
            |name| {
                if mode == Mode::Json { format!("{}\n", json!({"name": name})) } else { format!("{name}\n") }
            },
        )
        .collect()
}

/// Indented for people, on one line where every line must be an object.
fn document(value: &Value, mode: Mode) -> Result<String> {
    Ok(if mode == Mode::Json { serde_json::to_string(value)? } else { serde_json::to_string_pretty(value)? })
}

#[cfg(test)]
mod tests;
