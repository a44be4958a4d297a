//! What changes while somebody waits.

use futures::{Stream, StreamExt as _, stream};
use k8s_openapi::api::apps::v1::ReplicaSet;
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::Pod;
use kube::api::Api;
use kube::runtime::watcher::{self, Event};

use super::Cluster;
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
    Lost(watcher::Error),
}

// === impl Cluster ===

impl Cluster {
    /// Streams the changes to one session's objects, those that exist first.
    pub fn watch_session(
        &self,
        namespace: &str,
        session: &str,
    ) -> impl Stream<Item = Change> + Unpin + use<> {
        let selected = || watcher::Config::default().labels(&format!("{SESSION}={session}"));
        let roots =
            watcher::watcher(Api::<Job>::namespaced(self.client(), namespace), selected()).map(|event| {
                match event {
                    Ok(Event::Apply(root) | Event::InitApply(root)) => Some(Change::Root(Box::new(root))),
                    Ok(Event::Delete(_)) => Some(Change::RootGone),
                    Ok(_) => None,
                    Err(error) => Some(Change::Lost(error)),
                }
            });
        let sets = watcher::watcher(Api::<ReplicaSet>::namespaced(self.client(), namespace), selected()).map(
            |event| match event {
                Ok(Event::Apply(set) | Event::InitApply(set)) => Some(Change::ReplicaSet(Box::new(set))),
                Ok(_) => None,
                Err(error) => Some(Change::Lost(error)),
            },
        );
        let pods =
            watcher::watcher(Api::<Pod>::namespaced(self.client(), namespace), selected()).map(|event| {
                match event {
                    Ok(Event::Apply(pod) | Event::InitApply(pod)) => Some(Change::Pod(Box::new(pod))),
                    Ok(Event::Delete(pod)) => Some(Change::PodGone(pod.metadata.name.unwrap_or_default())),
                    Ok(_) => None,
                    Err(error) => Some(Change::Lost(error)),
                }
            });
        stream::select_all([roots.boxed(), sets.boxed(), pods.boxed()])
            .filter_map(|change| async move { change })
            .boxed()
    }
}
