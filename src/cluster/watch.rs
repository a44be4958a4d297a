//! What changes while somebody waits.

use std::fmt::Debug;
use std::future::ready;

use futures::stream::BoxStream;
use futures::{StreamExt as _, stream};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::Resource;
use kube::api::Api;
use kube::runtime::WatchStreamExt as _;
use kube::runtime::watcher::{self, Event};

use serde::de::DeserializeOwned;

use super::{Cluster, explain};
use crate::session::SESSION;

/// One change to a session's objects.
#[derive(Debug)]
pub enum Change {
    /// The root as it is now.
    Root(Box<Job>),
    /// The root is gone.
    RootGone,
    /// The ReplicaSet as it is now.
    ReplicaSet(Box<ReplicaSet>),
    /// A pod as it is now.
    Pod(Box<Pod>),
    /// A pod, by its name, that is gone.
    PodGone(String),
    /// The cluster did not answer; the watch goes on trying.
    Lost(String),
    /// The user may not look; trying again is of no use.
    Forbidden(Box<kube::Error>),
}

// === impl Cluster ===

impl Cluster {
    /// Streams the changes to one session's objects, those that exist first.
    pub fn watch_session(&self, namespace: &str, session: &str) -> BoxStream<'static, Change> {
        let root = |root: Box<Job>| Change::Root(root);
        let set = |set: Box<ReplicaSet>| Change::ReplicaSet(set);
        let pod = |pod: Box<Pod>| Change::Pod(pod);
        let pod_gone = |pod: Pod| Some(Change::PodGone(pod.metadata.name.unwrap_or_default()));
        let selected = || watcher::Config::default().labels(&format!("{SESSION}={session}"));
        stream::select_all([
            changes(Api::namespaced(self.client(), namespace), selected(), root, |_| Some(Change::RootGone)),
            changes(Api::namespaced(self.client(), namespace), selected(), set, |_| None),
            changes(Api::namespaced(self.client(), namespace), selected(), pod, pod_gone),
        ])
        .boxed()
    }
}

/// The changes to objects of one type, in our words.
fn changes<K>(
    api: Api<K>,
    selected: watcher::Config,
    here: fn(Box<K>) -> Change,
    gone: fn(K) -> Option<Change>,
) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let events = watcher::watcher(api, selected).default_backoff();
    let change = move |event| match event {
        Ok(Event::Apply(object) | Event::InitApply(object)) => Some(here(Box::new(object))),
        Ok(Event::Delete(object)) => gone(object),
        Ok(Event::Init | Event::InitDone) => None,
        Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error))
            if explain::is_forbidden(&error) =>
        {
            Some(Change::Forbidden(Box::new(error)))
        }
        Err(error) => Some(Change::Lost(error.to_string())),
    };
    events.filter_map(move |event| ready(change(event))).boxed()
}
