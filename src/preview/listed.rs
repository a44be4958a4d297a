//! An environment as `status` finds it: the session, its pods, and its state.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;

use super::features::FEATURES;
use super::progress::{PodState, pod_state};
use crate::session::Session;

/// A session and its pods.
pub(super) struct Listed {
    pub(super) session: Session,
    /// The preview pods.
    pub(super) pods: Vec<Pod>,
    /// The keeper's pod, if it exists.
    pub(super) keeper: Option<Pod>,
    /// Why Kubernetes creates no preview pods, if it does not.
    pub(super) refused: Option<String>,
    /// Whether the target has changed since it was copied, if that was asked for.
    pub(super) copy: Option<Copied>,
}

/// How a target compares with the copy of its template.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Copied {
    /// Its template is the same.
    Current,
    /// Its template has changed.
    Outdated,
    /// The target does not exist any more.
    Orphaned,
}

// === impl Copied ===

impl Copied {
    /// The word in tables and documents.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Outdated => "outdated",
            Self::Orphaned => "orphaned",
        }
    }
}

// === impl Listed ===

impl Listed {
    /// The state in one word, and the reason if it is not `ready`.
    pub(super) fn state(&self, now: Timestamp) -> (&'static str, Option<String>) {
        // Past its deadline, even if the Job controller has not reacted yet.
        if self.session.ending || self.session.left(now).is_some_and(|left| left.is_zero()) {
            return ("ending", None);
        }
        let mut reason = None;
        for pod in self.living_pods() {
            match pod_state(pod) {
                PodState::Ready(_) => {}
                PodState::Waiting(why) => reason = reason.or(Some(why)),
                PodState::Failed(failure) => return ("failing", Some(failure.why)),
            }
        }
        if self.ready_pods() >= self.session.replicas {
            reason = FEATURES.iter().find_map(|feature| (feature.unready)(self));
            if reason.is_none() {
                return ("ready", None);
            }
        }
        let reason = reason.or_else(|| self.refused.clone());
        let state = if self.session.ready_at.is_some() { "degraded" } else { "starting" };
        (state, reason)
    }

    /// How many preview pods are ready.
    pub(super) fn ready_pods(&self) -> usize {
        self.living_pods().filter(|pod| matches!(pod_state(pod), PodState::Ready(_))).count()
    }

    /// The preview pods that are not being deleted.
    fn living_pods(&self) -> impl Iterator<Item = &Pod> {
        self.pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none())
    }
}
