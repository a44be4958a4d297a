//! Which environments a command is about.

use anyhow::Result;

use crate::cluster::Scope;
use crate::config::{Selection, wrong};
use crate::session::{KEY, Key, Session};
use crate::workload::Target;

/// The conditions that an environment has to meet.
#[derive(Clone, Debug, Default)]
pub struct Selector {
    /// It has this key.
    pub key: Option<Key>,
    /// Its key matches this pattern.
    pub glob: Option<glob::Pattern>,
    /// It is on this target.
    pub target: Option<Target>,
    /// It lives, or its start failed.
    pub standing: Standing,
}

/// Whether an environment lives, or is only the record of a failed start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Standing {
    /// It lives, or is being created.
    #[default]
    Live,
    /// Its start failed, and its root is kept with the reason.
    Failed,
    /// Both.
    Either,
}

// === impl Selector ===

impl Selector {
    /// The conditions of the configuration, and of `--glob`.
    pub fn new(selection: &Selection, glob: Option<glob::Pattern>) -> Self {
        Self {
            key: selection.key.given().filter(|_| glob.is_none()).cloned(),
            glob,
            target: selection.target.clone(),
            standing: Standing::Live,
        }
    }

    /// Checks that there is a key or a pattern: `stop` and `extend` would
    /// otherwise act on every environment.
    ///
    /// # Errors
    ///
    /// `Usage` if there is neither.
    pub fn names_something(&self) -> Result<()> {
        if self.key.is_none() && self.glob.is_none() {
            return Err(wrong("no environment is named")
                .hint("pass `--key <key>` or `--glob <pattern>`, or set `MIRRORD_KEY`")
                .into());
        }
        Ok(())
    }

    /// The conditions that the API server can check.
    pub(super) fn labels(&self) -> Vec<(&'static str, String)> {
        self.key.iter().map(|key| (KEY, key.label_value())).collect()
    }

    /// Whether it lives, or has failed, as asked.
    pub(super) fn wants(&self, session: &Session) -> bool {
        match self.standing {
            Standing::Live => session.failed.is_none(),
            Standing::Failed => session.failed.is_some(),
            Standing::Either => true,
        }
    }

    /// Whether a session meets every condition. The label of a key may be a hash,
    /// so the key itself is compared too.
    pub(super) fn matches(&self, session: &Session) -> bool {
        let key = &session.key;
        self.wants(session)
            && self.key.as_ref().is_none_or(|wanted| wanted == key)
            && self.glob.as_ref().is_none_or(|pattern| pattern.matches(key.as_str()))
            && self.target.as_ref().is_none_or(|target| session.is_on(target))
    }

    /// The sentence for an empty result in `scope`.
    pub(super) fn nothing_in(&self, scope: &Scope) -> String {
        let mut sentence = match self.standing {
            Standing::Failed => "there is no failed start".to_owned(),
            Standing::Live | Standing::Either => "there is no environment".to_owned(),
        };
        if let Some(key) = &self.key {
            sentence.push_str(&format!(" with key `{key}`"));
        }
        if let Some(pattern) = &self.glob {
            sentence.push_str(&format!(" whose key matches `{pattern}`"));
        }
        if let Some(target) = &self.target {
            sentence.push_str(&format!(" on `{target}`"));
        }
        match scope {
            Scope::Namespace(_) => sentence + &scope.in_words(),
            Scope::All => sentence + " in any namespace",
        }
    }
}
