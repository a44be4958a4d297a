//! What the keeper last said of an environment's traffic, as an annotation of
//! the root: the one thing that `start` waits for and `status` shows.

use serde::{Deserialize, Serialize};

use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::traffic::{Counts, Mode};

/// How the routing of one environment stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// What happens to requests that match.
    pub mode: Mode,
    /// Whether the routes are proven on every ready pod of the target.
    pub ready: bool,
    /// Whether a preview pod was ever ready: from then on the key's requests
    /// are the preview's, whatever becomes of it.
    pub begun: bool,
    /// The target's pods that are ready, and so get requests.
    pub pods: usize,
    /// Those of them where an agent has the rules in force.
    pub agents: usize,
    /// Those of them where a canary came to the right side.
    pub proven: usize,
    /// How the agents capture, each way once.
    pub methods: Vec<String>,
    /// What happened, over all the agents there were.
    pub counts: Counts,
    /// That part of it that agents counted which are gone.
    pub gone: Counts,
    /// Connections that were there before the capture, and stay the application's.
    pub predating: usize,
    /// What is still waited for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// One thing to type or change if it is waited for in vain.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// What stands in the way and will not go by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    /// What could not be proven, and other things to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What keeps requests from the preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// What, and the words of whoever said so.
    pub why: String,
    /// One thing to type or change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether the cluster did not allow it, rather than did not manage it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub is_forbidden: bool,
}

// === impl Report ===

impl Report {
    /// The report that the root of `session` carries. A report that this version
    /// cannot read counts as none.
    pub fn of(session: &Session) -> Option<Self> {
        serde_json::from_str(session.traffic.as_deref()?).ok()
    }

    /// Nothing is known yet.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ready: false,
            begun: false,
            pods: 0,
            agents: 0,
            proven: 0,
            methods: Vec::new(),
            counts: Counts::default(),
            gone: Counts::default(),
            predating: 0,
            waiting: None,
            hint: None,
            obstacle: None,
            notes: Vec::new(),
        }
    }

    /// The report without what changes with every request.
    #[must_use]
    pub fn standing(&self) -> Self {
        Self { counts: Counts::default(), gone: Counts::default(), predating: 0, ..self.clone() }
    }

    /// Requests of which it is known whose they were.
    pub fn seen(&self) -> u64 {
        self.counts.matched + self.counts.mirrored + self.counts.dropped + self.counts.passed
    }

    /// In a sentence, for `kubectl describe pod`.
    pub fn in_words(&self) -> String {
        let Self { mode, pods, agents, counts, predating, .. } = self;
        let mut words = format!("{mode}: {agents}/{pods} pods of the target have an agent");
        if !self.methods.is_empty() {
            words.push_str(&format!(" ({})", self.methods.join(", ")));
        }
        words.push_str(&format!("; {} of {} requests were for the preview", counts.taken(), self.seen()));
        if counts.unavailable > 0 {
            words.push_str(&format!(", {} of them found none ready", counts.unavailable));
        }
        if counts.lapses > 0 {
            words.push_str(&format!(
                "; {} times an agent got no processor time, and new connections were the application's",
                counts.lapses
            ));
        }
        if *predating > 0 {
            words.push_str(&format!("; {predating} connections are older than the capture"));
        }
        if let Some(Obstacle { why, .. }) = &self.obstacle {
            words.push_str(&format!("; {why}"));
        } else if let Some(waiting) = &self.waiting {
            words.push_str(&format!("; waiting: {waiting}"));
        }
        words
    }
}

impl Default for Report {
    fn default() -> Self {
        Self::new(Mode::Steal)
    }
}

// === impl Obstacle ===

impl Obstacle {
    /// An obstacle, named by what stands in the way.
    pub(crate) const fn new(why: String) -> Self {
        Self { why, hint: None, is_forbidden: false }
    }

    /// As the problem that a verb ends with.
    pub(crate) fn into_problem(self) -> Problem {
        let exit = if self.is_forbidden { Exit::NotAllowed } else { Exit::NotRouted };
        let problem = Problem::new("requests do not come to the preview").because_of(self.why).exit(exit);
        match self.hint {
            Some(hint) => problem.hint(hint),
            None => problem,
        }
    }

    /// Adds one thing to type or change.
    pub(crate) fn hint(mut self, hint: &str) -> Self {
        self.hint = Some(hint.to_owned());
        self
    }
}
