//! What is left of an environment that failed or ends: events, logs, and
//! objects that are still there.

use std::time::Duration;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Event, Pod};
use kube::ResourceExt as _;
use kube::api::{Api, DynamicObject, ListParams, LogParams};

use super::sessions::selector;
use super::{Cluster, Error, Leftover, Scope};
use crate::session::{SESSION, SessionId};
use crate::words;

/// Lines of a crashed container's log that are shown.
const LOG_LINES: i64 = 10;

/// An object that still exists of a session that ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Remains {
    /// The object.
    pub what: String,
    /// Why it is still there, where that is known.
    pub why: Option<String>,
    /// How long Kubernetes gives it to end.
    pub grace: Duration,
}

// === impl Cluster ===

impl Cluster {
    /// The events about an object, oldest first; none where they may not be read.
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

    /// The last log lines of a container that has crashed; `None` where logs may not be
    /// read or are gone.
    pub async fn last_log_lines(&self, namespace: &str, pod: &str, container: &str) -> Option<String> {
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
    /// A pod that is being deleted: first its containers end, then its finalizers hold it.
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

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};

    #[test]
    fn a_pod_that_is_being_deleted_tells_what_it_waits_for() {
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

    #[tokio::test]
    async fn an_ending_session_waits_for_its_root_then_its_pods_then_the_rest() {
        const FILES: Leftover = Leftover::new("", "ConfigMap", "configmaps", "the ConfigMap");
        const RIGHTS: Leftover = Leftover::new("rbac.authorization.k8s.io", "Role", "roles", "the Role");
        let session = SessionId::from_label("1a2b3c4d");
        let gone = || Answer::refusal(404, "not found");
        let list = |items: Value| Answer::of(json!({"metadata": {}, "items": items}));
        let one = || json!([{"metadata": {"name": "x"}}]);
        for (answers, expected) in [
            (vec![Answer::of(json!({"metadata": {"name": "root"}}))], Some("job `root`")),
            (vec![gone(), list(one())], Some("pod `x`")),
            (vec![gone(), list(json!([])), list(one())], Some("the ConfigMap")),
            // The user may not list the first kind. Kubernetes removes it all the same.
            (vec![gone(), list(json!([])), Answer::refusal(403, "no"), list(one())], Some("the Role")),
            (vec![gone(), list(json!([])), list(json!([])), list(json!([]))], None),
        ] {
            let api = FakeApi::new(answers);
            let left = api.cluster().remains("shop", "root", &session, &[FILES, RIGHTS]).await.unwrap();
            assert_eq!(left.map(|left| left.what).as_deref(), expected);
        }
        let api = FakeApi::new([gone(), Answer::refusal(503, "try again")]);
        let error = api.cluster().remains("shop", "root", &session, &[FILES]).await.unwrap_err();
        assert!(matches!(Error::among(&error), Some(Error::Unavailable(_))), "it is not known to be gone");
    }
}
