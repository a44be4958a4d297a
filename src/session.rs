//! A session: one key on one target, as its labels and annotations say it.
//!
//! Values only: this module reads and writes metadata, and never asks the cluster
//! or the clock.

pub mod deadline_note;
pub mod duration;
pub mod key;
pub mod name;
mod role;
pub mod ttl;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use k8s_openapi::api::batch::v1::Job;

pub use key::Key;
pub use name::SessionId;
pub(crate) use role::makes_preview_pods;
pub use role::{ROLE, Role};
pub use ttl::Ttl;

use crate::workload::Target;

/// The standard label for the tool that manages an object.
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
/// The annotation with the instant of readiness, from which the time to live counts.
pub const READY_AT: &str = "preview.mirrord.io/ready-at";
/// The annotation of the root with the instant at which `start` planned it, by
/// that machine's clock: it orders roots that the cluster created in one second.
pub const PLANNED_AT: &str = "preview.mirrord.io/planned-at";
/// The annotation of the root with the user who started it, as the client wrote it:
/// a user who may write Jobs may write another name.
pub const OWNER: &str = "preview.mirrord.io/owner";
/// The annotation of the root with its deadline, as JSON (see [`clock`]).
pub const DEADLINE_NOTE: &str = "preview.mirrord.io/clock";
/// The annotation of the root with the digest of the template that was copied.
pub const TEMPLATE: &str = "preview.mirrord.io/template";
/// The annotation of a failed start's root with the reason of the failure.
pub const FAILED: &str = "preview.mirrord.io/failed";
/// The annotation of a root that a later session replaces, with the identifier
/// of that session.
pub const REPLACED_BY: &str = "preview.mirrord.io/replaced-by";
/// The annotation of the root with the keeper's report of its traffic, as JSON:
/// `contract::Report` reads it.
pub const TRAFFIC: &str = "preview.mirrord.io/traffic";
/// The variable of the keeper's container with its assignment, as JSON.
pub const ASSIGNMENT: &str = "MIRRORD_KEEPER";
/// The condition of preview pods that says whether requests are routed to them.
pub const ROUTED: &str = "preview.mirrord.io/routed";
/// The readiness gate that nobody ever satisfies, so that no Service routes here.
pub const GATE: &str = "preview.mirrord.io/kept-out-of-services";

/// The deadline of a root that `stop` ends, in seconds from the Job's start. A time
/// to live is never this short: it counts from readiness.
pub const ENDING: i64 = 1;

/// The low bits of [`Session::order`], which hold the offset of `planned-at` within
/// a second of the cluster's clock.
const SUB_SECOND_MASK: u64 = (1 << 21) - 1;
/// How far a machine's clock may differ from the cluster's, in milliseconds: about
/// 17 minutes.
const MAX_CLOCK_SKEW_MS: i64 = 1 << 20;

/// The facts that identify a session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Its identifier, new for each start.
    pub id: SessionId,
    /// What the user calls the environment.
    pub key: Key,
    /// The live workload.
    pub target: Target,
    /// Its time to live.
    pub ttl: Ttl,
    /// When it was planned, by this machine's clock.
    pub planned_at: Timestamp,
    /// The user who started it, if the API server tells.
    pub owner: Option<String>,
}

/// A session as its root shows it.
#[derive(Clone, Debug)]
pub struct Session {
    /// Its identifier.
    pub id: SessionId,
    /// What the user calls the environment.
    pub key: Key,
    /// The live workload, as the version that made the session wrote it: it may
    /// be of a kind that this version does not know.
    pub target: String,
    /// Its time to live, if this version can read it.
    pub ttl: Option<Ttl>,
    /// Its namespace.
    pub namespace: String,
    /// The root's name.
    pub root: String,
    /// The root's creation; the younger of two sessions replaces the older.
    pub created: Option<Timestamp>,
    /// When the root's deadline ends it; `None` without a deadline.
    pub expiry: Option<Timestamp>,
    /// When it was planned, by the clock of the machine that planned it.
    pub planned_at: Option<Timestamp>,
    /// The user who started it.
    pub owner: Option<String>,
    /// The digest of the copied template; `None` if the target has no template that
    /// could be compared.
    pub template: Option<String>,
    /// When its pods became ready.
    pub ready_at: Option<Timestamp>,
    /// The container that was replaced.
    pub container: Option<String>,
    /// The image of the preview.
    pub image: Option<String>,
    /// How many preview pods are wanted.
    pub replicas: usize,
    /// Whether a keeper routes requests to it.
    pub is_routed: bool,
    /// The keeper's assignment, as JSON.
    pub assignment: Option<String>,
    /// The keeper's latest report of its traffic, as JSON; `None` before the first.
    pub traffic: Option<String>,
    /// Why its start failed, if this root is the record of a failed start.
    pub failed: Option<String>,
    /// Whether it is ending: deleted, failed or past its deadline.
    pub ending: bool,
    /// Whether a later session replaces it: it serves until that one is ready.
    pub is_replaced: bool,
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

    /// The annotations with the raw texts of labels that may be hashed.
    pub fn annotations(&self) -> BTreeMap<String, String> {
        [(KEY, self.key.as_str().to_owned()), (TARGET, self.target.to_string())]
            .map(|(name, value)| (name.to_owned(), value))
            .into()
    }
}

// === impl Session ===

impl Session {
    /// Reads a root; `None` for a Job that mirrord does not manage.
    ///
    /// A root of another version is read as far as this version understands it, so
    /// that it can be listed and stopped.
    pub fn of(root: &Job) -> Option<Self> {
        let metadata = &root.metadata;
        let labels = metadata.labels.as_ref()?;
        let annotations = metadata.annotations.as_ref()?;
        if labels.get(MANAGED_BY).map(String::as_str) != Some(MIRRORD) {
            return None;
        }
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
            id: SessionId::from_label(labels.get(SESSION)?),
            key: annotations.get(KEY).or(labels.get(KEY))?.parse().ok()?,
            target: annotations.get(TARGET).or(labels.get(TARGET))?.clone(),
            ttl: labels.get(TTL).and_then(|ttl| Ttl::from_label_value(ttl)),
            namespace: metadata.namespace.clone()?,
            root: metadata.name.clone()?,
            created: metadata.creation_timestamp.as_ref().map(|time| time.0),
            expiry,
            planned_at: annotations.get(PLANNED_AT).and_then(|time| time.parse().ok()),
            owner: annotations.get(OWNER).cloned(),
            template: annotations.get(TEMPLATE).cloned(),
            ready_at: annotations.get(READY_AT).and_then(|time| time.parse().ok()),
            container: annotations.get(CONTAINER).cloned(),
            image: annotations.get(IMAGE).cloned(),
            replicas: annotations.get(REPLICAS).and_then(|count| count.parse().ok()).unwrap_or(1),
            is_routed: root.spec.as_ref().and_then(|spec| spec.parallelism).is_some_and(|pods| pods > 0),
            assignment: assignment(root),
            traffic: annotations.get(TRAFFIC).cloned(),
            failed: annotations.get(FAILED).cloned(),
            is_replaced: annotations.contains_key(REPLACED_BY),
            ending: over || metadata.deletion_timestamp.is_some() || deadline == Some(ENDING),
        })
    }

    /// Whether it previews `target`, and the container that `target` names, if any.
    pub fn is_on(&self, target: &Target) -> bool {
        let container = target.container().is_none_or(|wanted| self.container.as_deref() == Some(wanted));
        self.target == target.path() && container
    }

    /// Whether `other` is an earlier session of the same key on the same target,
    /// which this one replaces.
    pub fn replaces(&self, other: &Self) -> bool {
        let identity = |session: &Self| {
            (
                session.key.clone(),
                session.namespace.clone(),
                session.target.clone(),
                session.container.clone(),
            )
        };
        let age = |session: &Self| (session.order(), session.root.clone());
        identity(self) == identity(other) && age(other) < age(self)
    }

    /// Its place among the sessions of a namespace: lower is earlier.
    ///
    /// The cluster's clock decides, which counts whole seconds. Within a second the
    /// clock of the machine that planned it decides, so that the later of two starts
    /// on one machine always comes later, as long as that clock is off by less than
    /// [`MAX_CLOCK_SKEW_MS`].
    pub fn order(&self) -> u64 {
        let created = self.created.map_or(0, Timestamp::as_second);
        let within = self.planned_at.map_or(0, |planned| {
            let after = planned.as_millisecond() - created * 1000;
            u64::try_from(after + MAX_CLOCK_SKEW_MS).unwrap_or(0).min(SUB_SECOND_MASK)
        });
        (u64::try_from(created).unwrap_or(0) << SUB_SECOND_MASK.count_ones()) | within
    }

    /// The time until its deadline at `now`; `None` without a deadline.
    pub fn left(&self, now: Timestamp) -> Option<std::time::Duration> {
        let left = self.expiry?.duration_since(now).as_secs();
        Some(std::time::Duration::from_secs(u64::try_from(left).unwrap_or(0)))
    }
}

/// The keeper's assignment, from the environment of its container.
fn assignment(root: &Job) -> Option<String> {
    let pod = root.spec.as_ref()?.template.spec.as_ref()?;
    let variables = pod.containers.iter().flat_map(|container| container.env.iter().flatten());
    variables.filter(|one| one.name == ASSIGNMENT).find_map(|one| one.value.clone())
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn session(target: &str, container: &str, created: &str, change: &Value) -> Session {
        let mut root = json!({
            "metadata": {
                "name": format!("preview-keeper-{created}"), "namespace": "a", "creationTimestamp": format!("2026-01-01T00:00:0{created}Z"),
                "labels": {MANAGED_BY: MIRRORD, SESSION: "1", KEY: "k", TTL: "60s"},
                "annotations": {TARGET: target, CONTAINER: container, PLANNED_AT: ""},
            },
            "spec": {"template": {}, "activeDeadlineSeconds": 60},
        });
        for (path, value) in change.as_object().unwrap() {
            *root.pointer_mut(path).unwrap() = value.clone();
        }
        Session::of(&serde_json::from_value(root).unwrap()).unwrap()
    }

    #[test]
    fn a_root_of_another_version_can_be_listed_and_stopped() {
        let none = json!({});
        let newer = session(
            "queue/orders",
            "web",
            "1",
            &json!({"/metadata/labels/preview.mirrord.io~1ttl": "a while"}),
        );
        assert_eq!((newer.key.as_str(), newer.target.as_str(), newer.ttl), ("k", "queue/orders", None));
        assert!(!newer.ending);
        assert!(session("deployment/shop", "web", "1", &json!({"/spec/activeDeadlineSeconds": 1})).ending);
        assert_eq!(session("deployment/shop", "web", "1", &none).ttl, Ttl::from_minutes(1).ok());
    }

    #[test]
    fn a_session_is_selected_by_target_and_by_container_if_one_is_named() {
        let session = session("deployment/shop", "web", "1", &json!({}));
        for (target, on) in [
            ("deployment/shop", true),
            ("deploy/shop/container/web", true),
            ("deployment/shop/container/log", false),
            ("deployment/cart", false),
            ("statefulset/shop", false),
        ] {
            assert_eq!(session.is_on(&target.parse().unwrap()), on, "{target}");
        }
    }

    #[test]
    fn the_later_of_two_sessions_of_a_key_on_a_target_replaces_the_earlier() {
        let none = json!({});
        let [first, second] = ["1", "2"].map(|created| session("deployment/shop", "web", created, &none));
        let planned = |name: &str, at: &str| {
            let change =
                json!({"/metadata/name": name, "/metadata/annotations/preview.mirrord.io~1planned-at": at});
            session("deployment/shop", "web", "1", &change)
        };
        for (hour, minute) in [("00", "00"), ("00", "10"), ("09", "00")] {
            // Within one second of the cluster's clock the machine's clock decides, even if it is wrong.
            let earlier = planned("z", &format!("2026-01-01T{hour}:{minute}:01.100Z"));
            let later = planned("a", &format!("2026-01-01T{hour}:{minute}:01.101Z"));
            assert_eq!(later.replaces(&earlier), hour == "00", "{hour}:{minute}");
            assert!(later.replaces(&earlier) != earlier.replaces(&later));
            assert!(second.replaces(&later) && second.order() > later.order());
        }
        assert!(second.replaces(&first) && !first.replaces(&second) && !first.replaces(&first));
        assert!(!second.replaces(&session("deployment/shop", "log", "1", &none)));
        assert!(!second.replaces(&session("deployment/cart", "web", "1", &none)));
        let elsewhere = json!({"/metadata/namespace": "b"});
        assert!(!second.replaces(&session("deployment/shop", "web", "1", &elsewhere)));
        let other_key = json!({"/metadata/labels/preview.mirrord.io~1key": "other"});
        assert!(!second.replaces(&session("deployment/shop", "web", "1", &other_key)));
    }
}
