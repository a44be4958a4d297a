//! `status`: lists environments, their pods, their state and their remaining time.

mod look;

use std::time::Duration;

use anyhow::Result;
use futures::StreamExt as _;
use jiff::Timestamp;
use tokio::time::timeout;

use self::look::look;
use super::find::{ELSEWHERE, LIST_ALL};
use super::listed::Listed;
use super::render::{self, View};
use super::{Selector, Standing};
use crate::cluster::{Change, Cluster, Scope};
use crate::config::Selection;
use crate::connection::Purpose;
use crate::output::format::ListFormat;
use crate::output::{self, ProgressMode, Reporter};
use crate::problem::{Exit, Problem};
use crate::session::Key;
use crate::words;

/// How long the list waits for further changes: a start makes a dozen at once.
const QUIET: Duration = Duration::from_millis(300);
/// How long it waits at most, if changes never stop.
const AT_MOST: Duration = Duration::from_secs(2);

/// How the environments are shown.
#[derive(Clone, Copy, Debug)]
pub struct Show {
    /// The form.
    pub format: ListFormat,
    /// Once, or again after each change.
    pub watch: Watch,
}

/// Whether to keep listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watch {
    /// List once.
    Once,
    /// List again after each change, until interrupted.
    Changes,
}

/// The list that a command asked for.
struct StatusList<'a> {
    cluster: &'a Cluster,
    selector: &'a Selector,
    format: ListFormat,
    reporter: &'a Reporter,
}

/// Lists the environments that match `selector`.
///
/// # Errors
///
/// `NotFound` if the selector has a key and there is no environment with it.
pub async fn status(
    selection: &Selection,
    selector: &Selector,
    scope: Scope,
    show: Show,
    reporter: &Reporter,
) -> Result<()> {
    let what = "could not show the environments";
    let cluster =
        Cluster::connect(&selection.connection, Purpose::Look).await.map_err(|error| error.context(what))?;
    let list = StatusList { cluster: &cluster, selector, format: show.format, reporter };
    let (listed, searched) = list.look(&scope).await.map_err(|error| error.context(what))?;
    if searched != scope {
        let warning =
            format!("you may not list every namespace: showing environments{} only", searched.in_words());
        output::note(reporter.mode(), &warning);
    }
    if listed.is_empty() {
        let nothing = selector.nothing_in(&searched);
        if let (Some(key), Watch::Once) = (&selector.key, show.watch) {
            let hint = list.hint_for(key, &scope, &searched).await;
            return Err(Problem::new(nothing).hint(hint).exit(Exit::NotFound).into());
        }
        output::note(reporter.mode(), &nothing);
    }
    list.print(&listed)?;
    match show.watch {
        Watch::Once => Ok(()),
        Watch::Changes => list.follow(&searched, listed).await,
    }
}

// === impl StatusList ===

impl StatusList<'_> {
    /// Reads the environments, and the scope that was searched.
    async fn look(&self, scope: &Scope) -> Result<(Vec<Listed>, Scope)> {
        let compare = compares_targets(self.format, self.reporter.mode());
        look(self.cluster, self.selector, scope, compare).await
    }

    /// What to do if there is no environment with `key`.
    async fn hint_for(&self, key: &Key, scope: &Scope, searched: &Scope) -> String {
        let failed = Selector { standing: Standing::Failed, ..self.selector.clone() };
        let has_failed = self.selector.standing == Standing::Live
            && look(self.cluster, &failed, searched, false).await.is_ok_and(|(failed, _)| !failed.is_empty());
        if has_failed {
            let key = words::key_option(key.as_str());
            format!("its start failed: see why with `mirrord preview status --failed {key}`")
        } else if searched == scope {
            LIST_ALL.to_owned()
        } else {
            ELSEWHERE.to_owned()
        }
    }

    /// Prints the list. An empty list is printed only for programs.
    fn print(&self, listed: &[Listed]) -> Result<()> {
        let mode = self.reporter.mode();
        if listed.is_empty() && (self.is_for_people() || self.format == ListFormat::Name) {
            return Ok(());
        }
        let view = View { format: self.format, now: self.cluster.clock(Timestamp::now()) };
        let text = match self.selector.standing {
            Standing::Failed => render::failed::list(listed, &view, mode)?,
            Standing::Live | Standing::Either => render::list(listed, &view, mode)?,
        };
        Ok(output::data(&text)?)
    }

    fn is_for_people(&self) -> bool {
        self.reporter.mode() != ProgressMode::Json
            && matches!(self.format, ListFormat::Table | ListFormat::Wide)
    }

    /// Prints the list again when more of it has changed than the times. Only a
    /// change in the cluster makes it look again.
    async fn follow(&self, scope: &Scope, mut shown: Vec<Listed>) -> Result<()> {
        let mut changes = self.cluster.watch_all(scope, &self.selector.labels())?;
        while let Some(change) = changes.next().await {
            if let Change::Forbidden(error) = change {
                return Err(error.into_problem("could not watch the environments").into());
            }
            let gathered = async { while let Ok(Some(_)) = timeout(QUIET, changes.next()).await {} };
            let _ = timeout(AT_MOST, gathered).await;
            // The watch reports a cluster that does not answer, and tries again.
            let Ok((listed, _)) = self.look(scope).await else { continue };
            let now = self.cluster.clock(Timestamp::now());
            if render::signature(&listed, now) == render::signature(&shown, now) {
                continue;
            }
            if listed.is_empty() {
                output::note(self.reporter.mode(), &self.selector.nothing_in(scope));
            } else if self.is_for_people() {
                output::data("\n")?;
            }
            self.print(&listed)?;
            shown = listed;
        }
        Ok(())
    }
}

/// Whether a form of the list shows how the targets compare with their copies.
fn compares_targets(format: ListFormat, mode: ProgressMode) -> bool {
    match format {
        ListFormat::Table => mode == ProgressMode::Json,
        ListFormat::Wide | ListFormat::Json | ListFormat::Yaml => true,
        ListFormat::Name => false,
    }
}
