//! The keeper's report of an environment's traffic, in an annotation of the root:
//! `start` waits for it, and `status` shows it.

use serde::{Deserialize, Serialize};

use crate::problem::{Exit, Problem};
use crate::session::Session;
use crate::traffic::{Counts, Mode};

/// The routing of one environment.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Report {
    /// What happens to requests that match.
    pub mode: Mode,
    /// Whether the routes are proven on every ready pod of the target.
    pub ready: bool,
    /// Whether a preview pod was ever ready. From then on matching requests go to the
    /// preview, even while none of its pods is ready.
    pub begun: bool,
    /// The generation of the newest rules, so that the next keeper sends none that are
    /// older.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generation: Option<u64>,
    /// The target's pods that are ready, and so receive requests.
    pub pods: usize,
    /// Those of them whose agent has the current rules.
    pub agents: usize,
    /// Those of them where a canary request reached the right side.
    pub proven: usize,
    /// The methods that the agents capture with, each once.
    pub methods: Vec<String>,
    /// The counts of all agents, past ones included.
    pub counts: Counts,
    /// The counts of agents that are gone.
    pub gone: Counts,
    /// Connections that are older than the capture, and stay with the application.
    pub predating: usize,
    /// What the keeper is waiting for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<String>,
    /// One thing to type or change if that takes too long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// An obstacle that will not go away by itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub obstacle: Option<Obstacle>,
    /// Routes that could not be proven, and other things to know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// An obstacle that keeps requests from the preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Obstacle {
    /// The obstacle, with the words of the program that reported it.
    pub why: String,
    /// One thing to type or change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// Whether a permission is missing, or an admission check refused.
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

    /// A report before anything is known.
    pub fn new(mode: Mode) -> Self {
        Self {
            mode,
            ready: false,
            begun: false,
            generation: None,
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

    /// The report without the counts, which change with every request.
    #[must_use]
    pub fn standing(&self) -> Self {
        Self { counts: Counts::default(), gone: Counts::default(), predating: 0, ..self.clone() }
    }

    /// Requests that were judged: matched or not.
    pub fn seen(&self) -> u64 {
        self.counts.matched + self.counts.mirrored + self.counts.dropped + self.counts.passed
    }

    /// The report as a sentence, for `kubectl describe pod`.
    pub fn in_words(&self) -> String {
        let Self { mode, pods, agents, counts, predating, .. } = self;
        let mut words = format!("{mode}: {agents}/{pods} target pods have an agent");
        if !self.methods.is_empty() {
            words.push_str(&format!(" ({})", self.methods.join(", ")));
        }
        words.push_str(&format!("; {} of {} requests matched", counts.taken(), self.seen()));
        if counts.unavailable > 0 {
            words.push_str(&format!(", and {} of them found no ready preview pod", counts.unavailable));
        }
        if counts.lapses > 0 {
            let times =
                if counts.lapses == 1 { "once".to_owned() } else { format!("{} times", counts.lapses) };
            words.push_str(&format!("; {times} an agent was starved of CPU and new connections bypassed it"));
        }
        if counts.beyond_bounds > 0 {
            words.push_str(&format!(
                "; {} requests that did not match had more headers than a filter looks at",
                counts.beyond_bounds
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
    /// An obstacle without a hint.
    pub(crate) const fn new(why: String) -> Self {
        Self { why, hint: None, is_forbidden: false }
    }

    /// The error that a verb ends with.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_every_count_that_is_not_zero() {
        let mut report = Report { pods: 2, agents: 1, ..Report::new(Mode::Steal) };
        assert_eq!(report.in_words(), "steal: 1/2 target pods have an agent; 0 of 0 requests matched");
        report.methods = vec!["sk_lookup".to_owned()];
        report.counts = Counts {
            matched: 3,
            passed: 9,
            unavailable: 1,
            beyond_bounds: 2,
            lapses: 1,
            ..Counts::default()
        };
        report.predating = 4;
        report.waiting = Some("the agent in pod `b` is being started".to_owned());
        assert_eq!(
            report.in_words(),
            "steal: 1/2 target pods have an agent (sk_lookup); 3 of 12 requests matched, and 1 of them found no ready \
             preview pod; once an agent was starved of CPU and new connections bypassed it; 2 requests that did not match had \
             more headers than a filter looks at; 4 connections are older than the capture; waiting: the agent in pod `b` is being started"
        );
    }
}
