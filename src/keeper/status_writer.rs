//! Writes the report: on the root for `start` and `status`, and as a condition of the
//! preview pods for `kubectl describe`.
//!
//! One write at a time, so that an older report never replaces a newer one. A report
//! that differs in more than its counters is written at once, one with other counters
//! now and then, and the same report never twice.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::json;
use tokio::time::Instant;

use crate::cluster::{self, Cluster};
use crate::contract::{Assignment, Report};
use crate::session::{ROUTED, TRAFFIC};

/// The pause between two writes of counters on the root.
const COUNTS_EVERY: Duration = Duration::from_secs(3);
/// The same on the preview pods, which nobody watches.
const CONDITIONS_EVERY: Duration = Duration::from_secs(30);
/// The pause after a write that failed.
const TRIES_AGAIN: Duration = Duration::from_secs(1);

/// The reports that were written, and when.
#[derive(Debug, Default)]
pub(super) struct StatusWriter {
    root: Option<(Report, Instant)>,
    pods: BTreeMap<String, (Report, Instant)>,
    is_writing: bool,
    pause: Option<Instant>,
}

/// One write.
#[derive(Clone, Debug)]
pub(super) struct StatusUpdate {
    report: Report,
    root: bool,
    /// Preview pods, and whether the status of the condition changes there.
    pods: Vec<(String, bool)>,
}

// === impl StatusWriter ===

impl StatusWriter {
    /// Starts from the report that is on the root already.
    pub(super) fn new(root: Option<Report>) -> Self {
        Self { root: root.map(|report| (report, Instant::now())), ..Self::default() }
    }

    /// The next write, if one is due. No other is due until [`Self::written`].
    pub(super) fn next(&mut self, report: Report, previews: &[String]) -> Option<StatusUpdate> {
        self.pods.retain(|name, _| previews.contains(name));
        if self.is_writing || self.pause.is_some_and(|until| until > Instant::now()) {
            return None;
        }
        let is_due = |written: Option<&(Report, Instant)>, every: Duration| match written {
            None => true,
            Some((known, _)) if *known == report => false,
            Some((known, at)) => known.standing() != report.standing() || at.elapsed() >= every,
        };
        let root = is_due(self.root.as_ref(), COUNTS_EVERY);
        let due = previews.iter().filter(|name| is_due(self.pods.get(*name), CONDITIONS_EVERY));
        let changes =
            |name: &String| self.pods.get(name).is_none_or(|(known, _)| known.ready != report.ready);
        let pods: Vec<_> = due.map(|name| (name.clone(), changes(name))).collect();
        if !root && pods.is_empty() {
            return None;
        }
        self.is_writing = true;
        Some(StatusUpdate { report, root, pods })
    }

    /// Notes that `update` was written, or that it could not be.
    pub(super) fn written(&mut self, update: StatusUpdate, result: &cluster::Result<()>) {
        self.is_writing = false;
        if result.is_err() {
            self.pause = Some(Instant::now() + TRIES_AGAIN);
            return;
        }
        self.pause = None;
        let now = Instant::now();
        if update.root {
            self.root = Some((update.report.clone(), now));
        }
        self.pods.extend(update.pods.into_iter().map(|(name, _)| (name, (update.report.clone(), now))));
    }
}

// === impl StatusUpdate ===

impl StatusUpdate {
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
            // The pod may be gone, or the right missing: the root has the report.
            let _ = cluster.set_condition(namespace, name, &condition).await;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};
    use crate::traffic::{Counts, Mode};

    fn report(ready: bool, matched: u64) -> Report {
        Report { ready, counts: Counts { matched, ..Counts::default() }, ..Report::new(Mode::Steal) }
    }

    fn previews() -> Vec<String> {
        vec!["preview-1".to_owned()]
    }

    /// The places of the next write, and whether the condition's status changes.
    fn next(writer: &mut StatusWriter, report: Report) -> Option<(bool, Vec<bool>)> {
        let update = writer.next(report, &previews())?;
        let places = (update.root, update.pods.iter().map(|(_, changes)| *changes).collect());
        writer.written(update, &Ok(()));
        Some(places)
    }

    #[tokio::test(start_paused = true)]
    async fn counters_are_written_now_and_then_and_everything_else_at_once() {
        let mut writer = StatusWriter::new(None);
        assert_eq!(next(&mut writer, report(false, 0)), Some((true, vec![true])));
        assert_eq!(next(&mut writer, report(false, 0)), None, "the same");
        assert_eq!(next(&mut writer, report(false, 1)), None, "only the counters differ");
        assert_eq!(next(&mut writer, report(true, 1)), Some((true, vec![true])));
        tokio::time::advance(COUNTS_EVERY).await;
        assert_eq!(next(&mut writer, report(true, 2)), Some((true, vec![])));
        tokio::time::advance(CONDITIONS_EVERY).await;
        assert_eq!(next(&mut writer, report(true, 3)), Some((true, vec![false])));
    }

    #[tokio::test(start_paused = true)]
    async fn one_write_at_a_time_and_a_pause_after_one_that_failed() {
        let mut writer = StatusWriter::new(None);
        let update = writer.next(report(false, 0), &previews()).unwrap();
        assert!(writer.next(report(true, 0), &previews()).is_none(), "the first is under way");
        let failed = Err(cluster::Error::Unavailable("try again".to_owned()));
        writer.written(update, &failed);
        assert!(writer.next(report(true, 0), &previews()).is_none());
        tokio::time::advance(TRIES_AGAIN).await;
        assert_eq!(next(&mut writer, report(true, 0)), Some((true, vec![true])));
    }

    #[tokio::test(start_paused = true)]
    async fn the_report_of_the_keeper_before_is_not_written_again() {
        let mut writer = StatusWriter::new(Some(report(true, 5)));
        assert_eq!(next(&mut writer, report(true, 5)), Some((false, vec![true])));
    }

    #[tokio::test]
    async fn a_pod_whose_condition_cannot_be_set_does_not_fail_the_write() {
        let assignment: Assignment = serde_json::from_value(json!({
            "session": "1", "key": "k", "namespace": "shop", "root": "root", "target": "deployment/shop",
            "pods": {"labelled": "app=shop"}, "mode": "steal", "ports": [], "filter": {"baggage": "k"},
            "agent": {"image": "mirrord:1"},
        }))
        .unwrap();
        let api = FakeApi::new([Answer::of(json!({"metadata": {}})), Answer::refusal(403, "no")]);
        let update = StatusWriter::new(None).next(report(true, 1), &previews()).unwrap();
        update.write(&api.cluster(), &assignment).await.unwrap();
        let asked = api.asked();
        assert!(asked[0].body["metadata"]["annotations"][TRAFFIC].is_string());
        let condition = &asked[1].body["status"]["conditions"][0];
        assert_eq!((&condition["type"], &condition["status"]), (&json!(ROUTED), &json!("True")));
    }
}
