//! What comes to a preview, in a cell, a line and a document.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::since;
use crate::contract::Report;
use crate::session::Session;
use crate::words;

/// The cell of the table: `steal 12/424, 3s ago`, and `1 lapse` where there was one.
pub(super) fn cell(session: &Session, now: Timestamp) -> String {
    let Some(report) = Report::of(session) else {
        return if session.is_routed { "starting" } else { "off" }.to_owned();
    };
    let mut cell = format!("{} {}/{}", report.mode, report.counts.taken(), report.seen());
    if let Some(at) = last_match(&report) {
        cell.push_str(&format!(", {} ago", words::brief(since(at, now))));
    }
    match report.counts.lapses {
        0 => {}
        1 => cell.push_str(", 1 lapse"),
        lapses => cell.push_str(&format!(", {lapses} lapses")),
    }
    cell
}

/// The cell of the wide table: target pods with an agent, of those that get requests.
pub(super) fn agents(session: &Session) -> String {
    Report::of(session).map_or_else(String::new, |report| format!("{}/{}", report.agents, report.pods))
}

/// The cell of the wide table: connections that the capture came too late for.
pub(super) fn older(session: &Session) -> String {
    Report::of(session).map_or_else(String::new, |report| report.predating.to_string())
}

/// The target's pods, for the line of a start.
pub(super) fn pods(report: &Report) -> String {
    let pods = match report.pods {
        0 => return "it has no pods now".to_owned(),
        1 => "1 pod".to_owned(),
        pods => format!("{pods} pods"),
    };
    let proven = if report.proven == report.pods { "proven" } else { "not all proven" };
    format!("{pods}, {proven}, capture by {}", report.methods.join(", "))
}

/// The `traffic` of `-o json`.
pub(super) fn document(session: &Session) -> Value {
    let Some(report) = Report::of(session) else {
        return json!({"mode": if session.is_routed { Value::Null } else { "off".into() }});
    };
    let counts = &report.counts;
    json!({
        "mode": report.mode,
        "ready": report.ready,
        "waitingFor": report.waiting,
        "obstacle": report.obstacle.as_ref().map(|obstacle| &obstacle.why),
        "notes": report.notes,
        "podsServing": report.pods,
        "podsWithAgent": report.agents,
        "podsProven": report.proven,
        "captureMethods": report.methods,
        "seen": report.seen(),
        "matched": counts.matched,
        "passed": counts.passed,
        "mirrored": counts.mirrored,
        "dropped": counts.dropped,
        "unavailable": counts.unavailable,
        "lapses": counts.lapses,
        "lastMatchedAt": last_match(&report).map(|time| time.to_string()),
        "predatingConnections": report.predating,
    })
}

fn last_match(report: &Report) -> Option<Timestamp> {
    let milliseconds = i64::try_from(report.counts.last_matched_milliseconds?).ok()?;
    Timestamp::from_millisecond(milliseconds).ok()
}
