//! Changing when a root ends.

use std::time::Duration;

use k8s_openapi::api::batch::v1::Job;
use kube::api::Api;
use serde_json::{Value, json};
use tokio::time::sleep;

use super::{Cluster, Result};
use crate::session::deadline_note::deadline_note;
use crate::session::{DEADLINE_NOTE, ENDING, Session};

/// How often a deadline is tried to be set on a root that others write to: the
/// Job controller and a keeper write a few times in a second at most.
const TRIES: u32 = 10;
/// The pause before the root is read again.
const PAUSE: Duration = Duration::from_millis(200);

/// A new deadline of a root.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Deadline {
    /// Seconds from the root's start; `None` for a root without an end.
    pub(crate) seconds: Option<i64>,
    /// The labels and annotations that are set with it, as a merge patch of the
    /// root's metadata.
    pub(crate) metadata: Value,
}

// === impl Cluster ===

impl Cluster {
    /// Sets the deadline that `change` makes from the root as it is, and returns
    /// the root as it is then. `None` where the root is gone, is not ours, or
    /// `change` returns `None`.
    ///
    /// A root that others have written to since it was read is read again after
    /// a pause, so that no `stop` is undone. The error after [`TRIES`] such
    /// conflicts is the last conflict.
    pub(crate) async fn change_deadline(
        &self,
        namespace: &str,
        root: &str,
        change: impl Fn(&Job, &Session) -> Option<Deadline>,
    ) -> Result<Option<Job>> {
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        let mut tries = 1;
        loop {
            let Some(read) = api.get_opt(root).await? else { return Ok(None) };
            let Some(deadline) = Session::of(&read).and_then(|session| change(&read, &session)) else {
                return Ok(None);
            };
            match self.patch_root(namespace, root, &patch(&read, deadline)).await {
                Ok(root) => return Ok(Some(root)),
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) if error.is_conflict() && tries < TRIES => {
                    tries += 1;
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Brings the root's deadline forward to now: Kubernetes ends the keeper
    /// first, then everything else, whether or not anybody watches.
    ///
    /// A root that is gone already counts as ended.
    pub async fn end(&self, namespace: &str, root: &str) -> anyhow::Result<()> {
        match self.patch_root(namespace, root, &json!({"spec": {"activeDeadlineSeconds": ENDING}})).await {
            Ok(_) => Ok(()),
            Err(error) if error.is_not_found() => Ok(()),
            Err(error) => {
                Err(error.into_problem(format!("could not end `{root}` in namespace `{namespace}`")).into())
            }
        }
    }
}

/// Refused with a conflict where the root has changed since `read`.
fn patch(read: &Job, deadline: Deadline) -> Value {
    let Deadline { seconds, metadata } = deadline;
    let mut patch = json!({"metadata": metadata, "spec": {"activeDeadlineSeconds": seconds}});
    patch["metadata"]["resourceVersion"] = json!(read.metadata.resource_version);
    patch["metadata"]["annotations"][DEADLINE_NOTE] = json!(deadline_note(read, seconds));
    patch
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};
    use crate::session::{KEY, MANAGED_BY, MIRRORD, SESSION, TARGET, TTL};

    const PATH: &str = "/apis/batch/v1/namespaces/shop/jobs/root";

    fn root(version: u32, deadline: i64) -> Value {
        json!({
            "apiVersion": "batch/v1", "kind": "Job",
            "metadata": {
                "name": "root", "namespace": "shop", "resourceVersion": version.to_string(), "generation": 1,
                "creationTimestamp": "2026-01-01T00:00:00Z", "annotations": {TARGET: "deployment/shop"},
                "labels": {MANAGED_BY: MIRRORD, SESSION: "1", KEY: "k", TTL: "60s"},
            },
            "spec": {"template": {}, "activeDeadlineSeconds": deadline},
            "status": {"startTime": "2026-01-01T00:00:00Z"},
        })
    }

    fn in_a_minute(_: &Job, session: &Session) -> Option<Deadline> {
        let metadata = json!({"labels": {TTL: "60s"}});
        (!session.ending).then_some(Deadline { seconds: Some(60), metadata })
    }

    #[tokio::test(start_paused = true)]
    async fn a_root_that_others_write_to_is_read_again_after_a_pause() {
        let api = FakeApi::new([
            Answer::of(root(1, 30)),
            Answer::refusal(409, "the object has been modified"),
            Answer::of(root(2, 30)),
            Answer::of(root(3, 60)),
        ]);
        let began = Instant::now();
        let changed = api.cluster().change_deadline("shop", "root", in_a_minute).await.unwrap().unwrap();
        assert_eq!(changed.metadata.resource_version.as_deref(), Some("3"));
        assert_eq!(began.elapsed(), PAUSE);
        let asked = api.asked();
        let ways: Vec<_> = asked.iter().map(|asked| (asked.method.as_str(), asked.path.as_str())).collect();
        assert_eq!(ways, [("GET", PATH), ("PATCH", PATH), ("GET", PATH), ("PATCH", PATH)]);
        let patch = &asked[3].body;
        assert_eq!(patch["spec"]["activeDeadlineSeconds"], 60);
        assert_eq!(patch["metadata"]["resourceVersion"], "2");
        assert_eq!(patch["metadata"]["labels"][TTL], "60s");
        assert!(patch["metadata"]["annotations"][DEADLINE_NOTE].is_string());
    }

    #[tokio::test(start_paused = true)]
    async fn conflicts_without_an_end_are_given_up() {
        let conflict = || Answer::refusal(409, "the object has been modified");
        let api = FakeApi::new((0..100).flat_map(|version| [Answer::of(root(version, 30)), conflict()]));
        let began = Instant::now();
        let refused = api.cluster().change_deadline("shop", "root", in_a_minute).await;
        assert!(refused.unwrap_err().is_conflict());
        assert_eq!(api.asked().len(), 2 * usize::try_from(TRIES).unwrap());
        assert_eq!(began.elapsed(), PAUSE * (TRIES - 1));
    }

    #[tokio::test]
    async fn a_root_that_is_told_to_end_or_gone_stays_so() {
        let gone = || Answer::refusal(404, "jobs.batch \"root\" not found");
        for (answers, asked) in [
            (vec![Answer::of(root(1, ENDING))], 1),
            (vec![gone()], 1),
            (vec![Answer::of(root(1, 30)), gone()], 2),
        ] {
            let api = FakeApi::new(answers);
            let changed = api.cluster().change_deadline("shop", "root", in_a_minute).await.unwrap();
            assert!(changed.is_none());
            assert_eq!(api.asked().len(), asked);
        }
    }

    #[tokio::test]
    async fn a_refusal_is_not_tried_again() {
        let api = FakeApi::new([Answer::of(root(1, 30)), Answer::refusal(403, "jobs.batch is forbidden")]);
        let refused = api.cluster().change_deadline("shop", "root", in_a_minute).await;
        assert!(refused.unwrap_err().is_forbidden());
    }

    #[tokio::test]
    async fn a_root_is_ended_by_the_deadline_that_a_session_reads_as_its_end() {
        let api = FakeApi::new([Answer::of(root(1, ENDING))]);
        api.cluster().end("shop", "root").await.unwrap();
        let asked = api.asked();
        assert_eq!(asked[0].body, json!({"spec": {"activeDeadlineSeconds": ENDING}}));
        let ended: Job = serde_json::from_value(root(1, ENDING)).unwrap();
        assert!(Session::of(&ended).unwrap().ending);
    }
}
