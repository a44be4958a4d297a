//! Thousands of sessions for `status`, in as few bytes as the API server can be
//! asked for: the metadata of roots, the table of pods that kubectl prints, and
//! whole objects only where these do not say enough.
//!
//! kube's `list_metadata` reads the same form into whole `ObjectMeta`s. Their
//! `managedFields` are longer than everything else, and nobody reads them here:
//! [`Metadata`] skips them. The table has no counterpart in kube.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::batch::v1::Job;
use k8s_openapi::api::core::v1::{Pod, PodCondition, PodStatus};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ListMeta, ObjectMeta, Time};
use kube::Resource;
use kube::api::ListParams;
use kube::core::NamespaceResourceScope;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::sessions::{PAGE, Scope, SessionList, selector};
use super::{AT_ONCE, Cluster, Error, Result};
use crate::session::{ROLE, Role, SESSION, Session};

/// With more unclear objects than this, all are listed once more, whole, instead
/// of one by one.
const MAX_INDIVIDUAL_GETS: usize = 32;

/// How the API server is asked for metadata alone.
const OUTLINES: &str = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
/// How it is asked for what kubectl prints.
const TABLE: &str = "application/json;as=Table;g=meta.k8s.io;v=v1";

/// A page of a list, in either form.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Page<T> {
    metadata: ListMeta,
    #[serde(default)]
    column_definitions: Vec<Column>,
    /// Null where there are none.
    #[serde(alias = "rows")]
    items: Option<Vec<T>>,
}

#[derive(Deserialize)]
struct Column {
    name: String,
}

/// A row of the table of pods: what kubectl prints.
#[derive(Deserialize)]
struct Row {
    cells: Vec<Value>,
}

/// An object's metadata without the fields that nobody reads.
#[derive(Deserialize)]
struct Outline {
    metadata: Metadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
    name: Option<String>,
    namespace: Option<String>,
    generation: Option<i64>,
    labels: Option<BTreeMap<String, String>>,
    annotations: Option<BTreeMap<String, String>>,
    creation_timestamp: Option<Time>,
    deletion_timestamp: Option<Time>,
}

/// Pods, by the identifiers of their sessions.
type PodsBySession = BTreeMap<String, Vec<Pod>>;

// === impl Cluster ===

impl Cluster {
    /// The sessions in `scope` whose labels match, as [`Cluster::sessions`] has
    /// them but for their assignments; and their pods, the keepers' too. A pod
    /// that is ready holds its name, its role and that condition alone.
    pub async fn at_a_glance(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
    ) -> anyhow::Result<(SessionList, PodsBySession)> {
        let begun = self.page::<Job, Outline>(scope, &selector(labels), OUTLINES, None).await;
        if let Ok(begun) = begun {
            // Both at once where there are more pages. With few sessions, the roots are
            // complete by now: opening a second connection would take longer.
            let (sessions, pods) = futures::join!(self.roots(scope, labels, begun), self.pods(scope, labels));
            if let (Ok(sessions), Ok(pods)) = (sessions, pods) {
                return Ok((SessionList { sessions, scope: scope.clone() }, pods));
            }
        }
        // One of the two lists is refused, or the server does not know its form.
        let found = self.sessions(scope, labels).await?;
        let pods = self.session_pods(&found.scope, labels).await?;
        Ok((found, pods))
    }

    async fn roots(
        &self,
        scope: &Scope,
        labels: &[(&str, String)],
        begun: Page<Outline>,
    ) -> Result<Vec<Session>> {
        let (outlines, _) = self.rest::<Job, Outline>(scope, &selector(labels), OUTLINES, begun).await?;
        let mut sessions = Vec::with_capacity(outlines.len());
        let mut unclear = Vec::new();
        for metadata in outlines.into_iter().map(|outline| ObjectMeta::from(outline.metadata)) {
            match Session::of_metadata(&metadata) {
                Some(session) => sessions.push(session),
                None => unclear.push(metadata),
            }
        }
        if unclear.len() > MAX_INDIVIDUAL_GETS {
            let whole = self.list::<Job>(scope, &selector(labels)).await?;
            sessions = whole.iter().filter_map(Session::of).collect();
        } else {
            let whole = stream::iter(unclear).map(|metadata| async move {
                let scope = Scope::Namespace(metadata.namespace.expect("a root has a namespace"));
                let root = scope
                    .api_of::<Job>(self.client())
                    .get_opt(&metadata.name.expect("a root has a name"))
                    .await;
                root.map_err(Error::from)
            });
            let whole: Vec<Option<Job>> = whole.buffer_unordered(AT_ONCE).try_collect().await?;
            sessions.extend(whole.iter().flatten().filter_map(Session::of));
        }
        sessions.sort_by_key(|session| (session.order(), session.root.clone()));
        Ok(sessions)
    }

    async fn pods(&self, scope: &Scope, labels: &[(&str, String)]) -> Result<PodsBySession> {
        let meant = selector(labels);
        let begun = self.page::<Pod, Row>(scope, &meant, TABLE, None).await?;
        let (rows, columns) = self.rest::<Pod, Row>(scope, &meant, TABLE, begun).await?;
        let (ready, unclear): (Vec<_>, Vec<_>) =
            rows.iter().map(|row| row.of(&columns)).partition(|seen| matches!(seen, Some((_, _, true))));
        let mut pods = PodsBySession::new();
        for (name, session, _) in ready.into_iter().flatten() {
            pods.entry(session.to_owned()).or_default().push(ready_pod(name));
        }
        if unclear.is_empty() {
            return Ok(pods);
        }
        let names: Option<Vec<&str>> =
            unclear.iter().map(|seen| seen.map(|(_, session, _)| session)).collect();
        let closely = match names {
            Some(sessions) if sessions.len() <= MAX_INDIVIDUAL_GETS => {
                format!("{meant},{SESSION} in ({})", sessions.join(","))
            }
            _ => {
                pods.clear();
                meant
            }
        };
        let mut whole = PodsBySession::new();
        for pod in self.list::<Pod>(scope, &closely).await? {
            let session = pod.metadata.labels.as_ref().and_then(|labels| labels.get(SESSION)).cloned();
            whole.entry(session.expect("the selector demands the label")).or_default().push(pod);
        }
        // Whole pods replace all of their session's.
        pods.extend(whole);
        Ok(pods)
    }

    /// Every item of a list that `begun` is the first page of, and the names of
    /// its columns where it has any.
    async fn rest<K, T>(
        &self,
        scope: &Scope,
        selector: &str,
        form: &str,
        begun: Page<T>,
    ) -> Result<(Vec<T>, Vec<String>)>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
        T: DeserializeOwned,
    {
        let mut next = begun.metadata.continue_;
        let columns = begun.column_definitions.into_iter().map(|column| column.name).collect();
        let mut items = begun.items.unwrap_or_default();
        while let Some(token) = next.filter(|token| !token.is_empty()) {
            let page = self.page::<K, T>(scope, selector, form, Some(&token)).await?;
            items.extend(page.items.into_iter().flatten());
            next = page.metadata.continue_;
        }
        Ok((items, columns))
    }

    /// A page of a list in the media type `form`.
    async fn page<K, T>(
        &self,
        scope: &Scope,
        selector: &str,
        form: &str,
        token: Option<&str>,
    ) -> Result<Page<T>>
    where
        K: Resource<Scope = NamespaceResourceScope>,
        K::DynamicType: Default,
        T: DeserializeOwned,
    {
        let path = scope.api_of::<K>(self.client()).resource_url().to_owned();
        let parameters = ListParams::default().labels(selector).limit(PAGE);
        let parameters = match token {
            Some(token) => parameters.continue_token(token),
            None => parameters,
        };
        let unreadable = |error: &dyn std::error::Error| Error::Unreadable(error.to_string());
        let mut request =
            kube::core::Request::new(&path).list(&parameters).map_err(|error| unreadable(&error))?;
        let accepted = form.parse().expect("the forms are constants");
        request.headers_mut().insert(http::header::ACCEPT, accepted);
        // Rows without the objects' metadata, which doubles their length.
        let uri = format!("{}&includeObject=None", request.uri());
        *request.uri_mut() = uri.parse().map_err(|error| unreadable(&error))?;
        Ok(self.client().request(request).await?)
    }
}

// === impl Row ===

impl Row {
    /// The pod's name, its session, and whether it is ready and not ending;
    /// `None` where the row has another form, or the name has no role.
    fn of(&self, columns: &[String]) -> Option<(&str, &str, bool)> {
        let cell = |name: &str| {
            let place = columns.iter().position(|column| column == name)?;
            self.cells.get(place)?.as_str()
        };
        let (name, ready, status) = (cell("Name")?, cell("Ready")?, cell("Status")?);
        Role::of_name(name)?;
        // `preview-session-<kind>-<name>-<session>-<suffix>`, and alike for other roles.
        let session = name.rsplit_once('-')?.0.rsplit_once('-')?.1;
        let (ready, all) = ready.split_once('/')?;
        let is_session = session.len() == 8 && session.bytes().all(|byte| byte.is_ascii_hexdigit());
        is_session.then_some((name, session, ready == all && status == "Running"))
    }
}

impl From<Metadata> for ObjectMeta {
    fn from(metadata: Metadata) -> Self {
        let Metadata {
            name,
            namespace,
            generation,
            labels,
            annotations,
            creation_timestamp,
            deletion_timestamp,
        } = metadata;
        Self {
            name,
            namespace,
            generation,
            labels,
            annotations,
            creation_timestamp,
            deletion_timestamp,
            ..Self::default()
        }
    }
}

/// A pod that is known to be ready, with its name and its role.
fn ready_pod(name: &str) -> Pod {
    let role = Role::of_name(name).map(|role| [(ROLE.to_owned(), role.as_str().to_owned())].into());
    let ready = PodCondition {
        type_: "ContainersReady".to_owned(),
        status: "True".to_owned(),
        ..PodCondition::default()
    };
    Pod {
        metadata: ObjectMeta { name: Some(name.to_owned()), labels: role, ..ObjectMeta::default() },
        status: Some(PodStatus { conditions: Some(vec![ready]), ..PodStatus::default() }),
        ..Pod::default()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::fake::{Answer, FakeApi};
    use crate::session::{DEADLINE_NOTE, KEY, MANAGED_BY, MIRRORD, TARGET};

    #[test]
    fn a_row_says_whose_pod_it_is_and_whether_it_is_ready() {
        let columns = ["Name", "Ready", "Status", "Restarts"].map(str::to_owned);
        let row = |cells: &[&str]| Row { cells: cells.iter().map(|cell| json!(cell)).collect() };
        let name = "preview-session-deployment-shop-1a2b3c4d-x7k2p";
        for (ready, status, is_ready) in [
            ("1/1", "Running", true),
            ("2/2", "Running", true),
            ("1/2", "Running", false),
            ("0/1", "CrashLoopBackOff", false),
            ("1/1", "Terminating", false),
            ("0/1", "Completed", false),
        ] {
            let row = row(&[name, ready, status]);
            assert_eq!(row.of(&columns), Some((name, "1a2b3c4d", is_ready)), "{ready} {status}");
        }
        for cells in [&["shop-1", "1/1", "Running"][..], &[name, "1", "Running"], &[name]] {
            assert_eq!(row(cells).of(&columns), None, "{cells:?}");
        }
        assert_eq!(row(&[name, "1/1", "Running"]).of(&columns[..2]), None);
    }

    const POD: &str = "preview-session-deployment-shop-1a2b3c4d-x7k2p";

    fn table(rows: &[(&str, &str, &str)]) -> Answer {
        let rows: Vec<Value> =
            rows.iter().map(|(name, ready, status)| json!({"cells": [name, ready, status]})).collect();
        let columns = ["Name", "Ready", "Status"].map(|name| json!({"name": name}));
        Answer::of(json!({"metadata": {}, "columnDefinitions": columns, "rows": rows}))
    }

    /// A root whose metadata tell its whole life, or do not.
    fn root(notes_its_life: bool) -> Value {
        let mut root = json!({
            "metadata": {
                "name": "root", "namespace": "shop", "generation": 1, "creationTimestamp": "2026-01-01T00:00:00Z",
                "labels": {MANAGED_BY: MIRRORD, SESSION: "1a2b3c4d", KEY: "k"},
                "annotations": {TARGET: "deployment/shop"},
            },
        });
        if notes_its_life {
            let life = r#"{"generation":1,"start":"2026-01-01T00:00:00Z","deadlineSeconds":60,"pods":1}"#;
            root["metadata"]["annotations"][DEADLINE_NOTE] = json!(life);
        }
        root
    }

    fn list(items: &[Value]) -> Answer {
        Answer::of(json!({"metadata": {}, "items": items}))
    }

    #[tokio::test]
    async fn what_the_short_forms_do_not_tell_is_read_whole() {
        let scope = Scope::Namespace("shop".to_owned());
        for (clear, gets) in [(true, 0), (false, 1)] {
            let api = FakeApi::by(move |asked| match asked.path.as_str() {
                "/apis/batch/v1/namespaces/shop/jobs" => Some(list(&[root(clear)])),
                "/apis/batch/v1/namespaces/shop/jobs/root" => Some(Answer::of(root(clear))),
                "/api/v1/namespaces/shop/pods" => Some(table(&[(POD, "1/1", "Running")])),
                _ => None,
            });
            let (found, pods) = api.cluster().at_a_glance(&scope, &[]).await.unwrap();
            assert_eq!((found.sessions.len(), pods["1a2b3c4d"].len()), (1, 1));
            let asked = api.asked();
            assert_eq!(asked.iter().filter(|asked| asked.path.ends_with("/jobs/root")).count(), gets);
        }
    }

    #[tokio::test]
    async fn a_server_that_refuses_the_short_forms_is_asked_for_whole_lists() {
        let api = FakeApi::new([
            Answer::refusal(406, "not acceptable"),
            list(&[root(true)]),
            list(&[json!({"metadata": {"name": POD, "labels": {SESSION: "1a2b3c4d"}}})]),
        ]);
        let scope = Scope::Namespace("shop".to_owned());
        let (found, pods) = api.cluster().at_a_glance(&scope, &[]).await.unwrap();
        assert_eq!((found.sessions.len(), pods["1a2b3c4d"].len()), (1, 1));
    }
}
