//! From a kubeconfig to a cluster that has answered.

use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use super::{Cluster, Patient};
use crate::connection::Connection;
use crate::problem::{Exit, Explain as _, Problem};
use crate::words;

/// How long a connection may take to come about: longer than any round trip,
/// shorter than patience.
const CONNECT: Duration = Duration::from_secs(10);
/// How long an answer may take; a watch may take longer.
const ANSWER: Duration = Duration::from_secs(30);
/// The first pause before a busy server is asked again, and the longest.
const ASKS_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How often it is: for 6 s or so.
const TRIES: u32 = 5;
/// How many requests may be on their way into the client at once.
const BUFFERED: usize = 1024;

// === impl Cluster ===

impl Cluster {
    /// Connects as kubectl would, and asks for a first answer.
    pub async fn connect(connection: &Connection) -> Result<Self> {
        let mut config = config(connection).await?;
        if let Some(accept) = connection.accept_invalid_certificates {
            config.accept_invalid_certs = accept;
        }
        Self::answering(config).await
    }

    /// Connects to the cluster that this pod runs in, as its service account.
    pub async fn in_cluster() -> Result<Self> {
        let config = Config::incluster().explain(|| {
            Problem::new("could not find the service account of this pod").exit(Exit::NotAllowed)
        })?;
        Self::answering(config).await
    }

    /// Connects, and asks for a first answer.
    async fn answering(mut config: Config) -> Result<Self> {
        config.connect_timeout = Some(CONNECT);
        // The client's own tries go on for minutes, unheard; ours end.
        config.default_retry = false;
        let patient = Arc::new(Patient { config: config.clone(), client: OnceLock::new() });
        config.read_timeout = Some(ANSWER);
        // Else the time that a connection was idle would count as an answer's.
        config.reset_reader_on_write = true;
        let server = config.cluster_url.to_string();
        let default_namespace = config.default_namespace.clone();
        let client = client(config).explain(|| {
            Problem::new(format!("could not use the credentials for `{server}`"))
                .hint("log in again, or check the `users` section of your kubeconfig")
                .exit(Exit::NotAllowed)
        })?;
        let ahead = greet(&client)
            .await
            .map_err(|error| error.into_problem(format!("could not connect to the cluster at `{server}`")))?;
        Ok(Self { client, default_namespace, patient, ahead })
    }

    /// The namespace of the context, without asking the cluster.
    pub async fn namespace(connection: &Connection) -> Result<String> {
        Ok(config(connection).await?.default_namespace)
    }

    /// The server's version, as `v1.34.4`.
    pub async fn version(&self) -> Option<String> {
        self.client.apiserver_version().await.ok().map(|version| version.git_version)
    }

    pub(super) fn client(&self) -> Client {
        self.client.clone()
    }
}

/// A client that asks again, for a few seconds, where the server has said that it
/// is too busy (429, 503, 504).
pub(super) fn client(config: Config) -> super::Result<Client> {
    let patience = RetryPolicy::new(ASKS_AGAIN.0, ASKS_AGAIN.1, TRIES, false);
    let patience = patience.map_err(|error| kube::Error::Service(error.into()))?;
    // A request that may be made again has to be copied, and so its way too.
    let builder = ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(BUFFERED));
    Ok(builder.with_layer(&RetryLayer::new(patience)).build())
}

/// Asks for the server's version, and reads its clock in passing. HTTP's `Date`
/// counts whole seconds, so a difference of a second or two is none.
async fn greet(client: &Client) -> super::Result<SignedDuration> {
    let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    if !response.status().is_success() {
        // The same question once more, for an error in the API's own form.
        client.apiserver_version().await?;
    }
    let date = response.headers().get(http::header::DATE).and_then(|date| date.to_str().ok());
    let date = date.and_then(|date| DateTimeParser::new().parse_timestamp(date).ok());
    let ahead = date.map_or(SignedDuration::ZERO, |date| date.duration_since(Timestamp::now()));
    Ok(if ahead.abs() <= SignedDuration::from_secs(2) { SignedDuration::ZERO } else { ahead })
}

async fn config(connection: &Connection) -> Result<Config> {
    let problem = || {
        Problem::new("could not read the kubeconfig")
            .hint("run `kubectl config view`, or pass `--kubeconfig <file>` or `--context <name>`")
            .exit(Exit::Usage)
    };
    let is_named = !connection.kubeconfig.is_empty();
    let paths = if is_named { &connection.kubeconfig } else { &connection.of_kubectl };
    // Inside a cluster there is no kubeconfig; a named context is one's own wish. A
    // file that is there and broken is the user's, who does not mean the cluster around.
    if !is_named
        && connection.context.is_none()
        && !paths.iter().any(|path| path.exists())
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    let kubeconfig = merged(paths).explain(problem)?;
    let contexts: Vec<String> = kubeconfig.contexts.iter().map(|context| context.name.clone()).collect();
    let options = KubeConfigOptions { context: connection.context.clone(), ..KubeConfigOptions::default() };
    if let Some(wanted) = &connection.context
        && !contexts.contains(wanted)
    {
        return Err(Problem::new(format!("there is no context `{wanted}` in the kubeconfig"))
            .because_of(match &contexts[..] {
                [] => "it has no contexts".to_owned(),
                contexts => format!("it has {}", words::quoted_list(contexts)),
            })
            .hint("pass `--context <name>`")
            .exit(Exit::Usage)
            .into());
    }
    Config::from_custom_kubeconfig(kubeconfig, &options).await.explain(problem)
}

/// The files as one; as kubectl does, without those of a list that are not there.
fn merged(paths: &[PathBuf]) -> Result<Kubeconfig> {
    let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    // Where none is, the first says so.
    let read = if there.is_empty() { paths.iter().take(1).collect() } else { there };
    if read.is_empty() {
        return Err(anyhow::Error::msg("there is no kubeconfig, and no home folder to look for it in"));
    }
    let mut whole: Option<Kubeconfig> = None;
    for path in read {
        let next = Kubeconfig::read_from(path)
            .explain(|| Problem::new(format!("`{}` cannot be used", path.display())))?;
        whole = Some(match whole {
            Some(before) => before.merge(next)?,
            None => next,
        });
    }
    Ok(whole.unwrap_or_default())
}
