//! Creates the objects of a plan, and sets the deadline of the root.

use anyhow::Result;
use jiff::Timestamp;
use k8s_openapi::api::batch::v1::Job;
use serde_json::{Value, json};

use crate::cluster::{Cluster, Deadline, persist};
use crate::preview::lifetime;
use crate::preview::plan::Plan;
use crate::problem::{Exit, Problem};
use crate::session::{READY_AT, Session, Ttl};

/// An environment whose objects exist.
pub(super) struct Created {
    pub(super) session: Session,
    /// The root's uid: a later root of the same name is another environment.
    uid: String,
}

/// Creates all that `root` owns, and lets the keeper run.
///
/// # Errors
///
/// Where the API server refuses an object, and where somebody has stopped the
/// environment meanwhile.
pub(super) async fn owned(cluster: &Cluster, plan: &Plan, root: &Job) -> Result<Created> {
    let uid = root.metadata.uid.clone().expect("the API server gives every object a uid");
    let session = Session::of(root).ok_or_else(|| {
        Problem::new("the root was changed while it was created, and cannot be read").exit(Exit::Bug)
    })?;
    for object in plan.owned_by(&uid) {
        cluster.create(object).await?;
    }
    if plan.has_keeper() {
        cluster.begin(&plan.root).await?;
    }
    let created = Created { session, uid };
    if !plan.ends_early() {
        return Ok(created);
    }
    let session = created.set_deadline(cluster, |_, _| plan.deadline(), json!({})).await?;
    Ok(Created { session, ..created })
}

// === impl Created ===

impl Created {
    /// Sets the deadline that counts from `ready_at`. Both instants are the
    /// cluster's; the local clock does not matter.
    ///
    /// # Errors
    ///
    /// Where somebody has stopped or replaced the environment, or the cluster
    /// does not answer.
    pub(super) async fn count_from(&self, cluster: &Cluster, ready_at: Timestamp) -> Result<Session> {
        let noted = json!({"annotations": {READY_AT: ready_at.to_string()}});
        // The root has the time to live: `extend` may have changed it meanwhile.
        let deadline = |root: &Job, seen: &Session| {
            lifetime::counted_from(root, seen.ttl.unwrap_or(Ttl::DEFAULT), ready_at)
        };
        self.set_deadline(cluster, deadline, noted).await
    }

    /// Sets the deadline of a root that nobody has stopped or replaced.
    async fn set_deadline(
        &self,
        cluster: &Cluster,
        deadline: impl Fn(&Job, &Session) -> Option<i64>,
        noted: Value,
    ) -> Result<Session> {
        let session = &self.session;
        let problem = || {
            Problem::new(format!(
                "could not set the deadline of `{}` in namespace `{}`",
                session.root, session.namespace
            ))
        };
        let change = |root: &Job, seen: &Session| {
            let is_ours = !seen.ending && root.metadata.uid.as_ref() == Some(&self.uid);
            is_ours.then(|| Deadline { seconds: deadline(root, seen), metadata: noted.clone() })
        };
        // Everything exists by now: a short silence of the API server must not undo it.
        let root = persist(async || {
            let changed = cluster.change_deadline(&session.namespace, &session.root, change).await;
            Ok(changed.map_err(|error| error.into_problem(problem().to_string()))?)
        });
        let root = root.await?;
        let session = root.as_ref().and_then(Session::of);
        session.ok_or_else(|| problem().because_of("somebody has stopped or replaced it").into())
    }
}
