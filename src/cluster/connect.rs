//! From a kubeconfig to a cluster that has answered.

use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use anyhow::Result;
use jiff::fmt::rfc2822::DateTimeParser;
use jiff::{SignedDuration, Timestamp};
use kube::client::retry::RetryPolicy;
use kube::client::{Body, ClientBuilder};
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::buffer::BufferLayer;
use tower::retry::RetryLayer;

use super::{Cluster, LongLived};
use crate::connection::{Connection, Purpose, Source};
use crate::problem::{Exit, Explain as _, Problem};
use crate::words;

/// The time limit for opening a connection.
const CONNECT: Duration = Duration::from_secs(10);
/// The time limit for an answer. Watches have none.
const ANSWER: Duration = Duration::from_secs(30);
/// The first and the longest pause before a request to a busy server is repeated.
const ASKS_AGAIN: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(2));
/// How often it is repeated: for about 6 s.
const TRIES: u32 = 5;
/// The longest kubeconfig that a configuration file may name, in bytes.
const KUBECONFIG: u64 = 8 * 1024 * 1024;
/// The length of the queue in front of the client.
const BUFFERED: usize = 1024;

// === impl Cluster ===

impl Cluster {
    /// Connects as kubectl would, and asks for a first answer.
    ///
    /// # Errors
    ///
    /// `Usage` if the kubeconfig cannot be used, or if it belongs to a checkout and would
    /// run a program in a command that only looks.
    pub async fn connect(connection: &Connection, purpose: Purpose) -> Result<Self> {
        let mut config = config(connection).await?;
        if let (Source::Checkout(path), Purpose::Look) = (&connection.source, purpose) {
            refuse_programs(path, &config.auth_info)?;
        }
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
        // kube's own retries go on for minutes without a word.
        config.default_retry = false;
        let long_lived = Arc::new(LongLived { config: config.clone(), client: OnceLock::new() });
        config.read_timeout = Some(ANSWER);
        // Otherwise the time for an answer would include the idle time before it.
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
        Ok(Self { client, default_namespace, long_lived, ahead })
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

/// A client that repeats requests, for a few seconds, to a server that is too busy
/// (429, 503, 504).
pub(super) fn client(config: Config) -> super::Result<Client> {
    let retries = RetryPolicy::new(ASKS_AGAIN.0, ASKS_AGAIN.1, TRIES, false);
    let retries = retries.map_err(|error| kube::Error::Service(error.into()))?;
    // The retry layer clones the service below it, which only a buffer makes possible.
    let builder = ClientBuilder::try_from(config)?.with_layer(&BufferLayer::new(BUFFERED));
    Ok(builder.with_layer(&RetryLayer::new(retries)).build())
}

/// Asks for the server's version, and reads its clock in passing. HTTP's `Date`
/// counts whole seconds, so a difference of a second or two is none.
async fn greet(client: &Client) -> super::Result<SignedDuration> {
    let request = http::Request::get("/version").body(Body::empty()).map_err(kube::Error::HttpError)?;
    let response = client.send(request).await?;
    if !response.status().is_success() {
        // Once more, for an error in the API's own form.
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
    // Inside a cluster there is no kubeconfig. A file that exists, even a broken one, or
    // a context means that the user wants another cluster than the one around.
    if !is_named
        && connection.context.is_none()
        && !paths.iter().any(|path| path.exists())
        && let Ok(config) = Config::incluster()
    {
        return Ok(config);
    }
    let kubeconfig = merged(paths, &connection.source).explain(problem)?;
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

/// The merged files. As with kubectl, files that do not exist are skipped.
fn merged(paths: &[PathBuf], source: &Source) -> Result<Kubeconfig> {
    let there: Vec<&PathBuf> = paths.iter().filter(|path| path.exists()).collect();
    // If none exists, reading the first one makes the error.
    let read = if there.is_empty() { paths.iter().take(1).collect() } else { there };
    if read.is_empty() {
        return Err(anyhow::Error::msg("there is no kubeconfig, and no home folder that could have one"));
    }
    let mut whole: Option<Kubeconfig> = None;
    for path in read {
        let problem = || Problem::new(format!("`{}` cannot be used", path.display()));
        if *source != Source::User {
            check_size(path).explain(problem)?;
        }
        let next = Kubeconfig::read_from(path).explain(problem)?;
        if *source != Source::User {
            for named in files_of(&next).filter(|named| named.exists()) {
                let problem = || Problem::new(format!("`{}` cannot be used", named.display()));
                check_size(named).explain(problem)?;
            }
        }
        whole = Some(match whole {
            Some(before) => before.merge(next)?,
            None => next,
        });
    }
    Ok(whole.expect("at least one file was read"))
}

/// The files that a kubeconfig names.
fn files_of(kubeconfig: &Kubeconfig) -> impl Iterator<Item = &Path> {
    let clusters = kubeconfig.clusters.iter().filter_map(|named| named.cluster.as_ref());
    let users = kubeconfig.auth_infos.iter().filter_map(|named| named.auth_info.as_ref());
    let of_users = users.flat_map(|user| [&user.token_file, &user.client_certificate, &user.client_key]);
    let files = clusters.map(|cluster| &cluster.certificate_authority).chain(of_users);
    files.flatten().map(Path::new)
}

/// Checks a kubeconfig that a configuration file names, or a file of it: a pipe would block the command,
/// and a device would fill its memory. Users may name a pipe themselves, as in
/// `--kubeconfig <(…)`.
fn check_size(path: &Path) -> Result<()> {
    let metadata = std::fs::metadata(path)?;
    if !metadata.is_file() {
        return Err(anyhow::Error::msg("it is not a regular file"));
    }
    if metadata.len() > KUBECONFIG {
        return Err(anyhow::Error::msg(format!("it has more than {KUBECONFIG} bytes")));
    }
    Ok(())
}

/// Refuses a user of the kubeconfig at `path` for whom a program would run.
fn refuse_programs(path: &Path, user: &AuthInfo) -> Result<()> {
    let program = match (&user.exec, &user.auth_provider) {
        (Some(exec), _) => exec.command.clone().unwrap_or_default(),
        (None, Some(provider)) => provider.name.clone(),
        (None, None) => return Ok(()),
    };
    let path = path.display().to_string();
    Err(Problem::new(format!("the kubeconfig `{path}` would run a program to log in: `{program}`"))
        .because_of("the configuration file names this kubeconfig, and a checkout may hold both")
        .hint(format!("if you trust that program, pass `--kubeconfig {}`", words::shell_word(&path)))
        .exit(Exit::Usage)
        .into())
}
