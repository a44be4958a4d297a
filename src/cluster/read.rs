//! What is there.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Event, PersistentVolumeClaim, Pod, Service};
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::{Api, DynamicObject, ListParams, LogParams};
use kube::core::{NamespaceResourceScope, Selector, SelectorExt as _};
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::{Cluster, Error, Leftover};
use crate::session::{self, MANAGED_BY, MIRRORD, SESSION, Session, SessionId};
use crate::words;
use crate::workload::{Source, Target, Workload};

/// Objects of one page of a list; the API server's own advice.
pub(super) const PAGE: u32 = 500;
/// Lines of a crashed container's log that are shown.
const LOG_LINES: i64 = 10;

/// Where to look.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// Every namespace.
    All,
}

/// What is still there of a session that ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The object.
    pub what: String,
    /// Why it is still there, where that is known.
    pub why: Option<String>,
    /// How long Kubernetes gives it to end.
    pub grace: Duration,
}

/// Sessions, and where they were looked for in the end.
#[derive(Clone, Debug)]
pub struct Found {
    /// The sessions, oldest first.
    pub sessions: Vec<Session>,
    /// Narrower than asked where the user may not list everywhere.
    pub scope: Scope,
}

// === impl Scope ===

impl Scope {
    pub(super) fn api_of<K>(&self, client: Client) -> Api<K>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
    {
        match self {
            Self::Namespace(namespace) => Api::namespaced(client, namespace),
            Self::All => Api::all(client),
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Lists the sessions in `scope` whose labels match; in one's own namespace
    /// where the whole cluster may not be listed.
    pub async fn sessions(&self, scope: &Scope, labels: &[(&str, String)]) -> Result<Found> {
        let selector = selector(labels);
        let mut scope = scope.clone();
        let mut jobs = self.list::<Job>(&scope, &selector).await;
        if scope == Scope::All && matches!(&jobs, Err(error) if error.is_forbidden()) {
            scope = Scope::Namespace(self.default_namespace.clone());
            jobs = self.list::<Job>(&scope, &selector).await;
        }
        let jobs = jobs.map_err(|error| {
            error.into_problem(format!("could not list environments{}", scope.in_words()))
        })?;
        let mut sessions: Vec<Session> = jobs.iter().filter_map(Session::of).collect();
        sessions.sort_by_key(|session| (session.order(), session.root.clone()));
        Ok(Found { sessions, scope })
    }

    /// Lists the preview pods of `scope` whose labels match, by session.
    pub async fn preview_pods(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
    ) -> Result<BTreeMap<String, Vec<Pod>>> {
        let mut pods = self.session_pods(scope, labels).await?;
        for pods in pods.values_mut() {
            pods.retain(|pod| session::Role::of(&pod.metadata) == Some(session::Role::Preview));
        }
        Ok(pods)
    }

    /// Lists the pods of `scope` whose labels match, of every role, by session.
    pub(super) async fn session_pods(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
    ) -> Result<BTreeMap<String, Vec<Pod>>> {
        let pods = self.list::<Pod>(scope, &selector(labels)).await.map_err(|error| {
            error.into_problem(format!("could not list preview pods{}", scope.in_words()))
        })?;
        let mut by_session: BTreeMap<String, Vec<Pod>> = BTreeMap::new();
        for pod in pods {
            if let Some(session) = pod.labels().get(SESSION) {
                by_session.entry(session.clone()).or_default().push(pod);
            }
        }
        Ok(by_session)
    }

    pub(super) async fn list<K>(&self, scope: &Scope, selector: &str) -> super::Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        every(&scope.api_of(self.client()), ListParams::default().labels(selector)).await
    }

    /// Which of `claims` only one node, or one pod, may mount at a time. One
    /// that cannot be read counts as such: the live disk is never at stake.
    pub async fn exclusive_claims(&self, namespace: &str, claims: Vec<String>) -> BTreeSet<String> {
        let api: Api<PersistentVolumeClaim> = Api::namespaced(self.client(), namespace);
        let mut exclusive = BTreeSet::new();
        for claim in claims {
            let modes = match api.get(&claim).await {
                Ok(found) => found.spec.and_then(|spec| spec.access_modes).unwrap_or_default(),
                Err(_) => Vec::new(),
            };
            if is_exclusive(&modes) {
                exclusive.insert(claim);
            }
        }
        exclusive
    }

    /// The Services that route to pods with `labels` even while they are not
    /// ready; none where they may not be listed.
    pub async fn unready_services(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        let Ok(services) = api.list(&ListParams::default()).await else { return Vec::new() };
        let routes = services.items.iter().filter(|service| {
            let Some(spec) = &service.spec else { return false };
            let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty());
            spec.publish_not_ready_addresses == Some(true)
                && selector.is_some_and(|selector| {
                    selector.iter().all(|(name, value)| labels.get(name) == Some(value))
                })
        });
        routes.map(kube::ResourceExt::name_any).collect()
    }

    /// Whether a Service selects pods with `labels`; assumed where they may not
    /// be listed.
    pub async fn is_served(&self, namespace: &str, labels: &BTreeMap<String, String>) -> bool {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        let Ok(services) = api.list(&ListParams::default()).await else { return true };
        services.items.iter().any(|service| {
            let selector = service.spec.as_ref().and_then(|spec| spec.selector.as_ref());
            selector.is_some_and(|selector| {
                !selector.is_empty() && selector.iter().all(|(name, value)| labels.get(name) == Some(value))
            })
        })
    }

    /// A Service through which requests come to one of `ports` of pods with
    /// `labels`, and its port; none where Services may not be listed.
    pub async fn service_before(
        &self,
        namespace: &str,
        labels: &BTreeMap<String, String>,
        ports: &[u16],
    ) -> Option<(String, i32)> {
        let api: Api<Service> = Api::namespaced(self.client(), namespace);
        let services = api.list(&ListParams::default()).await.ok()?;
        services.items.iter().find_map(|service| {
            let spec = service.spec.as_ref()?;
            let selector = spec.selector.as_ref().filter(|selector| !selector.is_empty())?;
            if !selector.iter().all(|(name, value)| labels.get(name) == Some(value)) {
                return None;
            }
            let port = spec.ports.iter().flatten().find(|port| match &port.target_port {
                Some(IntOrString::Int(number)) => ports.iter().any(|known| i32::from(*known) == *number),
                // A name stands for a port that the pod declares.
                Some(IntOrString::String(_)) => true,
                None => ports.iter().any(|known| i32::from(*known) == port.port),
            })?;
            Some((service.name_any(), port.port))
        })
    }

    /// The disruption budgets that select pods with `labels` and count in
    /// shares of all such pods; none where they may not be listed.
    pub async fn counting_budgets(&self, namespace: &str, labels: &BTreeMap<String, String>) -> Vec<String> {
        let api: Api<PodDisruptionBudget> = Api::namespaced(self.client(), namespace);
        let Ok(budgets) = api.list(&ListParams::default()).await else { return Vec::new() };
        budgets
            .items
            .iter()
            .filter(|budget| {
                let Some(spec) = &budget.spec else { return false };
                let shares = spec.max_unavailable.is_some()
                    || matches!(spec.min_available, Some(IntOrString::String(_)));
                let selects = spec
                    .selector
                    .clone()
                    .and_then(|selector| Selector::try_from(selector).ok())
                    .is_some_and(|selector| selector.matches(labels));
                shares && selects
            })
            .map(kube::ResourceExt::name_any)
            .collect()
    }

    /// The autoscalers of a target, of the workload that its template is in, or
    /// of what controls that; none where they may not be listed.
    pub async fn scalers(&self, namespace: &str, target: &Target, source: &Source) -> Vec<String> {
        let api: Api<HorizontalPodAutoscaler> = Api::namespaced(self.client(), namespace);
        let Ok(scalers) = api.list(&ListParams::default()).await else { return Vec::new() };
        if scalers.items.is_empty() {
            return Vec::new();
        }
        let typed = Workload { kind: target.kind().kind.to_owned(), name: target.name().to_owned() };
        let mut scaled: Vec<Workload> = [typed].into_iter().chain(source.lineage.iter().cloned()).collect();
        // A Deployment's pods are its ReplicaSet's.
        if let [_, set] = &source.lineage[..]
            && set.kind == "ReplicaSet"
        {
            let sets: Api<ReplicaSet> = Api::namespaced(self.client(), namespace);
            let set = sets.get_metadata(&set.name).await.ok();
            scaled.extend(set.and_then(|set| Workload::controller_of(&serde_json::json!(set))));
        }
        let meant = scalers.items.iter().filter(|scaler| {
            let of = scaler.spec.as_ref().map(|spec| &spec.scale_target_ref);
            of.is_some_and(|of| scaled.iter().any(|one| (&one.kind, &one.name) == (&of.kind, &of.name)))
        });
        meant.map(kube::ResourceExt::name_any).collect()
    }

    /// The ReplicaSet of a session's preview pods, where it can be read.
    pub async fn replica_set(&self, session: &Session) -> Option<ReplicaSet> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client(), &session.namespace);
        let parameters =
            ListParams::default().labels(&selector(&[(SESSION, session.id.as_str().to_owned())]));
        let sets = api.list(&parameters).await.ok()?.items;
        sets.into_iter().find(session::makes_preview_pods)
    }

    /// What Kubernetes last said about an object, oldest first; nothing where
    /// events may not be read.
    pub async fn events(&self, namespace: &str, name: &str) -> Vec<Event> {
        let api: Api<Event> = Api::namespaced(self.client(), namespace);
        let parameters = ListParams::default().fields(&format!("involvedObject.name={name}"));
        let mut events = api.list(&parameters).await.map(|list| list.items).unwrap_or_default();
        events.sort_by_key(|event| {
            event.last_timestamp.as_ref().map(|time| time.0).or(event
                .metadata
                .creation_timestamp
                .as_ref()
                .map(|time| time.0))
        });
        events
    }

    /// The last lines of a container that has crashed; nothing where logs may
    /// not be read or are gone.
    pub async fn last_words(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
        let api: Api<Pod> = Api::namespaced(self.client(), namespace);
        for previous in [true, false] {
            let parameters = LogParams {
                container: Some(container.to_owned()),
                tail_lines: Some(LOG_LINES),
                previous,
                ..LogParams::default()
            };
            match api.logs(pod, &parameters).await {
                Ok(log) if !log.trim().is_empty() => return Some(log.trim_end().to_owned()),
                _ => {}
            }
        }
        None
    }

    /// A root as it is; `None` once it is gone.
    pub async fn root(&self, namespace: &str, name: &str) -> Result<Option<Job>> {
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        api.get_opt(name).await.map_err(Error::from).map_err(|error| {
            error.into_problem(format!("could not look at `{name}` in namespace `{namespace}`")).into()
        })
    }

    /// The first object of a session that is still there: the root, a pod, or an
    /// object of these `kinds`. The garbage collector removes the others after
    /// the root.
    pub async fn remains(
        &self,
        namespace: &str,
        root: &str,
        session: &SessionId,
        kinds: &[Leftover],
    ) -> Result<Option<Remains>> {
        let plain = |what: String| Ok(Some(Remains { what, ..Remains::default() }));
        if self.root(namespace, root).await?.is_some() {
            return plain(format!("job `{root}`"));
        }
        let scope = Scope::Namespace(namespace.to_owned());
        let labels = [(SESSION, session.as_str().to_owned())];
        let selector = selector(&labels);
        let pods = self.list::<Pod>(&scope, &selector).await.map_err(|error| {
            error.into_problem(format!("could not list preview pods{}", scope.in_words()))
        })?;
        if let Some(pod) = pods.first() {
            return Ok(Some(Remains::of(pod)));
        }
        for kind in kinds {
            if self.any(namespace, kind, &selector).await? {
                return plain(kind.what.to_owned());
            }
        }
        Ok(None)
    }

    /// Whether there are objects of this kind. Kubernetes also removes those that
    /// the user may not list.
    async fn any(&self, namespace: &str, kind: &Leftover, selector: &str) -> Result<bool> {
        let api: Api<DynamicObject> = Api::namespaced_with(self.client(), namespace, &kind.types());
        match api.list_metadata(&ListParams::default().labels(selector).limit(1)).await.map_err(Error::from) {
            Ok(list) => Ok(!list.items.is_empty()),
            Err(error) if error.is_final() => Ok(false),
            Err(error) => Err(error
                .into_problem(format!("could not look for what is left in namespace `{namespace}`"))
                .into()),
        }
    }
}

// === impl Remains ===

impl Remains {
    /// A pod on its way out: first its containers end, then whoever has put a
    /// finalizer on it.
    fn of(pod: &Pod) -> Self {
        let finalizers = pod.finalizers();
        let seconds = pod.metadata.deletion_grace_period_seconds.unwrap_or_default();
        let grace = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
        let why = if !finalizers.is_empty() && grace.is_zero() {
            Some(format!("held by its finalizers: {}", words::quoted_list(finalizers)))
        } else if grace.is_zero() {
            None
        } else {
            Some(format!("its containers have {seconds} s to end"))
        };
        Self { what: format!("pod `{}`", pod.name_any()), why, grace }
    }
}

/// Whether a claim with these access modes may be the disk of one pod alone.
/// Clouds' disks are often claimed as `ReadWriteOnce` and `ReadOnlyMany` both.
fn is_exclusive(modes: &[String]) -> bool {
    let has = |wanted| modes.iter().any(|mode| mode == wanted);
    !has("ReadWriteMany") && (!has("ReadOnlyMany") || modes.len() > 1)
}

impl Scope {
    /// For the end of a sentence.
    pub fn in_words(&self) -> String {
        match self {
            Self::Namespace(namespace) => format!(" in namespace `{namespace}`"),
            Self::All => " in all namespaces".to_owned(),
        }
    }
}

pub(super) fn selector(labels: &[(&str, String)]) -> String {
    let mut selector = format!("{MANAGED_BY}={MIRRORD},{SESSION}");
    for (name, value) in labels {
        selector.push_str(&format!(",{name}={value}"));
    }
    selector
}

/// Every object that the parameters mean, a page at a time.
pub(super) async fn every<K>(api: &Api<K>, parameters: ListParams) -> super::Result<Vec<K>>
where
    K: Clone + DeserializeOwned + std::fmt::Debug,
{
    let (mut parameters, mut objects) = (parameters.limit(PAGE), Vec::new());
    loop {
        let page = api.list(&parameters).await?;
        objects.extend(page.items);
        match page.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => parameters = parameters.continue_token(&token),
            None => return Ok(objects),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_pod_on_its_way_out_says_what_it_waits_for() {
        for (metadata, why, seconds) in [
            (json!({"name": "x"}), None, 0),
            (
                json!({"name": "x", "deletionGracePeriodSeconds": 20}),
                Some("its containers have 20 s to end"),
                20,
            ),
            (
                json!({"name": "x", "deletionGracePeriodSeconds": 20, "finalizers": ["a.test/b"]}),
                Some("its containers have 20 s to end"),
                20,
            ),
            (
                json!({"name": "x", "deletionGracePeriodSeconds": 0, "finalizers": ["a.test/b"]}),
                Some("held by its finalizers: `a.test/b`"),
                0,
            ),
        ] {
            let pod: Pod = serde_json::from_value(json!({"metadata": metadata})).unwrap();
            let remains = Remains::of(&pod);
            assert_eq!((remains.what.as_str(), remains.why.as_deref()), ("pod `x`", why));
            assert_eq!(remains.grace, Duration::from_secs(seconds));
        }
    }

    #[test]
    fn a_disk_is_shared_only_where_all_may_write_or_nobody_may() {
        for (modes, exclusive) in [
            (&["ReadWriteOnce"][..], true),
            (&["ReadWriteOncePod"], true),
            (&["ReadWriteOnce", "ReadOnlyMany"], true),
            (&[], true),
            (&["ReadOnlyMany"], false),
            (&["ReadWriteMany"], false),
            (&["ReadWriteOnce", "ReadWriteMany"], false),
        ] {
            let modes: Vec<String> = modes.iter().map(|&mode| mode.to_owned()).collect();
            assert_eq!(is_exclusive(&modes), exclusive, "{modes:?}");
        }
    }
}
