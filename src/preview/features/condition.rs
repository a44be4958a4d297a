//! Whether the features of an environment work while it starts.

use std::time::Duration;

use crate::preview::plan::Request;
use crate::problem::{Exit, Problem};

/// Whether a feature works.
#[derive(Debug)]
pub(in crate::preview) enum Condition {
    /// It works, with these notes for the user.
    Met(Vec<String>),
    /// It does not work yet.
    Unmet(Unmet),
    /// It will not work.
    Failed(Problem),
}

/// Why a feature does not work yet.
#[derive(Debug)]
pub(in crate::preview) struct Unmet {
    /// What it is waiting for.
    pub(in crate::preview) why: String,
    /// One thing to type or change if that takes too long.
    pub(in crate::preview) hint: Option<String>,
    /// The error if that has taken this time, which is too long.
    pub(in crate::preview) error: fn(&str) -> String,
    /// The exit code if it takes too long.
    pub(in crate::preview) exit: Exit,
    /// How long it may take once all pods are ready, and the setting that says so;
    /// else it counts as part of the creation.
    pub(in crate::preview) limit: Option<(Duration, &'static str)>,
    /// The name of the object whose events may tell the reason.
    pub(in crate::preview) explained_by: Option<String>,
}

// === impl Unmet ===

impl Unmet {
    /// The error if it takes too long, with the last `warning` of the object that may
    /// tell the reason.
    pub(in crate::preview) fn timed_out(self, request: &Request, warning: Option<String>) -> Problem {
        let (limit, longer) = match self.limit {
            Some((limit, setting)) => (limit, format!("a larger `{setting}`")),
            None => (request.creation_timeout, "`--timeout <seconds>`".to_owned()),
        };
        let why = match warning {
            Some(warning) => format!("{}\n{warning}", self.why),
            None => self.why,
        };
        Problem::new((self.error)(&humantime::format_duration(limit).to_string()))
            .because_of(why)
            .exit(self.exit)
            .hint(self.hint.unwrap_or_else(|| format!("wait longer with {longer}")))
    }
}

/// One condition for all features: the first that failed, else the first that is
/// unmet, else all notes; `None` if there is nothing to wait for.
pub(super) fn all(conditions: impl Iterator<Item = Condition>) -> Option<Condition> {
    let (mut unmet, mut notes) = (None, None::<Vec<String>>);
    for condition in conditions {
        match condition {
            Condition::Failed(problem) => return Some(Condition::Failed(problem)),
            Condition::Unmet(one) => unmet = unmet.or(Some(one)),
            Condition::Met(more) => notes.get_or_insert_default().extend(more),
        }
    }
    unmet.map(Condition::Unmet).or(notes.map(Condition::Met))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn met(note: &str) -> Condition {
        Condition::Met(vec![note.to_owned()])
    }

    fn unmet(why: &str) -> Condition {
        let error = |time: &str| format!("nothing was seen within {time}");
        let exit = Exit::NotRouted;
        Condition::Unmet(Unmet {
            why: why.to_owned(),
            hint: None,
            error,
            exit,
            limit: None,
            explained_by: None,
        })
    }

    #[test]
    fn an_environment_is_ready_when_all_its_features_work() {
        assert!(all([].into_iter()).is_none());
        let Some(Condition::Met(notes)) = all([met("a"), met("b")].into_iter()) else { panic!() };
        assert_eq!(notes, ["a", "b"]);
        let Some(Condition::Unmet(one)) = all([met("a"), unmet("b"), unmet("c")].into_iter()) else {
            panic!()
        };
        assert_eq!(one.why, "b");
        let failed = Condition::Failed(Problem::new("no"));
        assert!(matches!(all([unmet("b"), failed, met("a")].into_iter()), Some(Condition::Failed(_))));
    }
}
