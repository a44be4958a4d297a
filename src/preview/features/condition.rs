//! The conditions of a start: one for each part of the environment that has to work.
//! An environment is ready when all of them are met.

use std::time::Duration;

use jiff::Timestamp;

use crate::preview::plan::Request;
use crate::preview::progress::Crash;
use crate::problem::{Exit, Problem};

/// Whether one part of an environment works.
#[derive(Debug)]
pub(in crate::preview) struct Condition {
    /// The part, in one word.
    pub(in crate::preview) name: &'static str,
    /// Whether it works.
    pub(in crate::preview) state: State,
    /// The reason if it does not; empty if it does.
    pub(in crate::preview) why: String,
}

/// The state of a [`Condition`].
#[derive(Debug)]
pub(in crate::preview) enum State {
    /// The part works.
    Met {
        /// Since this instant of the cluster's clock.
        since: Timestamp,
        /// Notes for the user.
        notes: Vec<String>,
    },
    /// It does not work yet.
    Unmet(WaitLimit),
    /// It will not work.
    Failed(Failed),
}

/// How long a part may take, and the error if it takes longer.
#[derive(Debug)]
pub(in crate::preview) struct WaitLimit {
    /// One thing to type or change if it takes too long; else to wait longer.
    pub(in crate::preview) hint: Option<String>,
    /// The error if it takes longer than a time limit.
    pub(in crate::preview) error: fn(&str) -> String,
    /// The exit code if it takes too long.
    pub(in crate::preview) exit: Exit,
    /// How long it may take while nothing before it is unmet, and the setting that says
    /// so; else it counts as part of the creation.
    pub(in crate::preview) limit: Option<(Duration, &'static str)>,
    /// The names of the objects whose events may tell the reason.
    pub(in crate::preview) explained_by: Vec<String>,
}

/// A part that will not work.
#[derive(Debug)]
pub(in crate::preview) struct Failed {
    /// The error of the start.
    pub(in crate::preview) problem: Problem,
    /// The crash, if a container crashed.
    pub(in crate::preview) crash: Option<Crash>,
}

/// What the conditions of an environment mean together.
#[derive(Debug)]
pub(in crate::preview) enum Readiness {
    /// All are met.
    Ready {
        /// The latest instant of all.
        since: Timestamp,
        /// Notes for the user.
        notes: Vec<String>,
    },
    /// The start waits for this condition.
    Waiting {
        /// Its name.
        name: &'static str,
        /// The reason.
        why: String,
        /// How long it may take.
        patience: WaitLimit,
    },
    /// The start has failed because of this condition.
    Failed {
        /// The reason.
        why: String,
        /// The error.
        failed: Failed,
    },
}

// === impl WaitLimit ===

impl WaitLimit {
    /// The error if it takes too long because of `why`, with the last `warning` of the
    /// objects that may tell the reason.
    pub(in crate::preview) fn timed_out(
        self,
        request: &Request,
        why: String,
        warning: Option<String>,
    ) -> Problem {
        let (limit, longer) = match self.limit {
            Some((limit, setting)) => (limit, format!("a larger `{setting}`")),
            None => (request.creation_timeout, "`--timeout <seconds>`".to_owned()),
        };
        let why = match warning {
            Some(warning) if !why.contains(&warning) => format!("{why}\n{warning}"),
            Some(_) | None => why,
        };
        Problem::new((self.error)(&humantime::format_duration(limit).to_string()))
            .because_of(why)
            .exit(self.exit)
            .hint(self.hint.unwrap_or_else(|| format!("wait longer with {longer}")))
    }
}

/// Joins the conditions: the first that failed decides, else the first that is unmet.
pub(super) fn joined(conditions: impl Iterator<Item = Condition>) -> Readiness {
    let (mut waiting, mut all_notes, mut latest) = (None, Vec::new(), Timestamp::MIN);
    for Condition { name, state, why } in conditions {
        match state {
            State::Failed(failed) => return Readiness::Failed { why, failed },
            State::Unmet(patience) => {
                waiting = waiting.or(Some(Readiness::Waiting { name, why, patience }));
            }
            State::Met { since, notes } => {
                all_notes.extend(notes);
                latest = latest.max(since);
            }
        }
    }
    waiting.unwrap_or(Readiness::Ready { since: latest, notes: all_notes })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn condition(why: &str, state: State) -> Condition {
        Condition { name: "part", state, why: why.to_owned() }
    }

    fn met(note: &str, since: i64) -> Condition {
        let since = Timestamp::from_second(since).unwrap();
        condition("", State::Met { since, notes: vec![note.to_owned()] })
    }

    fn unmet(why: &str) -> Condition {
        let error = |time: &str| format!("nothing was seen within {time}");
        let exit = Exit::NotRouted;
        condition(
            why,
            State::Unmet(WaitLimit { hint: None, error, exit, limit: None, explained_by: Vec::new() }),
        )
    }

    #[test]
    fn an_environment_is_ready_when_all_its_conditions_are_met() {
        let ready = |conditions: Vec<Condition>| match joined(conditions.into_iter()) {
            Readiness::Ready { since, notes } => (since.as_second(), notes.join(" ")),
            other => panic!("{other:?}"),
        };
        assert_eq!(ready(vec![met("a", 7), met("b", 5)]), (7, "a b".to_owned()));
        let conditions = [met("a", 1), unmet("b"), unmet("c")];
        let Readiness::Waiting { why, .. } = joined(conditions.into_iter()) else { panic!() };
        assert_eq!(why, "b");
        let failed = || State::Failed(Failed { problem: Problem::new("no"), crash: None });
        let conditions = [unmet("b"), condition("d", failed()), met("a", 1)];
        let Readiness::Failed { why, .. } = joined(conditions.into_iter()) else { panic!() };
        assert_eq!(why, "d");
    }
}
