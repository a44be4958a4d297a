//! Traffic: requests to the target that come to the preview. A keeper runs in
//! the root's pod and starts agents in the target's pods.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use serde_json::{Value, json};

use super::{Condition, Failed, Feature, State, WaitLimit};
use crate::cluster::{Cluster, Leftover};
use crate::config::scalar::IncomingMode;
use crate::contract::report::Obstacle;
use crate::contract::{Assignment, Report};
use crate::preview::listed::Listed;
use crate::preview::plan::Request;
use crate::preview::progress::{Failure, Observed, PodState, PodsState, pod_state};
use crate::preview::render::{brief_since, column};
use crate::preview::rights::RightExtent::{Needed, RootAlone, Useful};
use crate::preview::rights::{Right, right};
use crate::problem::Exit;
use crate::session::Session;
use crate::traffic::{Filter, Mode};
use crate::words;

pub(super) static FEATURE: Feature = Feature {
    is_wanted: |config, inspection| match inspection {
        Some(inspection) => inspection.assignment.is_some(),
        None => config.incoming.mode != Some(IncomingMode::Off),
    },
    user: USER,
    keeper: KEEPER,
    gone: GONE,
    columns: &[column("TRAFFIC", |one, view| cell(&one.session, view.now))],
    wide_columns: &[
        column("AGENTS", |one, _| reported(one, |report| format!("{}/{}", report.agents, report.pods))),
        column("CAPTURE", |one, _| reported(one, |report| report.methods.join(","))),
        column("OLDER", |one, _| reported(one, |report| report.predating.to_string())),
    ],
    document: Some(("traffic", document)),
    condition,
    unready,
    started: |cluster, request, session| Box::pin(started(cluster, request, session)),
};

const RBAC: &str = "rbac.authorization.k8s.io";

const GONE: &[Leftover] = &[
    Leftover::new("networking.k8s.io", "NetworkPolicy", "networkpolicies", "the NetworkPolicy"),
    Leftover::new(RBAC, "RoleBinding", "rolebindings", "the keeper's RoleBinding"),
    Leftover::new(RBAC, "Role", "roles", "the keeper's Role"),
    Leftover::new("", "ServiceAccount", "serviceaccounts", "the keeper's ServiceAccount"),
];

const USER: &[Right] = &[
    right(Useful, "", "serviceaccounts", &["get"], "whether a ServiceAccount for the keeper exists"),
    right(
        Useful,
        "networking.k8s.io",
        "networkpolicies",
        &["list", "create"],
        "network policies between the target and the preview",
    ),
];

const KEEPER: &[Right] = &[
    right(Needed, "", "pods", &["list", "watch"], "to watch the pods of the target and of the preview"),
    right(Needed, "", "pods/ephemeralcontainers", &["patch"], "to start an agent in each pod of the target"),
    // A WebSocket begins as a GET; Kubernetes 1.35 asks for `create` all the same.
    right(
        Needed,
        "",
        "pods/exec",
        &["create", "get"],
        "to send the agents their rules: agents listen on no port",
    ),
    right(
        Needed,
        "",
        "pods/status",
        &["patch"],
        "to write on the preview pods whether requests reach them, as a condition",
    ),
    right(
        RootAlone,
        "batch",
        "jobs",
        &["get", "patch"],
        "to read the environment's deadline, and to report on its root",
    ),
];

/// The cell of the table: the mode, `matched/seen` requests, the last match, and
/// how often an agent stopped capturing for want of CPU.
fn cell(session: &Session, now: Timestamp) -> String {
    let Some(report) = Report::of(session) else {
        return if session.is_routed { "starting" } else { "off" }.to_owned();
    };
    let mut cell = format!("{} {}/{}", report.mode, report.counts.taken(), report.seen());
    if let Some(at) = last_match(&report) {
        cell.push_str(&format!(", {} ago", brief_since(at, now)));
    }
    match report.counts.lapses {
        0 => {}
        1 => cell.push_str(", 1 lapse"),
        lapses => cell.push_str(&format!(", {lapses} lapses")),
    }
    cell
}

/// A cell from the keeper's report; empty before the first report.
fn reported(one: &Listed, cell: fn(&Report) -> String) -> String {
    Report::of(&one.session).as_ref().map_or_else(String::new, cell)
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
        "beyondBounds": counts.beyond_bounds,
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

/// Whether requests come to a preview that starts.
fn condition(observed: &Observed, request: &Request, now: Timestamp) -> Option<Condition> {
    request.routing.as_ref()?;
    let root = request.identity.id.root_name(&request.identity.target);
    let patience = |hint| WaitLimit {
        hint,
        error: |time| format!("no request was seen to come to the preview within {time}"),
        exit: Exit::NotRouted,
        limit: request.agent.startup_timeout.map(|limit| (limit, "agent.startup_timeout")),
        // Events of the root tell why it has no pod.
        explained_by: observed.keeper().is_none().then_some(root).into_iter().collect(),
    };
    // A failed preview pod is the better reason, so its failure is waited for.
    let (state, why) = match observed.preview_pods(request.replicas) {
        PodsState::Waiting(_) | PodsState::Failed(_) => {
            (State::Unmet(patience(None)), "waiting for the preview pods".to_owned())
        }
        PodsState::Ready(_) => {
            match routed(observed.session().as_ref().and_then(Report::of), observed.keeper()) {
                Routed::Proven(report) => (State::Met { since: now, notes: report.notes }, String::new()),
                Routed::Waiting { why, hint } => (State::Unmet(patience(hint)), why),
                Routed::Not(obstacle) => {
                    let why = obstacle.why.clone();
                    (State::Failed(Failed { problem: obstacle.into_problem(), crash: None }), why)
                }
            }
        }
    };
    Some(Condition { name: "traffic", state, why })
}

/// Why requests do not come to the preview yet, or any more.
fn unready(one: &Listed) -> Option<String> {
    if !one.session.is_routed {
        return None;
    }
    match routed(Report::of(&one.session), one.keeper.as_ref()) {
        // The report holds while there is a keeper to change it.
        Routed::Proven(_) => missing_keeper(one),
        Routed::Waiting { why, .. } => Some(why),
        Routed::Not(obstacle) => Some(obstacle.why),
    }
}

/// Whether requests come to the preview.
enum Routed {
    /// They do, as the keeper reports.
    Proven(Box<Report>),
    /// They do not yet.
    Waiting { why: String, hint: Option<String> },
    /// They will not.
    Not(Obstacle),
}

/// Whether requests come to the preview, by the keeper's report, or by its pod
/// before the first report.
fn routed(report: Option<Report>, keeper: Option<&Pod>) -> Routed {
    let waiting = |why: &str| Routed::Waiting { why: why.to_owned(), hint: None };
    match report {
        Some(report) if report.ready => return Routed::Proven(Box::new(report)),
        Some(Report { obstacle: Some(obstacle), .. }) => return Routed::Not(obstacle),
        Some(Report { waiting: Some(why), hint, .. }) => return Routed::Waiting { why, hint },
        Some(Report { hint, .. }) => {
            let why = "no request was seen to come to the preview yet".to_owned();
            return Routed::Waiting { why, hint };
        }
        None => {}
    }
    match keeper.map(pod_state) {
        None => waiting("the keeper's pod is being created"),
        Some(PodState::Ready(_)) => waiting("waiting for the keeper's first report"),
        Some(PodState::Waiting(why)) => waiting(&format!("the keeper's pod: {why}")),
        Some(PodState::Failed(Failure { why, .. })) => Routed::Not(Obstacle {
            why: format!("the keeper's pod failed: {why}"),
            hint: Some(
                "its image must be one that this cluster can pull: `agent.image`, or `MIRRORD_AGENT_IMAGE`"
                    .to_owned(),
            ),
            is_forbidden: false,
        }),
    }
}

/// Why the keeper does not run. Once its rules expire, all requests go to the target.
fn missing_keeper(one: &Listed) -> Option<String> {
    let keeper = one.keeper.as_ref().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    match keeper.map(pod_state) {
        None => Some("the keeper's pod does not exist".to_owned()),
        Some(PodState::Ready(_)) => None,
        Some(PodState::Waiting(why) | PodState::Failed(Failure { why, .. })) => {
            Some(format!("the keeper's pod: {why}"))
        }
    }
}

/// The lines of `start`: which requests come to the preview, and a command that
/// sends one.
async fn started(cluster: &Cluster, request: &Request, session: &Session) -> Vec<String> {
    let Some(routing) = &request.routing else {
        return vec!["traffic: no requests are routed to the preview".to_owned()];
    };
    let ports: Vec<u16> = routing.assignment.ports.iter().map(|port| port.port).collect();
    let service = cluster.services(&request.namespace).await.before(&request.source.labels(), &ports);
    let report = Report::of(session);
    let pods = report.map_or_else(String::new, |report| format!(" ({})", pods(&report)));
    let mut lines = vec![format!("traffic: {}{pods}", routes(&routing.assignment))];
    lines.extend(service.and_then(|service| example(&routing.assignment, service)));
    lines
}

/// Which requests come to the preview, and whether they are moved or copied.
fn routes(assignment: &Assignment) -> String {
    let Assignment { mode, filter, ports, target, .. } = assignment;
    let ports: Vec<String> = ports.iter().map(|port| port.port.to_string()).collect();
    let come = match mode {
        Mode::Steal => "come here",
        Mode::Mirror => "are copied here",
    };
    format!("{filter} to port {} of {target} {come}", ports.join(", "))
}

/// A command that sends such a request through a Service, given by name and port.
fn example(assignment: &Assignment, (service, port): (String, i32)) -> Option<String> {
    let Filter::Baggage(key) = &assignment.filter else { return None };
    let port = if port == 80 { String::new() } else { format!(":{port}") };
    let header = words::shell_word(&format!("baggage: {}", key.member()));
    Some(format!("try: curl -H {header} http://{service}.{}{port}", assignment.namespace))
}

/// The target's pods in the line of `start`.
fn pods(report: &Report) -> String {
    let pods = match report.pods {
        0 => return "the target has no ready pods".to_owned(),
        pods => words::count(pods, "pod"),
    };
    let proven = if report.proven == report.pods { "proven" } else { "not all proven" };
    format!("{pods}, {proven}, capture by {}", report.methods.join(", "))
}

#[cfg(test)]
mod tests;
