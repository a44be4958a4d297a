//! The verbs. Each reads like the README: read the configuration, resolve,
//! plan, act, wait, report.

pub mod doctor;
pub mod extend;
mod features;
pub(crate) mod lifetime;
pub(crate) mod plan;
mod preflight;
mod progress;
pub mod rbac;
mod render;
pub(crate) mod rights;
pub mod start;
pub mod status;
pub mod stop;

use anyhow::Result;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cluster::Cluster;
use crate::config::Selection;
use crate::output::Reporter;
use crate::problem::{Exit, Problem};
use crate::session::{KEY, Key, Session};
use crate::workload::Target;

/// Which environments are meant.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// The one with this key.
    pub key: Option<Key>,
    /// The ones whose key matches.
    pub glob: Option<glob::Pattern>,
    /// The ones on this target.
    pub target: Option<Target>,
    /// Those that live, or what is kept of those that failed.
    pub standing: Standing,
}

/// Whether an environment lives, or only tells why its start failed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It lives, or is about to.
    #[default]
    Live,
    /// Its start failed, and its root is kept with the reason.
    Failed,
    /// The one or the other.
    Either,
}

// === impl Selector ===

impl Selector {
    /// What the configuration and `--glob` select.
    pub fn new(selection: &Selection, glob: Option<glob::Pattern>) -> Self {
        Self {
            key: selection.key.given().filter(|_| glob.is_none()).cloned(),
            glob,
            target: selection.target.clone(),
            standing: Standing::Live,
        }
    }

    /// Refuses to stop or extend what nobody named: it would be everything.
    pub fn names_something(&self) -> Result<()> {
        if self.key.is_none() && self.glob.is_none() {
            return Err(crate::config::wrong("no environment is named")
                .hint("pass `--key <key>` or `--glob <pattern>`, or set `MIRRORD_KEY`")
                .into());
        }
        Ok(())
    }

    /// What the API server can select by.
    fn labels(&self) -> Vec<(&'static str, String)> {
        self.key.iter().map(|key| (KEY, key.label_value())).collect()
    }

    /// Whether it is alive, or failed, as was asked for.
    fn wants(&self, session: &Session) -> bool {
        match self.standing {
            Standing::Live => session.failed.is_none(),
            Standing::Failed => session.failed.is_some(),
            Standing::Either => true,
        }
    }

    /// The rest: the key itself behind its hash, the pattern, the container.
    fn matches(&self, session: &Session) -> bool {
        let key = &session.key;
        self.wants(session)
            && self.key.as_ref().is_none_or(|wanted| wanted == key)
            && self.glob.as_ref().is_none_or(|pattern| pattern.matches(key.as_str()))
            && self.target.as_ref().is_none_or(|target| session.is_on(target))
    }
}

/// The step of connecting, which every verb with a story begins with.
async fn connected(selection: &Selection, reporter: &Reporter) -> Result<Cluster> {
    let step = reporter.step("connecting to operator");
    let cluster = Cluster::connect(&selection.connection).await?;
    step.done("connected to operator");
    Ok(cluster)
}

/// Does `work`, unless somebody wishes that the command end.
pub(crate) async fn unless_interrupted<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut interrupts = Interrupts::listen()?;
    tokio::select! {
        done = work => done,
        () = interrupts.next() => Err(Problem::new("interrupted").exit(Exit::Interrupted).into()),
    }
}

/// The wish that the command end: Ctrl-C, a CI job's end, a closed terminal.
/// A wish that comes while nobody listens is kept.
struct Interrupts([Signal; 3]);

// === impl Interrupts ===

impl Interrupts {
    fn listen() -> Result<Self> {
        let [interrupt, terminate, hangup] =
            [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()].map(signal);
        Ok(Self([interrupt?, terminate?, hangup?]))
    }

    /// Returns at the next wish.
    async fn next(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}
