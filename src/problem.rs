//! What went wrong, in the order a reader needs it: what could not be done,
//! why, and one thing to type next. Values only; `output` prints them.

use std::fmt;

/// The exit codes that scripts rely on; `docs/output.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// It could not be done.
    Failed = 1,
    /// The command line or the configuration is wrong, or asks for what cannot
    /// be; nothing was created.
    Usage = 2,
    /// The target, or the environment to stop, does not exist.
    NotFound = 3,
    /// The cluster did not allow it.
    NotAllowed = 4,
    /// It was not ready in the time given.
    TimedOut = 5,
    /// The preview pod itself failed: image, crash, probe.
    PreviewFailed = 6,
    /// Routing could not be proven.
    NotRouted = 7,
    /// A bug of ours.
    Bug = 70,
    /// Interrupted by the user.
    Interrupted = 130,
}

// === impl Exit ===

impl From<Exit> for i32 {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// One thing that could not be done: the outermost line of an error.
///
/// It travels inside [`anyhow::Error`], and holds its cause itself: an anyhow
/// context could not be found again below another one.
#[derive(Debug)]
pub struct Problem {
    what: String,
    hint: Option<String>,
    exit: Option<Exit>,
    cause: Option<anyhow::Error>,
}

/// Gives the error of a `Result` its place under a [`Problem`].
pub trait Explain<T> {
    /// Puts `problem` above the error.
    fn explain(self, problem: impl FnOnce() -> Problem) -> anyhow::Result<T>;
}

// === impl Problem ===

impl Problem {
    /// A problem named by `what`: "could not …", lower case, no full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, exit: None, cause: None }
    }

    /// Says why: the error that led to this problem.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Says why in words, where there is no error to pass on.
    #[must_use]
    pub fn because_of(self, why: impl Into<String>) -> Self {
        self.because(anyhow::Error::msg(why.into()))
    }

    /// Adds one thing the user can type or change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Says how the process ends; the outermost problem that says so decides.
    #[must_use]
    pub fn exit(mut self, exit: Exit) -> Self {
        self.exit = Some(exit);
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.what)
    }
}

impl std::error::Error for Problem {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.cause.as_ref().map(|cause| -> &(dyn std::error::Error + 'static) { cause.as_ref() })
    }
}

// === impl Explain ===

impl<T, E: Into<anyhow::Error>> Explain<T> for Result<T, E> {
    fn explain(self, problem: impl FnOnce() -> Problem) -> anyhow::Result<T> {
        self.map_err(|error| problem().because(error).into())
    }
}

/// An error laid out for a reader.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    /// What could not be done.
    pub what: String,
    /// The causes, outermost first, the server's own words last.
    pub causes: Vec<String>,
    /// One thing to type next.
    pub hint: Option<String>,
    /// The exit code of the process.
    pub exit: Exit,
}

// === impl Report ===

impl Report {
    /// Reads the chain of an error, whose [`Problem`]s may sit at any depth.
    ///
    /// The innermost hint wins, because it was written where most was known;
    /// the outermost exit code wins, because it was chosen by the verb.
    pub fn of(error: &anyhow::Error) -> Self {
        let problems = || error.chain().filter_map(|cause| cause.downcast_ref::<Problem>());
        let mut lines: Vec<String> = Vec::new();
        for cause in error.chain() {
            let line = cause.to_string();
            // Libraries often repeat their source in their own message.
            if !lines.last().is_some_and(|last| last.ends_with(&line)) {
                lines.push(line);
            }
        }
        let what = lines.remove(0);
        Self {
            what,
            causes: lines,
            hint: problems().filter_map(|problem| problem.hint.clone()).last(),
            exit: problems().find_map(|problem| problem.exit).unwrap_or(Exit::Failed),
        }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "error: {}", self.what)?;
        for cause in &self.causes {
            write!(formatter, "\n  caused by: {}", indented(cause))?;
        }
        if let Some(hint) = &self.hint {
            write!(formatter, "\n  hint: {}", indented(hint))?;
        }
        Ok(())
    }
}

/// Keeps the further lines of a cause (a log's tail) under its first.
fn indented(text: &str) -> String {
    text.trim_end().replace('\n', "\n    ")
}

#[cfg(test)]
mod tests {
    use anyhow::Context as _;

    use super::*;

    #[test]
    fn a_problem_below_other_context_still_gives_hint_and_exit_code() {
        let error = Err::<(), _>(std::io::Error::other("deployments.apps \"cart\" not found"))
            .explain(|| {
                Problem::new("could not find `deployment/cart` in namespace `shop`")
                    .hint("run `kubectl get deployments -n shop`")
                    .exit(Exit::NotFound)
            })
            .context("could not start the preview")
            .unwrap_err();
        let report = Report::of(&error);
        assert_eq!(report.exit, Exit::NotFound);
        assert_eq!(
            report.to_string(),
            "error: could not start the preview\n  \
             caused by: could not find `deployment/cart` in namespace `shop`\n  \
             caused by: deployments.apps \"cart\" not found\n  \
             hint: run `kubectl get deployments -n shop`"
        );
    }

    #[test]
    fn a_cause_repeated_by_its_parent_is_printed_once() {
        #[derive(Debug)]
        struct Outer(std::io::Error);
        impl fmt::Display for Outer {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "request failed: {}", self.0)
            }
        }
        impl std::error::Error for Outer {
            fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
                Some(&self.0)
            }
        }
        let report = Report::of(&Outer(std::io::Error::other("refused")).into());
        assert_eq!(report.causes, Vec::<String>::new());
        assert_eq!(report.what, "request failed: refused");
    }
}
