//! `status`: what is there, its pods, its state, and the time it has left.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use anyhow::Result;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use tokio::time::timeout;

use super::progress::{is_keeper, refusal};
use super::render::{self, Copied, Listed};
use super::{Selector, Standing};
use crate::cluster::{Change, Cluster, Scope};
use crate::config::Selection;
use crate::output::format::ListFormat;
use crate::output::{self, Mode, Reporter};
use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::words;
use crate::workload::Target;

/// How long changes that come together are gathered: a start is a dozen.
const TOGETHER: Duration = Duration::from_millis(300);
/// How long they are gathered at most.
const AT_MOST: Duration = Duration::from_secs(2);

/// What to do where nothing was found in the one namespace that could be looked in.
const ELSEWHERE: &str = "if it is in another namespace, pass `-n <namespace>`";

/// How many targets are looked at at once.
const AT_ONCE: usize = 8;

/// How the environments are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// The form.
    pub format: ListFormat,
    /// Once, or again whenever something has changed.
    pub watch: Watch,
}

/// Whether to go on looking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// Look once.
    Once,
    /// Look again whenever something changes, until interrupted.
    Changes,
}

/// Shows the environments that `selector` means.
pub async fn status(
    selection: &Selection,
    selector: &Selector,
    scope: Scope,
    show: Show,
    reporter: &Reporter,
) -> Result<()> {
    let what = "could not show the environments";
    let cluster = Cluster::connect(&selection.connection).await.map_err(|error| error.context(what))?;
    let (listed, looked) = look(&cluster, selector, &scope, show.format.compares(reporter.mode()))
        .await
        .map_err(|error| error.context(what))?;
    if looked != scope {
        output::note(
            reporter.mode(),
            &format!("you may not list every namespace: this is{} alone", looked.in_words()),
        );
    }
    if listed.is_empty() {
        let nothing = nothing(selector, &looked);
        if let (Some(key), Watch::Once) = (&selector.key, show.watch) {
            let failed = Selector { standing: Standing::Failed, ..selector.clone() };
            let hint = if selector.standing == Standing::Live
                && look(&cluster, &failed, &looked, false).await.is_ok_and(|(failed, _)| !failed.is_empty())
            {
                format!(
                    "its start failed: see why with `mirrord preview status --failed --key {}`",
                    words::shell_word(key.as_str())
                )
            } else if looked == scope {
                "see what is there with `mirrord preview status`".to_owned()
            } else {
                ELSEWHERE.to_owned()
            };
            return Err(Problem::new(nothing).hint(hint).exit(Exit::NotFound).into());
        }
        output::note(reporter.mode(), &nothing);
    }
    print(&listed, selector.standing, show.format, &cluster, reporter)?;
    match show.watch {
        Watch::Once => Ok(()),
        Watch::Changes => follow(&cluster, selector, &looked, show.format, listed, reporter).await,
    }
}

impl ListFormat {
    /// Whether the list says what has become of the targets.
    fn compares(self, mode: Mode) -> bool {
        match self {
            Self::Table => mode == Mode::Json,
            Self::Wide | Self::Json | Self::Yaml => true,
            Self::Name => false,
        }
    }
}

/// Looks at the sessions and their pods, and where that is shown at what they
/// were copied from.
async fn look(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    with_targets: bool,
) -> Result<(Vec<Listed>, Scope)> {
    let labels = selector.labels();
    let (found, mut pods) = cluster.at_a_glance(scope, &labels).await?;
    let sessions = found.sessions.into_iter().filter(|session| selector.matches(session));
    let mut listed: Vec<Listed> = sessions
        .map(|session| {
            let pods = pods.remove(session.id.as_str()).unwrap_or_default();
            let (keepers, pods): (Vec<_>, Vec<_>) = pods.into_iter().partition(is_keeper);
            // Of two, the one that lives on.
            let keeper = keepers.into_iter().min_by_key(|pod| pod.metadata.deletion_timestamp.is_some());
            Listed { pods, keeper, refused: None, copy: None, session }
        })
        .collect();
    for one in listed
        .iter_mut()
        .filter(|one| one.pods.is_empty() && !one.session.ending && one.session.failed.is_none())
    {
        let set = cluster.replica_set(&one.session).await;
        one.refused = set.as_ref().and_then(refusal).map(|(why, _)| why);
    }
    if with_targets {
        compare(cluster, &mut listed).await;
    }
    listed.sort_by_key(order);
    Ok((listed, found.scope))
}

/// Compares what was copied with what is there now, each target once.
async fn compare(cluster: &Cluster, listed: &mut [Listed]) {
    let place = |session: &Session| {
        let target: Target = session.target.parse().ok()?;
        session.template.is_some().then(|| (session.namespace.clone(), target.path()))
    };
    let targets: BTreeSet<_> = listed.iter().filter_map(|one| place(&one.session)).collect();
    let digests: BTreeMap<_, _> = stream::iter(targets)
        .map(|(namespace, path)| async move {
            let digest = match path.parse() {
                Ok(target) => cluster.digest(&target, &namespace).await,
                Err(_) => None,
            };
            ((namespace, path), digest)
        })
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    for one in listed {
        let now = place(&one.session).and_then(|place| digests.get(&place)?.as_ref());
        one.copy = now.map(|now| match now {
            None => Copied::Orphaned,
            now if *now == one.session.template => Copied::Current,
            Some(_) => Copied::Outdated,
        });
    }
}

/// Prints the list; an empty one only where a program reads it.
fn print(
    listed: &[Listed],
    standing: Standing,
    format: ListFormat,
    cluster: &Cluster,
    reporter: &Reporter,
) -> Result<()> {
    let for_people = reporter.mode() != Mode::Json && matches!(format, ListFormat::Table | ListFormat::Wide);
    if listed.is_empty() && (for_people || format == ListFormat::Name) {
        return Ok(());
    }
    let now = cluster.clock(Timestamp::now());
    let text = match standing {
        Standing::Failed => render::failed::list(listed, format, now, reporter.mode())?,
        Standing::Live | Standing::Either => render::list(listed, format, now, reporter.mode())?,
    };
    Ok(output::data(&text)?)
}

/// Prints the list again whenever it has changed in more than its times. The
/// cluster is asked only when it has said that something changed.
async fn follow(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    format: ListFormat,
    mut shown: Vec<Listed>,
    reporter: &Reporter,
) -> Result<()> {
    let mut changes = cluster.watch_all(scope, &selector.labels())?;
    while let Some(change) = changes.next().await {
        if let Change::Forbidden(error) = change {
            return Err(error.into_problem("could not watch the environments").into());
        }
        // Where something changes all the time, what has come by then is shown.
        let gathered = async { while let Ok(Some(_)) = timeout(TOGETHER, changes.next()).await {} };
        let _ = timeout(AT_MOST, gathered).await;
        // A cluster that is away for a while says so by the watch, which goes on trying.
        let Ok((listed, _)) = look(cluster, selector, scope, format.compares(reporter.mode())).await else {
            continue;
        };
        let now = cluster.clock(Timestamp::now());
        if render::signature(&listed, now) == render::signature(&shown, now) {
            continue;
        }
        if listed.is_empty() {
            output::note(reporter.mode(), &nothing(selector, scope));
        } else if matches!(format, ListFormat::Table | ListFormat::Wide) && reporter.mode() != Mode::Json {
            output::data("\n")?;
        }
        print(&listed, selector.standing, format, cluster, reporter)?;
        shown = listed;
    }
    Ok(())
}

/// The sessions that are meant, at least one.
pub(super) async fn found(
    cluster: &Cluster,
    selector: &Selector,
    scope: &Scope,
    reporter: &Reporter,
) -> Result<Vec<Session>> {
    let found = cluster.sessions(scope, &selector.labels()).await?;
    if found.scope != *scope {
        reporter
            .warning(&format!("you may not list every namespace: looked{} alone", found.scope.in_words()));
    }
    let sessions: Vec<Session> =
        found.sessions.into_iter().filter(|session| selector.matches(session)).collect();
    if !sessions.is_empty() {
        return Ok(sessions);
    }
    let problem = Problem::new(nothing(selector, &found.scope)).exit(Exit::NotFound);
    let mut keys: Vec<String> = match cluster.sessions(&found.scope, &[]).await {
        Ok(found) => {
            let meant = found.sessions.iter().filter(|session| selector.wants(session));
            meant.map(|session| session.key.to_string()).collect()
        }
        Err(_) => Vec::new(),
    };
    keys.sort();
    keys.dedup();
    Err(if found.scope != *scope {
        problem.hint(ELSEWHERE)
    } else if keys.is_empty() {
        problem.hint("see what is there with `mirrord preview status`")
    } else {
        problem.hint(format!("there is {}", words::quoted_list(&keys)))
    }
    .into())
}

/// Grouped by key, then by where it is.
fn order(one: &Listed) -> (String, String, String, Option<Timestamp>) {
    let session = &one.session;
    (session.key.to_string(), session.namespace.clone(), session.target.clone(), session.created)
}

/// What was looked for and is not there.
pub(super) fn nothing(selector: &Selector, scope: &Scope) -> String {
    let mut what = match selector.standing {
        Standing::Failed => "there is no start that failed".to_owned(),
        Standing::Live | Standing::Either => "there is no environment".to_owned(),
    };
    if let Some(key) = &selector.key {
        what.push_str(&format!(" with key `{key}`"));
    }
    if let Some(pattern) = &selector.glob {
        what.push_str(&format!(" whose key matches `{pattern}`"));
    }
    if let Some(target) = &selector.target {
        what.push_str(&format!(" on `{target}`"));
    }
    match scope {
        Scope::Namespace(_) => what + &scope.in_words(),
        Scope::All => what + " in any namespace",
    }
}
