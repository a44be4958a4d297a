//! Errors as values, in the order a reader needs them: what could not be done,
//! why, and one thing to type next. `output` prints them.

use std::fmt;

/// The exit codes, which scripts rely on; `docs/output.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Any failure without a code of its own.
    Failed = 1,
    /// The command line or the configuration is wrong, or asks for something
    /// impossible; nothing was created.
    Usage = 2,
    /// The target or the environment does not exist.
    NotFound = 3,
    /// The cluster denied a request for lack of permissions.
    NotAllowed = 4,
    /// The environment was not ready in time.
    TimedOut = 5,
    /// The preview pod failed: image, crash or probe.
    PreviewFailed = 6,
    /// No proof that requests reach the preview.
    NotRouted = 7,
    /// A bug in mirrord.
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

/// One line of an error, with its hint and exit code.
///
/// It travels inside [`anyhow::Error`] and holds its cause itself, because an
/// anyhow context cannot be found again below another one.
#[derive(Debug)]
pub struct Problem {
    what: String,
    hint: Option<String>,
    exit: Option<Exit>,
    cause: Option<anyhow::Error>,
    stored: Option<String>,
}

/// Puts the error of a `Result` under a [`Problem`].
pub trait Explain<T> {
    /// Puts `problem` above the error.
    fn explain(self, problem: impl FnOnce() -> Problem) -> anyhow::Result<T>;
}

// === impl Problem ===

impl Problem {
    /// A problem named by `what`: "could not …", lower case, no full stop.
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into(), hint: None, exit: None, cause: None, stored: None }
    }

    /// Adds the error that caused this problem.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds the cause in words, where there is no error value.
    #[must_use]
    pub fn because_of(self, why: impl Into<String>) -> Self {
        self.because(anyhow::Error::msg(why.into()))
    }

    /// Sets the text that objects of the cluster may store, where the problem itself
    /// quotes the user's program, whose output may hold secrets. An empty text leaves
    /// the problem out.
    #[must_use]
    pub fn stored_as(mut self, text: impl Into<String>) -> Self {
        self.stored = Some(text.into());
        self
    }

    /// Adds one thing the user can type or change.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Sets the exit code; the outermost problem that has one decides.
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
pub struct ErrorReport {
    /// What could not be done.
    pub what: String,
    /// The causes, outermost first, the server's own words last.
    pub causes: Vec<String>,
    /// One thing to type next.
    pub hint: Option<String>,
    /// The exit code of the process.
    pub exit: Exit,
}

// === impl ErrorReport ===

impl ErrorReport {
    /// Reads the chain of an error, whose [`Problem`]s may sit at any depth.
    ///
    /// The innermost hint wins, because the code there knew most; the outermost
    /// exit code wins, because the verb chose it.
    pub fn of(error: &anyhow::Error) -> Self {
        let problems = || error.chain().filter_map(|cause| cause.downcast_ref::<Problem>());
        let mut lines = lines(error, ToString::to_string);
        let what = lines.remove(0);
        Self {
            what,
            causes: lines,
            hint: problems().filter_map(|problem| problem.hint.clone()).last(),
            exit: problems().find_map(|problem| problem.exit).unwrap_or(Exit::Failed),
        }
    }
}

/// The causes of an error for an object of the cluster, outermost first, without the
/// output of the user's program: see [`Problem::stored_as`].
pub fn stored_causes(error: &anyhow::Error) -> Vec<String> {
    let mut lines = lines(error, |cause| {
        let stored = cause.downcast_ref::<Problem>().and_then(|problem| problem.stored.clone());
        stored.unwrap_or_else(|| cause.to_string())
    });
    lines.remove(0);
    lines.retain(|line| !line.is_empty());
    lines
}

/// The chain of an error, one text for each cause.
fn lines(error: &anyhow::Error, text: impl Fn(&(dyn std::error::Error + 'static)) -> String) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for cause in error.chain() {
        let line = text(cause);
        // Libraries often repeat their source in their own message.
        if !lines.last().is_some_and(|last| last.ends_with(&line)) {
            lines.push(line);
        }
    }
    lines
}

impl fmt::Display for ErrorReport {
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

/// Indents the further lines of a cause, for example the tail of a log.
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
        let report = ErrorReport::of(&error);
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
        let report = ErrorReport::of(&Outer(std::io::Error::other("refused")).into());
        assert_eq!(report.causes, Vec::<String>::new());
        assert_eq!(report.what, "request failed: refused");
    }
}
