//! The verbs. Each reads like the README: read the configuration, resolve,
//! plan, act, wait, report.

pub(crate) mod plan;
mod progress;
mod render;
pub mod start;
pub mod status;
pub mod stop;

use anyhow::Result;
use tokio::signal::unix::{SignalKind, signal};

use crate::config::Selection;
use crate::session::{KEY, Key, Session};
use crate::target::Target;

/// Which environments are meant.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// The one with this key.
    pub key: Option<Key>,
    /// The ones whose key matches.
    pub glob: Option<glob::Pattern>,
    /// The ones on this target.
    pub target: Option<Target>,
}

// === impl Selector ===

impl Selector {
    /// What the configuration and `--glob` select.
    pub fn new(selection: &Selection, glob: Option<glob::Pattern>) -> Self {
        Self {
            key: selection.key.given().filter(|_| glob.is_none()).cloned(),
            glob,
            target: selection.target.clone(),
        }
    }

    /// What the API server can select by.
    fn labels(&self) -> Vec<(&'static str, String)> {
        self.key.iter().map(|key| (KEY, key.label_value())).collect()
    }

    /// The rest: the key itself behind its hash, the pattern, the container.
    fn matches(&self, session: &Session) -> bool {
        let key = &session.identity.key;
        self.key.as_ref().is_none_or(|wanted| wanted == key)
            && self.glob.as_ref().is_none_or(|pattern| pattern.matches(key.as_str()))
            && self.target.as_ref().is_none_or(|target| target.covers(&session.target()))
    }
}

/// Returns once the user, or the system, asks the command to end.
async fn interrupted() -> Result<()> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    tokio::select! {
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
