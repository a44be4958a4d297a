//! A session: one key on one target, as its labels and annotations say it.
//!
//! Values only: this room reads and writes metadata, it never asks the cluster
//! nor the time.

pub mod key;
pub mod name;
pub mod ttl;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

pub use key::Key;
pub use name::SessionId;
pub use ttl::Ttl;

use crate::target::Target;

/// Whose objects these are; the standard label, so that every tool shows it.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";
/// The value of [`MANAGED_BY`].
pub const MIRRORD: &str = "mirrord";
/// The label with the session's identifier: the selector of its pods.
pub const SESSION: &str = "preview.mirrord.io/session";
/// The label with the key, or its hash; the annotation with the raw key.
pub const KEY: &str = "preview.mirrord.io/key";
/// The label naming the target, for `kubectl get -l`; the annotation with its path.
pub const TARGET: &str = "preview.mirrord.io/target";
/// The label with the time to live.
pub const TTL: &str = "preview.mirrord.io/ttl";
/// The annotation with the container that was replaced.
pub const CONTAINER: &str = "preview.mirrord.io/container";
/// The annotation with the image that replaced it.
pub const IMAGE: &str = "preview.mirrord.io/image";
/// The annotation with the number of preview pods wanted.
pub const REPLICAS: &str = "preview.mirrord.io/replicas";
/// The annotation with the instant of readiness: the clock runs from there.
pub const READY_AT: &str = "preview.mirrord.io/ready-at";
/// The readiness gate that nobody ever satisfies, so that no Service routes here.
pub const GATE: &str = "preview.mirrord.io/kept-out-of-services";

/// What distinguishes a session from every other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identifier, new for each start.
    pub id: SessionId,
    /// What the user calls the environment.
    pub key: Key,
    /// The live workload.
    pub target: Target,
    /// How long it lives.
    pub ttl: Ttl,
}

/// A session as its root shows it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Key, target, identifier, time to live.
    pub identity: Identity,
    /// Where it lives.
    pub namespace: String,
    /// The root's name.
    pub root: String,
    /// The root's creation; the older of two sessions is the replaced one.
    pub created: Option<Timestamp>,
    /// When the root's deadline ends it; nothing while it has none.
    pub expiry: Option<Timestamp>,
    /// When its pods became ready.
    pub ready_at: Option<Timestamp>,
    /// The container that was replaced.
    pub container: Option<String>,
    /// The image of the preview.
    pub image: Option<String>,
    /// How many preview pods are wanted.
    pub replicas: usize,
    /// Whether it is on its way out: deleted, failed or past its deadline.
    pub ending: bool,
}

// === impl Identity ===

impl Identity {
    /// The labels that every object of the session carries, pods too.
    pub fn labels(&self) -> BTreeMap<String, String> {
        [
            (MANAGED_BY, MIRRORD.to_owned()),
            (SESSION, self.id.as_str().to_owned()),
            (KEY, self.key.label_value()),
            (TARGET, self.target.label_value()),
            (TTL, self.ttl.label_value()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into()
    }

    /// The annotations that give the raw words behind the labels.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        [(KEY, self.key.as_str().to_owned()), (TARGET, self.target.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

// === impl Session ===

impl Session {
    /// Reads the root; `None` for a Job that is not one of ours, or that a
    /// version of ours wrote which this one cannot read.
    pub fn of(root: &Job) -> Option<Self> {
        let metadata = &root.metadata;
        let labels = metadata.labels.as_ref()?;
        let annotations = metadata.annotations.as_ref()?;
        if labels.get(MANAGED_BY).map(String::as_str) != Some(MIRRORD) {
            return None;
        }
        let identity = Identity {
            id: SessionId::from_label(labels.get(SESSION)?),
            key: annotations.get(KEY)?.parse().ok()?,
            target: annotations.get(TARGET)?.parse().ok()?,
            ttl: Ttl::from_label_value(labels.get(TTL)?)?,
        };
        let status = root.status.clone().unwrap_or_default();
        let deadline = root.spec.as_ref().and_then(|spec| spec.active_deadline_seconds);
        let expiry = deadline.and_then(|seconds| {
            let start = status.start_time.as_ref().or(metadata.creation_timestamp.as_ref())?;
            start.0.checked_add(SignedDuration::from_secs(seconds)).ok()
        });
        let over = status.conditions.unwrap_or_default().iter().any(|condition| {
            condition.status == "True"
                && ["Failed", "FailureTarget", "Complete", "SuccessCriteriaMet"]
                    .contains(&condition.type_.as_str())
        });
        Some(Self {
            identity,
            namespace: metadata.namespace.clone()?,
            root: metadata.name.clone()?,
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            expiry,
            ready_at: annotations.get(READY_AT).and_then(|time| time.parse().ok()),
            container: annotations.get(CONTAINER).cloned(),
            image: annotations.get(IMAGE).cloned(),
            replicas: annotations.get(REPLICAS).and_then(|count| count.parse().ok()).unwrap_or(1),
            ending: over || metadata.deletion_timestamp.is_some() || deadline == Some(1),
        })
    }

    /// The target with the container that was replaced.
    pub fn target(&self) -> Target {
        let target = self.identity.target.clone();
        match &self.container {
            Some(container) => target.with_container(container),
            None => target,
        }
    }

    /// Whether `other` is an earlier session of the same key on the same target,
    /// which this one replaces.
    pub fn replaces(&self, other: &Self) -> bool {
        self.identity.key == other.identity.key
            && self.target() == other.target()
            && self.namespace == other.namespace
            && (other.created, &other.root) < (self.created, &self.root)
    }

    /// What is left of its life at `now`; `None` where it has no end.
    pub fn left(&self, now: Timestamp) -> Option<std::time::Duration> {
        let left = self.expiry?.duration_since(now).as_secs();
        Some(std::time::Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}
