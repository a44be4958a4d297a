//! Sessions and their pods: lists, a page at a time.

use std::collections::BTreeMap;

use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams};
use kube::core::NamespaceResourceScope;
use kube::{Client, Resource, ResourceExt as _};
use serde::de::DeserializeOwned;

use super::{Cluster, Error, Result};
use crate::session::{self, MANAGED_BY, MIRRORD, Role, SESSION, Session};

/// Objects of one page of a list; the API server's own advice.
pub(super) const PAGE: u32 = 500;

/// The namespaces to look in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// One namespace.
    Namespace(String),
    /// Every namespace.
    All,
}

/// The sessions that were found, and where.
#[derive(Clone, Debug)]
pub struct SessionList {
    /// The sessions, oldest first.
    pub sessions: Vec<Session>,
    /// Narrower than requested where the user may not list all namespaces.
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

    /// The scope for the end of a sentence, with a space before it.
    pub fn in_words(&self) -> String {
        match self {
            Self::Namespace(namespace) => format!(" in namespace `{namespace}`"),
            Self::All => " in all namespaces".to_owned(),
        }
    }
}

// === impl Cluster ===

impl Cluster {
    /// Lists the sessions in `scope` whose labels match; those in the context's
    /// namespace where the user may not list all namespaces.
    pub async fn sessions(&self, scope: &Scope, labels: &[(&str, String)]) -> anyhow::Result<SessionList> {
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
        Ok(SessionList { sessions, scope })
    }

    /// Lists the preview pods of `scope` whose labels match, by session.
    pub async fn preview_pods(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
    ) -> anyhow::Result<BTreeMap<String, Vec<Pod>>> {
        let mut pods = self.session_pods(scope, labels).await?;
        for pods in pods.values_mut() {
            pods.retain(|pod| Role::of(&pod.metadata) == Some(Role::Preview));
        }
        Ok(pods)
    }

    /// Lists the pods of `scope` whose labels match, of every role, by session.
    pub(super) async fn session_pods(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
    ) -> anyhow::Result<BTreeMap<String, Vec<Pod>>> {
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

    pub(super) async fn list<K>(&self, scope: &Scope, selector: &str) -> Result<Vec<K>>
    where
        K: Resource<Scope = NamespaceResourceScope> + Clone + DeserializeOwned + std::fmt::Debug,
        K::DynamicType: Default,
    {
        every(&scope.api_of(self.client()), ListParams::default().labels(selector)).await
    }

    /// The ReplicaSet of a session's preview pods, where it can be read.
    pub async fn replica_set(&self, session: &Session) -> Option<ReplicaSet> {
        let api: Api<ReplicaSet> = Api::namespaced(self.client(), &session.namespace);
        let parameters =
            ListParams::default().labels(&selector(&[(SESSION, session.id.as_str().to_owned())]));
        let sets = api.list(&parameters).await.ok()?.items;
        sets.into_iter().find(session::makes_preview_pods)
    }

    /// A root as it is; `None` once it is gone.
    pub async fn root(&self, namespace: &str, name: &str) -> anyhow::Result<Option<Job>> {
        let api: Api<Job> = Api::namespaced(self.client(), namespace);
        api.get_opt(name).await.map_err(Error::from).map_err(|error| {
            error.into_problem(format!("could not read `{name}` in namespace `{namespace}`")).into()
        })
    }
}

pub(super) fn selector(labels: &[(&str, String)]) -> String {
    let mut selector = format!("{MANAGED_BY}={MIRRORD},{SESSION}");
    for (name, value) in labels {
        selector.push_str(&format!(",{name}={value}"));
    }
    selector
}

/// Every object that the parameters select.
pub(super) async fn every<K>(api: &Api<K>, parameters: ListParams) -> Result<Vec<K>>
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
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};
    use crate::session::{KEY, TARGET};

    fn root(name: &str) -> Value {
        json!({"metadata": {
            "name": name, "namespace": "default", "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {MANAGED_BY: MIRRORD, SESSION: name, KEY: "k"}, "annotations": {TARGET: "deployment/shop"},
        }})
    }

    fn list(items: &[Value], next: &str) -> Answer {
        Answer::of(json!({"metadata": {"continue": next}, "items": items}))
    }

    #[tokio::test]
    async fn a_long_list_is_read_page_by_page() {
        let api = FakeApi::new([list(&[root("a")], "next"), list(&[root("b")], "")]);
        let found = api.cluster().sessions(&Scope::All, &[]).await.unwrap();
        let roots: Vec<&str> = found.sessions.iter().map(|session| session.root.as_str()).collect();
        assert_eq!((roots, found.scope), (vec!["a", "b"], Scope::All));
        assert_eq!(api.asked().len(), 2);
    }

    #[tokio::test]
    async fn a_user_who_may_not_list_all_namespaces_sees_the_one_of_the_context() {
        let api = FakeApi::by(|asked| {
            Some(if asked.path == "/apis/batch/v1/jobs" {
                Answer::refusal(403, "jobs.batch is forbidden")
            } else {
                list(&[root("a")], "")
            })
        });
        let found = api.cluster().sessions(&Scope::All, &[]).await.unwrap();
        assert_eq!((found.sessions.len(), found.scope), (1, Scope::Namespace("default".to_owned())));
        assert_eq!(api.asked()[1].path, "/apis/batch/v1/namespaces/default/jobs");
    }

    #[tokio::test]
    async fn a_server_in_trouble_is_an_error_and_not_an_empty_list() {
        let api = FakeApi::new([Answer::refusal(500, "etcd is down")]);
        let error = api.cluster().sessions(&Scope::All, &[]).await.unwrap_err();
        assert_eq!(error.to_string(), "could not list environments in all namespaces");
        assert!(matches!(Error::among(&error), Some(Error::Unavailable(_))));
    }

    #[tokio::test]
    async fn a_root_that_is_gone_is_none() {
        let api = FakeApi::new([Answer::refusal(404, "not found"), Answer::of(root("a"))]);
        let cluster = api.cluster();
        assert!(cluster.root("default", "a").await.unwrap().is_none());
        assert!(cluster.root("default", "a").await.unwrap().is_some());
    }
}
