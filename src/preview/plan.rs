//! The plan: which objects an environment is made of. Pure: what was read from
//! the cluster comes in, objects go out; nothing is created here.
//!
//! The pod template is edited as JSON: a field that our types do not know is
//! copied like every other.

mod env;
pub(crate) mod keeper;
pub(crate) mod labels;
mod mounts;
pub(crate) mod policy;
mod record;
pub(crate) mod rights;
pub(crate) mod template;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use k8s_openapi::api::batch::v1::{Job, JobSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use serde_json::{Value, json};

use self::mounts::Sort;
use self::policy::Isolation;
use super::lifetime::{CountedFrom, Lifetime};
use crate::config::Agent;
use crate::config::env::{Env, Keep};
use crate::config::mounts::Mount;
use crate::contract::assignment::Assignment;
use crate::session::{CONTAINER, IMAGE, Identity, OWNER, PLANNED_AT, REPLICAS, SESSION, TEMPLATE};
use crate::workload::Source;
use crate::workload::container::Choice;

/// What the plan is made from.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    /// Key, target, identifier and time to live.
    pub(crate) identity: Identity,
    /// Where everything goes: the target's namespace.
    pub(crate) namespace: String,
    /// The live workload.
    pub(crate) source: Source,
    /// The container that gets the image.
    pub(crate) container: Choice,
    /// The user's image.
    pub(crate) image: String,
    /// How many preview pods.
    pub(crate) replicas: u32,
    /// How long `start` may take.
    pub(crate) creation_timeout: Duration,
    /// The instant from which the time to live is counted.
    pub(crate) counted_from: CountedFrom,
    /// Claims that only one node, or one pod, may mount at a time.
    pub(crate) exclusive_claims: BTreeSet<String>,
    /// How the container's variables differ.
    pub(crate) env: Env,
    /// Which of the target's labels the pods carry.
    pub(crate) labels: Keep,
    /// Files that everybody in the namespace may read.
    pub(crate) config_mounts: Vec<Mount>,
    /// Files that are kept in a Secret.
    pub(crate) secret_mounts: Vec<Mount>,
    /// The two programs in the cluster.
    pub(crate) agent: Agent,
    /// Which network policies stand in the way of requests.
    pub(crate) isolation: Isolation,
    /// A port that the API server listens on.
    pub(crate) api_port: u16,
    /// Which requests come to it; nothing where none do.
    pub(crate) routing: Option<Routing>,
}

/// How requests come to the preview.
#[derive(Clone, Debug)]
pub(crate) struct Routing {
    /// What the keeper is told, but for the root's name.
    pub(crate) assignment: Assignment,
    /// Whose rights the keeper has.
    pub(crate) account: Account,
}

/// Whose rights the keeper has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// Its own, made with the environment and gone with it.
    Own,
    /// Those of a ServiceAccount that an admin has prepared.
    Prepared(String),
}

/// The objects of an environment, and what the user should know of them.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The root that owns everything else.
    pub(crate) root: Job,
    /// Its deadline until all that it owns is there.
    first_deadline: Option<i64>,
    /// What the root owns, in the order of creation, without the owner: the
    /// root's uid is the server's to give.
    pub(crate) owned: Vec<Value>,
    /// Where the preview differs from the target in a way that may matter.
    pub(crate) warnings: Vec<String>,
}

// === impl Plan ===

impl Plan {
    /// Plans the objects of `request`.
    pub(crate) fn of(request: &Request) -> Self {
        let mut warnings = Vec::new();
        let name = request.identity.id.preview_name(&request.identity.target);
        let template = template::preview(request, &name, &mut warnings);
        // A pod waits for the files it mounts: they come first.
        let files = Sort::ALL.into_iter().filter(|sort| !sort.mounts(request).is_empty());
        let mut owned: Vec<Value> =
            files.map(|sort| sort.object(request, &json!(metadata(request, name.clone())))).collect();
        owned.extend(rights::objects(request));
        owned.extend(policy::objects(request, name.clone(), &mut warnings));
        owned.push(replica_set(request, name, &template));
        let root = root(request);
        Self { root, first_deadline: request.lifetime().at_creation(), owned, warnings }
    }

    /// The template of the preview pods.
    pub(crate) fn pod_template(&self) -> Value {
        self.owned.last().and_then(|set| set.pointer("/spec/template")).cloned().unwrap_or_default()
    }

    /// The template of the keeper's pod.
    pub(crate) fn keeper_template(&self) -> Option<Value> {
        serde_json::to_value(&self.root.spec.as_ref()?.template).ok()
    }

    /// Whether the root is to have a pod.
    pub(crate) fn has_keeper(&self) -> bool {
        self.root.spec.as_ref().and_then(|spec| spec.parallelism) != Some(0)
    }

    /// The root as it is created: without a pod as long as the account that
    /// the pod needs is not there, and with a life that ends soon if nobody goes
    /// on, where nobody will wait for it either.
    pub(crate) fn first_root(&self) -> Job {
        let mut root = self.root.clone();
        if let Some(spec) = &mut root.spec {
            spec.parallelism = Some(0);
            spec.active_deadline_seconds = self.first_deadline;
        }
        root
    }

    /// Whether the root is created with another deadline than it is to have.
    pub(crate) fn ends_early(&self) -> bool {
        self.deadline() != self.first_deadline
    }

    /// The root's deadline once all that it owns is there.
    pub(crate) fn deadline(&self) -> Option<i64> {
        self.root.spec.as_ref().and_then(|spec| spec.active_deadline_seconds)
    }

    /// The labels of the preview pods.
    pub(crate) fn pod_labels(&self) -> BTreeMap<String, String> {
        let labels = self.owned.last().and_then(|set| set.pointer("/spec/template/metadata/labels"));
        labels.and_then(|labels| serde_json::from_value(labels.clone()).ok()).unwrap_or_default()
    }

    /// The labels of the keeper's pod.
    pub(crate) fn keeper_labels(&self) -> BTreeMap<String, String> {
        let template = self.root.spec.as_ref().and_then(|spec| spec.template.metadata.as_ref());
        template.and_then(|metadata| metadata.labels.clone()).unwrap_or_default()
    }

    /// The network policies that let requests through, where some are needed.
    pub(crate) fn policies(&self) -> Vec<&Value> {
        self.owned.iter().filter(|object| object["kind"] == "NetworkPolicy").collect()
    }

    /// What the root owns, once it has a uid.
    pub(crate) fn owned_by(&self, uid: &str) -> Vec<Value> {
        let owner = self.owner(uid);
        let mut objects = self.owned.clone();
        for object in &mut objects {
            object["metadata"]["ownerReferences"] = json!([owner]);
        }
        objects
    }

    /// `controller`, so that nobody else adopts what the root owns. Deletion
    /// is not blocked on it: that would need a right on finalizers where the
    /// cluster checks it, and the root's end takes everything all the same.
    fn owner(&self, uid: &str) -> OwnerReference {
        OwnerReference {
            api_version: "batch/v1".to_owned(),
            kind: "Job".to_owned(),
            name: self.root.metadata.name.clone().unwrap_or_default(),
            uid: uid.to_owned(),
            controller: Some(true),
            block_owner_deletion: None,
        }
    }
}

// === impl Request ===

impl Request {
    /// How long the start may take at most, image pulls apart.
    pub(crate) fn patience(&self) -> Duration {
        self.creation_timeout.saturating_add(self.agent.startup_timeout.unwrap_or_default())
    }

    /// The inputs of the root's deadlines.
    pub(crate) fn lifetime(&self) -> Lifetime {
        Lifetime { ttl: self.identity.ttl, start_limit: self.patience(), counted_from: self.counted_from }
    }
}

fn metadata(request: &Request, name: String) -> ObjectMeta {
    let mut annotations = request.identity.annotations();
    annotations.insert(CONTAINER.to_owned(), request.container.name.clone());
    annotations.insert(IMAGE.to_owned(), request.image.clone());
    annotations.insert(REPLICAS.to_owned(), request.replicas.to_string());
    ObjectMeta {
        name: Some(name),
        namespace: Some(request.namespace.clone()),
        labels: Some(request.identity.labels()),
        annotations: Some(annotations),
        ..ObjectMeta::default()
    }
}

/// The Job whose deadline is the time to live. Its pod is the keeper; with
/// nothing to route it has none and is only a clock and a root.
fn root(request: &Request) -> Job {
    let identity = &request.identity;
    let mut metadata = metadata(request, identity.id.root_name(&identity.target));
    let said = metadata.annotations.get_or_insert_default();
    said.insert(PLANNED_AT.to_owned(), identity.planned_at.to_string());
    said.extend(identity.owner.clone().map(|owner| (OWNER.to_owned(), owner)));
    said.extend(request.source.digest().map(|digest| (TEMPLATE.to_owned(), digest)));
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

/// The ReplicaSet of the preview pods. Its own metadata carries our labels
/// alone, else the target's Deployment would adopt it; its selector is the
/// session alone, so that the target's labels stay free.
fn replica_set(request: &Request, name: String, template: &Value) -> Value {
    let identity = &request.identity;
    let selector: BTreeMap<&str, &str> = [(SESSION, identity.id.as_str())].into();
    json!({
        "apiVersion": "apps/v1",
        "kind": "ReplicaSet",
        "metadata": metadata(request, name),
        "spec": {
            "replicas": request.replicas,
            "selector": {"matchLabels": selector},
            "template": template,
        },
    })
}

#[cfg(test)]
pub(super) mod tests;
