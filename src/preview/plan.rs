//! The plan: the objects that an environment is made of. Pure.
//!
//! The pod template is edited as JSON, so that fields that our types do not know
//! are copied, too.

pub(crate) mod connections;
mod env;
mod keeper;
pub(crate) mod labels;
pub(crate) mod metadata;
mod mounts;
pub(crate) mod overrides;
pub(crate) mod policy;
mod record;
mod repeats;
pub(crate) mod rights;
pub(crate) mod scheduling;
pub(crate) mod template;
pub(crate) mod volumes;

use std::collections::BTreeSet;
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::{Value, json};

use self::connections::Connections;
use self::labels::Labels;
use self::metadata::Stamp;
use self::mounts::Sort;
use self::overrides::Override;
use self::policy::Isolation;
use super::lifetime::{CountedFrom, Lifetime};
use super::rights::Right;
use crate::config::Agent;
use crate::config::env::{Env, Keep};
use crate::config::mounts::Mount;
use crate::contract::assignment::Assignment;
use crate::session::{Identity, OWNER, PLANNED_AT, SESSION, TEMPLATE};
use crate::workload::container::Choice;
use crate::workload::{Claims, Source};

/// The inputs of a plan. It is built once, after every question was asked.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Key, target, identifier and time to live.
    pub(crate) identity: Identity,
    /// The target's namespace, which holds all objects.
    pub(crate) namespace: String,
    /// The live workload.
    pub(crate) source: Source,
    /// The container that gets the image.
    pub(crate) container: Choice,
    /// The user's image.
    pub(crate) image: String,
    /// How many preview pods.
    pub(crate) replicas: u32,
    /// How long `start` may take, image pulls apart.
    pub(crate) creation_timeout: Duration,
    /// The instant from which the time to live is counted.
    pub(crate) counted_from: CountedFrom,
    /// Who may write to the claims of the target.
    pub(crate) claims: Claims,
    /// Which of the container's variables are kept, and how they are mapped.
    pub(crate) env: Env,
    /// The variables that are set, in the order in which they are applied.
    pub(crate) overrides: Vec<Override>,
    /// Which of the target's labels the pods carry.
    pub(crate) labels: Keep,
    /// The labels that the pods would harm live pods by, and do not carry.
    pub(crate) left_off: BTreeSet<String>,
    /// Files that are kept in a ConfigMap.
    pub(crate) config_mounts: Vec<Mount>,
    /// Files that are kept in a Secret.
    pub(crate) secret_mounts: Vec<Mount>,
    /// How keeper and agents are run.
    pub(crate) agent: Agent,
    /// The network policies that isolate the environment's pods.
    pub(crate) isolation: Isolation,
    /// A port that the API server listens on.
    pub(crate) api_port: u16,
    /// The rights that the keeper needs for the environment's features.
    pub(crate) keeper_rights: Vec<Right>,
    /// How requests come to the preview; nothing without routing.
    pub(crate) routing: Option<Routing>,
}

/// How requests come to the preview.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    /// The keeper's assignment.
    pub(crate) assignment: Assignment,
    /// The account that the keeper runs as.
    pub(crate) account: Account,
}

/// The account that the keeper runs as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A ServiceAccount of its own, which the root owns.
    Own,
    /// A ServiceAccount that an admin has prepared.
    Prepared(String),
}

/// The objects of an environment. Those that the root owns are without the owner
/// here: the API server chooses the root's uid.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The root that owns everything else.
    pub(crate) root: Job,
    /// The deadline of the root until it owns all its objects.
    first_deadline: Option<i64>,
    /// The ConfigMap and the Secret that the preview pods mount.
    pub(crate) files: Vec<Value>,
    /// The keeper's ServiceAccount, Role and RoleBinding, where it has its own.
    pub(crate) rights: Vec<Value>,
    /// The network policies that let requests through, where some are needed.
    pub(crate) policies: Vec<Value>,
    /// The ReplicaSet of the preview pods.
    pub(crate) replica_set: Value,
    /// Where the preview differs from the target in a way that may matter.
    pub(crate) warnings: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// Plans the objects of `request`.
    pub(crate) fn of(request: &Request) -> Self {
        let mut warnings = Vec::new();
        let stamp = request.stamp();
        let name = request.identity.id.preview_name(&request.identity.target);
        let template = template::preview(request, &name, &mut warnings);
        let files = Sort::ALL.into_iter().filter(|sort| !sort.mounts(request).is_empty());
        let files = files.map(|sort| sort.object(request, &json!(stamp.metadata(name.clone()))));
        let connections = request.connections();
        let policies = policy::objects(&connections, &request.isolation, &request.source, &stamp);
        if !policies.is_empty() {
            warnings.extend(policy::warnings(&connections, &request.isolation));
        }
        Self {
            root: root(request),
            first_deadline: request.lifetime().at_creation(),
            files: files.collect(),
            rights: rights::objects(request),
            policies,
            replica_set: replica_set(request, name, &template),
            warnings,
        }
    }

    /// The objects that the root owns, in the order of creation: files, rights
    /// and policies have to be there before the pods that need them.
    pub(crate) fn owned(&self) -> impl Iterator<Item = &Value> {
        self.files.iter().chain(&self.rights).chain(&self.policies).chain([&self.replica_set])
    }

    /// The same, with the root as their owner.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Value> {
        let owner = self.owner(uid);
        let with_owner = |mut object: Value| {
            object["metadata"]["ownerReferences"] = json!([owner]);
            object
        };
        self.owned().cloned().map(with_owner).collect()
    }

    /// The template of the preview pods.
    pub(crate) fn pod_template(&self) -> &Value {
        &self.replica_set["spec"]["template"]
    }

    /// The template of the keeper's pod.
    pub(crate) fn keeper_template(&self) -> Value {
        serde_json::to_value(&self.root_spec().template).expect("a pod template has a JSON form")
    }

    /// Whether the root has a pod.
    pub(crate) fn has_keeper(&self) -> bool {
        self.root_spec().parallelism != Some(0)
    }

    /// The root as it is created: without a pod until the account that the pod
    /// needs exists, and with a deadline that removes it soon if the CLI dies.
    pub(crate) fn first_root(&self) -> Job {
        let mut root = self.root.clone();
        let spec = root.spec.as_mut().expect("a root is planned with a spec");
        spec.parallelism = Some(0);
        spec.active_deadline_seconds = self.first_deadline;
        root
    }

    /// Whether the root is created with another deadline than [`Plan::deadline`].
    pub(crate) fn ends_early(&self) -> bool {
        self.deadline() != self.first_deadline
    }

    /// The deadline of the root once it owns all its objects, in seconds.
    pub(crate) fn deadline(&self) -> Option<i64> {
        self.root_spec().active_deadline_seconds
    }

    /// The name of the root.
    pub(crate) fn root_name(&self) -> &str {
        self.root.metadata.name.as_deref().expect("a root is planned with a name")
    }

    fn root_spec(&self) -> &JobSpec {
        self.root.spec.as_ref().expect("a root is planned with a spec")
    }

    /// With `controller`, so that nobody else adopts the objects. Their deletion
    /// does not block the root's: that would need a right on finalizers, and the
    /// garbage collector takes them anyway.
    fn owner(&self, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: self.root_name().to_owned(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

/// The connections that the pods of an environment need; none without routing.
pub(crate) fn connections(
    assignment: Option<&Assignment>,
    preview: Labels,
    keeper: Labels,
    api_port: u16,
) -> Vec<Connections> {
    let Some(assignment) = assignment else { return Vec::new() };
    vec![template::connections(assignment, preview), keeper::connections(assignment, keeper, api_port)]
}

// === impl Request ===

impl Request {
    /// How long the start may take at most, image pulls apart.
    pub(crate) fn patience(&self) -> Duration {
        self.creation_timeout.saturating_add(self.agent.startup_timeout.unwrap_or_default())
    }

    /// The metadata of the environment's objects.
    pub(crate) fn stamp(&self) -> Stamp<'_> {
        Stamp {
            identity: &self.identity,
            namespace: &self.namespace,
            container: &self.container.name,
            image: &self.image,
            replicas: self.replicas,
        }
    }

    /// The labels of the preview pods.
    pub(crate) fn preview_labels(&self) -> Labels {
        labels::preview(&self.identity, &self.source, &self.labels, &self.left_off)
    }

    /// The labels of the keeper's pod.
    pub(crate) fn keeper_labels(&self) -> Labels {
        labels::keeper(&self.identity, &self.agent.labels)
    }

    fn connections(&self) -> Vec<Connections> {
        let assignment = self.routing.as_ref().map(|routing| &routing.assignment);
        connections(assignment, self.preview_labels(), self.keeper_labels(), self.api_port)
    }

    /// The inputs of the root's deadlines.
    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime { ttl: self.identity.ttl, start_limit: self.patience(), counted_from: self.counted_from }
    }
}

/// The Job whose deadline is the time to live. Its pod is the keeper; without
/// routing it has no pod, and is only a deadline and an owner.
fn root(request: &Request) -> Job {
    let identity = &request.identity;
    let mut metadata = request.stamp().metadata(identity.id.root_name(&identity.target));
    let annotations = metadata.annotations.get_or_insert_default();
    annotations.insert(PLANNED_AT.to_owned(), identity.planned_at.to_string());
    annotations.extend(identity.owner.clone().map(|owner| (OWNER.to_owned(), owner)));
    annotations.extend(request.source.digest().map(|digest| (TEMPLATE.to_owned(), digest)));
    Job {
        metadata,
        spec: Some(JobSpec {
            parallelism: Some(i32::from(request.routing.is_some())),
            active_deadline_seconds: request.lifetime().once_created(),
            ttl_seconds_after_finished: Some(0),
            // The keeper is started again however often it ends.
            backoff_limit: Some(i32::MAX),
            template: keeper::template(request),
            ..JobSpec::default()
        }),
        status: None,
    }
}

/// The ReplicaSet of the preview pods. Its own metadata carries our labels only,
/// else the target's Deployment would adopt it; it selects by the session only,
/// so that the pods may carry any of the target's labels.
fn replica_set(request: &Request, name: String, template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": request.stamp().metadata(name),
        "spec": {
            "replicas": request.replicas,
            "selector": {"matchLabels": {SESSION: request.identity.id.as_str()}},
            "template": template,
        },
    })
}

#[cfg(test)]
pub(super) mod tests;
