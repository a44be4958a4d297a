//! Watches, as streams of changes.

use std::fmt::Debug;
use std::future::ready;

use anyhow::Result;
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

use super::sessions::{Scope, selector};
use super::{Cluster, Error};
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
    /// A new list of the pods begins; the pods that exist follow.
    PodsAnew,
    /// The list of the pods is complete.
    PodsListed,
    /// A new list of the root begins; the root follows if it exists.
    RootAnew,
    /// The list of the root is complete.
    RootListed,
    /// The cluster did not answer; the watch is tried again.
    Lost(String),
    /// The user may not watch, or not any more.
    Forbidden(Box<Error>),
}

// === impl Change ===

impl Change {
    fn gone(pod: Pod) -> Self {
        Self::PodGone(pod.metadata.name.expect("an object of the API has a name"))
    }
}

// === impl Cluster ===

impl Cluster {
    /// Streams the changes to one session's objects, beginning with those that exist.
    pub fn watch_session(&self, namespace: &str, session: &str) -> Result<BoxStream<'static, Change>> {
        let client = self.long_lived_client()?;
        let selected = || watcher::Config::default().labels(&format!("{SESSION}={session}"));
        let roots =
            changes::<Job>(Api::namespaced(client.clone(), namespace), selected(), |event| match event {
                Event::Apply(root) | Event::InitApply(root) => Some(Change::Root(Box::new(root))),
                Event::Delete(_) => Some(Change::RootGone),
                Event::Init => Some(Change::RootAnew),
                Event::InitDone => Some(Change::RootListed),
            });
        let sets =
            changes::<ReplicaSet>(
                Api::namespaced(client.clone(), namespace),
                selected(),
                |event| match event {
                    Event::Apply(set) | Event::InitApply(set) => Some(Change::ReplicaSet(Box::new(set))),
                    Event::Delete(_) | Event::Init | Event::InitDone => None,
                },
            );
        let pods = changes::<Pod>(Api::namespaced(client, namespace), selected(), |event| match event {
            Event::Apply(pod) | Event::InitApply(pod) => Some(Change::Pod(Box::new(pod))),
            Event::Delete(pod) => Some(Change::gone(pod)),
            Event::Init => Some(Change::PodsAnew),
            Event::InitDone => None,
        });
        Ok(stream::select_all([roots, sets, pods]).boxed())
    }

    /// Streams the changes to the pods that a label selector and a field selector of the
    /// API select.
    pub fn watch_pods(
        &self,
        namespace: &str,
        labels: Option<&str>,
        fields: Option<&str>,
    ) -> Result<BoxStream<'static, Change>> {
        let client = self.long_lived_client()?;
        let selected = watcher::Config {
            label_selector: labels.map(str::to_owned),
            field_selector: fields.map(str::to_owned),
            ..watcher::Config::default()
        };
        Ok(changes::<Pod>(Api::namespaced(client, namespace), selected, |event| match event {
            Event::Apply(pod) | Event::InitApply(pod) => Some(Change::Pod(Box::new(pod))),
            Event::Delete(pod) => Some(Change::gone(pod)),
            Event::Init => Some(Change::PodsAnew),
            Event::InitDone => Some(Change::PodsListed),
        }))
    }

    /// Streams the changes to the roots and pods that match, those that exist included.
    pub fn watch_all(&self, scope: &Scope, labels: &[(&str, String)]) -> Result<BoxStream<'static, Change>> {
        let client = self.long_lived_client()?;
        let selected = || watcher::Config::default().labels(&selector(labels));
        let roots = changes::<Job>(scope.api_of(client.clone()), selected(), |event| match event {
            Event::Apply(root) | Event::InitApply(root) => Some(Change::Root(Box::new(root))),
            Event::Delete(_) => Some(Change::RootGone),
            Event::Init | Event::InitDone => None,
        });
        let pods = changes::<Pod>(scope.api_of(client), selected(), |event| match event {
            Event::Apply(pod) | Event::InitApply(pod) => Some(Change::Pod(Box::new(pod))),
            Event::Delete(pod) => Some(Change::gone(pod)),
            Event::Init | Event::InitDone => None,
        });
        Ok(stream::select_all([roots, pods]).boxed())
    }
}

/// The changes to objects of one type.
fn changes<K>(
    api: Api<K>,
    selected: watcher::Config,
    read: fn(Event<K>) -> Option<Change>,
) -> BoxStream<'static, Change>
where
    K: Resource + Clone + DeserializeOwned + Debug + Send + 'static,
    K::DynamicType: Default,
{
    let change = move |event| match event {
        Ok(event) => read(event),
        Err(watcher::Error::InitialListFailed(error) | watcher::Error::WatchStartFailed(error)) => {
            let error = Error::from(error);
            Some(if error.is_refused() {
                Change::Forbidden(Box::new(error))
            } else {
                Change::Lost(error.to_string())
            })
        }
        Err(error) => Some(Change::Lost(error.to_string())),
    };
    watcher::watcher(api, selected).default_backoff().filter_map(move |event| ready(change(event))).boxed()
}
