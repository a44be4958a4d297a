//! How things stand, written where others look: on the root for `start` and
//! `status`, as a condition of the preview pods for `kubectl describe`.
//!
//! One write at a time, so that an older word never replaces a newer one; at
//! once where the standing has changed, now and then where only more was
//! counted, and never twice the same.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{self, Cluster};
use crate::contract::Assignment;
use crate::contract::Report;
use crate::session::{ROUTED, TRAFFIC};

/// How often more counts are written on the root.
const COUNTS_EVERY: Duration = Duration::from_secs(3);
/// How often on the preview pods, where nobody watches them.
const CONDITIONS_EVERY: Duration = Duration::from_secs(30);
/// The pause after a write that failed.
const TRIES_AGAIN: Duration = Duration::from_secs(1);

/// What was written, and when.
#[derive(Debug, Default)]
pub(super) struct Scribe {
    root: Option<(Report, Instant)>,
    pods: BTreeMap<String, (Report, Instant)>,
    is_writing: bool,
    pause: Option<Instant>,
}

/// What to write.
#[derive(Clone, Debug)]
pub(super) struct Page {
    report: Report,
    root: bool,
    /// Preview pods, and whether the condition's status changes there.
    pods: Vec<(String, bool)>,
}

// === impl Scribe ===

impl Scribe {
    /// A scribe who knows what is written on the root already.
    pub(super) fn new(root: Option<Report>) -> Self {
        Self { root: root.map(|report| (report, Instant::now())), ..Self::default() }
    }

    /// What is to be written now, if anything.
    pub(super) fn page(&mut self, report: Report, previews: &[String]) -> Option<Page> {
        self.pods.retain(|name, _| previews.contains(name));
        if self.is_writing || self.pause.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let is_due = |written: Option<&(Report, Instant)>, every: Duration| match written {
            None => true,
            Some((said, _)) if *said == report => false,
            Some((said, at)) => said.standing() != report.standing() || at.elapsed() >= every,
        };
        let root = is_due(self.root.as_ref(), COUNTS_EVERY);
        let due = previews.iter().filter(|name| is_due(self.pods.get(*name), CONDITIONS_EVERY));
        let changes = |name: &String| self.pods.get(name).is_none_or(|(said, _)| said.ready != report.ready);
        let pods: Vec<_> = due.map(|name| (name.clone(), changes(name))).collect();
        if !root && pods.is_empty() {
            return None;
        }
        self.is_writing = true;
        Some(Page { report, root, pods })
    }

    /// Takes note of what was written.
    pub(super) fn wrote(&mut self, page: Page, result: &cluster::Result<()>) {
        self.is_writing = false;
        if result.is_err() {
            self.pause = Some(Instant::now() + TRIES_AGAIN);
            return;
        }
        self.pause = None;
        let now = Instant::now();
        if page.root {
            self.root = Some((page.report.clone(), now));
        }
        self.pods.extend(page.pods.into_iter().map(|(name, _)| (name, (page.report.clone(), now))));
    }
}

// === impl Page ===

impl Page {
    /// Writes it.
    pub(super) async fn write(&self, cluster: &Cluster, assignment: &Assignment) -> cluster::Result<()> {
        let namespace = &assignment.namespace;
        if self.root {
            let text = serde_json::to_string(&self.report).expect("a report has no keys but strings");
            cluster.annotate_root(namespace, &assignment.root, json!({TRAFFIC: text})).await?;
        }
        for (name, changes) in &self.pods {
            let mut condition = json!({
                "type": ROUTED,
                "status": if self.report.ready { "True" } else { "False" },
                "reason": if self.report.ready { "Routed" } else { "NotRouted" },
                "message": self.report.in_words(),
            });
            if *changes {
                condition["lastTransitionTime"] = json!(Timestamp::now().to_string());
            }
            // A pod that has gone meanwhile needs none, and without the right
            // to say it here, the root says it.
            let _ = cluster.set_condition(namespace, name, &condition).await;
        }
        Ok(())
    }
}
