//! The only writer of the command line. Progress and problems go to standard
//! error, data to standard output; callers decide what to write.
//!
//! Progress has four modes (`MIRRORD_PROGRESS_MODE`): a tree with spinners on a
//! terminal, plain lines, JSON lines for programs, or off.

pub mod format;
mod json;
pub mod log;
mod plain;
mod spinner;
pub mod table;
mod visible;

use std::borrow::Cow;
use std::io::{self, IsTerminal as _, Write as _};
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use crate::problem::ErrorReport;

/// How progress is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProgressMode {
    /// A tree with spinners, for a terminal.
    Standard,
    /// Lines of text.
    Plain,
    /// One JSON object a line, on both streams.
    Json,
    /// Data and problems only.
    Off,
}

/// The terminal that standard error may be connected to.
#[derive(Clone, Copy, Debug, Default)]
pub struct Terminal {
    /// Whether standard error is a terminal that can move its cursor.
    pub is_one: bool,
    /// Whether a person is likely to look at it: it is a terminal, and not a CI job's.
    pub interactive: bool,
}

/// One progress mode.
trait Writer: Send {
    /// A task begins; the root has no parent.
    fn begin(&mut self, name: &str, parent: Option<&str>);
    /// The task waits for something else now.
    fn update(&mut self, name: &str, message: &str);
    /// The task has ended.
    fn finish(&mut self, name: &str, outcome: Outcome, message: Option<&str>);
    /// Something the user should know.
    fn warning(&mut self, message: &str);
    /// The results of a finished command, as `name: value` lines under the root
    /// task.
    fn info(&mut self, root: &str, lines: &[String]);
    /// The error that ended the command; nothing is written after it.
    fn problem(&mut self, report: &ErrorReport);
    /// Runs `print`, which writes to standard output: perhaps to the same screen.
    fn aside(&mut self, print: &mut dyn FnMut()) {
        print();
    }
    /// Writes the lines that were held back until the end.
    fn close(&mut self) {}
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Success,
    Failure,
}

/// Reports the progress of one command.
#[derive(Clone)]
pub struct Reporter {
    mode: ProgressMode,
    root: &'static str,
    writer: Arc<Mutex<Box<dyn Writer>>>,
}

/// A step of a command; dropped without [`Step::done`], it has failed.
pub struct Step {
    reporter: Reporter,
    name: &'static str,
    done: bool,
}

// === impl ProgressMode ===

impl FromStr for ProgressMode {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "standard" | "std" => Ok(Self::Standard),
            "simple" | "dumb" => Ok(Self::Plain),
            "json" => Ok(Self::Json),
            "off" => Ok(Self::Off),
            _ => Err("it must be `standard`, `simple`, `json` or `off`".to_owned()),
        }
    }
}

impl ProgressMode {
    /// The mode to use: `chosen`, or the default for this terminal. Without a
    /// terminal the spinners' library writes nothing, so plain lines replace them.
    pub fn fitting(chosen: Option<Self>, terminal: Terminal) -> Self {
        match chosen {
            Some(Self::Standard) if !terminal.is_one => Self::Plain,
            Some(chosen) => chosen,
            None if terminal.interactive => Self::Standard,
            None => Self::Plain,
        }
    }
}

impl ProgressMode {
    /// `text` as this mode shows it: JSON escapes by itself, the others show control
    /// characters as escapes.
    fn shown(self, text: &str) -> Cow<'_, str> {
        if self == Self::Json { Cow::Borrowed(text) } else { visible::text(text) }
    }
}

// === impl Terminal ===

impl Terminal {
    /// Reads standard error, and the variables `TERM` and `CI`.
    pub fn of_process(term: Option<&str>, ci: Option<&str>) -> Self {
        Self::of(io::stderr().is_terminal(), term, ci)
    }

    /// A terminal without a `TERM` counts as none: the spinners' library writes
    /// nothing there, because it cannot know whether the cursor moves.
    fn of(is_terminal: bool, term: Option<&str>, ci: Option<&str>) -> Self {
        let is_one = is_terminal && term.is_some_and(|term| term != "dumb");
        Self { is_one, interactive: is_one && ci.is_none_or(|ci| ci == "false") }
    }
}

// === impl Reporter ===

impl Reporter {
    /// Begins the task tree of the command named `root`.
    pub fn new(mode: ProgressMode, root: &'static str) -> Self {
        let mut writer: Box<dyn Writer> = match mode {
            ProgressMode::Standard => Box::new(spinner::Spinner::default()),
            ProgressMode::Plain => Box::new(plain::Plain::default()),
            ProgressMode::Json => Box::new(json::Json::default()),
            ProgressMode::Off => Box::new(Silent { mode }),
        };
        writer.begin(root, None);
        Self { mode, root, writer: Arc::new(Mutex::new(writer)) }
    }

    /// Writes problems and warnings only: for commands that print data.
    pub fn quiet(mode: ProgressMode) -> Self {
        let writer: Box<dyn Writer> = Box::new(Silent { mode });
        Self { mode, root: "", writer: Arc::new(Mutex::new(writer)) }
    }

    /// The progress mode; in [`ProgressMode::Json`], data is printed as JSON too.
    pub fn mode(&self) -> ProgressMode {
        self.mode
    }

    /// Begins a step.
    pub fn step(&self, name: &'static str) -> Step {
        self.with(|writer| writer.begin(name, Some(self.root)));
        Step { reporter: self.clone(), name, done: false }
    }

    /// Writes a warning.
    pub fn warning(&self, message: &str) {
        self.with(|writer| writer.warning(&self.mode.shown(message)));
    }

    /// Writes several warnings.
    pub fn warnings(&self, messages: &[String]) {
        for message in messages {
            self.warning(message);
        }
    }

    /// Writes data to standard output without tearing the progress tree.
    ///
    /// Fails with a broken pipe once nothing reads standard output.
    pub fn data(&self, text: &str) -> io::Result<()> {
        let mut written = Ok(());
        self.with(|writer| writer.aside(&mut || written = data(text)));
        written
    }

    /// Finishes successfully, with results as `name: value` lines.
    pub fn success(&self, lines: &[String]) {
        self.with(|writer| {
            writer.finish(self.root, Outcome::Success, None);
            let lines: Vec<String> = lines.iter().map(|line| self.mode.shown(line).into_owned()).collect();
            writer.info(self.root, &lines);
            writer.close();
        });
    }

    /// Finishes with a problem.
    pub fn problem(&self, report: &ErrorReport) {
        self.with(|writer| {
            writer.finish(self.root, Outcome::Failure, Some(&report.to_string()));
            writer.close();
            writer.problem(report);
        });
    }

    fn with(&self, write: impl FnOnce(&mut dyn Writer)) {
        write(self.writer.lock().unwrap_or_else(PoisonError::into_inner).as_mut());
    }
}

// === impl Step ===

impl Step {
    /// Writes what the step waits for.
    pub fn update(&self, message: &str) {
        let message = self.reporter.mode.shown(message);
        self.reporter.with(|writer| writer.update(self.name, &message));
    }

    /// Finishes the step as failed, with the reason.
    pub fn failed(mut self, message: &str) {
        self.done = true;
        let message = self.reporter.mode.shown(message);
        self.reporter.with(|writer| writer.finish(self.name, Outcome::Failure, Some(&message)));
    }

    /// Finishes the step successfully.
    pub fn done(mut self, message: &str) {
        self.done = true;
        let message = self.reporter.mode.shown(message);
        self.reporter.with(|writer| writer.finish(self.name, Outcome::Success, Some(&message)));
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.done {
            self.reporter.with(|writer| writer.finish(self.name, Outcome::Failure, None));
        }
    }
}

/// Writes problems and warnings, and no progress.
struct Silent {
    mode: ProgressMode,
}

// === impl Silent ===

impl Writer for Silent {
    fn begin(&mut self, _: &str, _: Option<&str>) {}
    fn update(&mut self, _: &str, _: &str) {}
    fn finish(&mut self, _: &str, _: Outcome, _: Option<&str>) {}
    fn warning(&mut self, message: &str) {
        match self.mode {
            ProgressMode::Off => {}
            ProgressMode::Json => json::message("Warning", message),
            ProgressMode::Standard | ProgressMode::Plain => to_stderr(&format!("! {message}")),
        }
    }
    fn info(&mut self, _: &str, _: &[String]) {}
    fn problem(&mut self, report: &ErrorReport) {
        problem(self.mode, report);
    }
}

/// Writes data to standard output.
///
/// Fails with a broken pipe once nothing reads it.
pub fn data(text: &str) -> io::Result<()> {
    let mut stdout = io::stdout().lock();
    stdout.write_all(text.as_bytes())?;
    if !text.is_empty() && !text.ends_with('\n') {
        stdout.write_all(b"\n")?;
    }
    stdout.flush()
}

/// Writes texts to standard output, one on each line.
pub fn lines(texts: &[String]) -> io::Result<()> {
    let lines: Vec<_> = texts.iter().map(|text| visible::line(text)).collect();
    data(&lines.join("\n"))
}

/// Writes a sentence to standard error, outside any task.
pub fn note(mode: ProgressMode, message: &str) {
    match mode {
        ProgressMode::Json => json::message("Info", message),
        ProgressMode::Off => {}
        ProgressMode::Standard | ProgressMode::Plain => to_stderr(&visible::text(message)),
    }
}

/// Writes a problem of the command line itself, before any task has begun.
pub fn problem(mode: ProgressMode, report: &ErrorReport) {
    match mode {
        ProgressMode::Json => {
            let mut json = json::Json::default();
            json.finish(crate::session::MIRRORD, Outcome::Failure, Some(&report.to_string()));
        }
        ProgressMode::Standard | ProgressMode::Plain | ProgressMode::Off => {
            to_stderr(&visible::text(&report.to_string()));
        }
    }
}

/// Writes the usage in JSON mode, for a command line that lacks an argument.
pub fn usage(text: &str) {
    json::Json::default().finish(crate::session::MIRRORD, Outcome::Failure, Some(text));
}

/// Writes a line to standard error. A failure to do so cannot be reported anywhere.
fn to_stderr(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spinners_are_used_on_an_interactive_terminal_only() {
        for (is_terminal, term, ci, unchosen, chosen) in [
            (true, Some("xterm"), None, ProgressMode::Standard, ProgressMode::Standard),
            (true, Some("xterm"), Some("false"), ProgressMode::Standard, ProgressMode::Standard),
            (true, Some("xterm"), Some("true"), ProgressMode::Plain, ProgressMode::Standard),
            // The spinners' library writes nothing there, and warnings would be lost.
            (true, Some("dumb"), None, ProgressMode::Plain, ProgressMode::Plain),
            (true, None, None, ProgressMode::Plain, ProgressMode::Plain),
            (false, Some("xterm"), None, ProgressMode::Plain, ProgressMode::Plain),
        ] {
            let terminal = Terminal::of(is_terminal, term, ci);
            assert_eq!(ProgressMode::fitting(None, terminal), unchosen, "{is_terminal} {term:?} {ci:?}");
            assert_eq!(
                ProgressMode::fitting(Some(ProgressMode::Standard), terminal),
                chosen,
                "{is_terminal} {term:?} {ci:?}"
            );
            for other in [ProgressMode::Plain, ProgressMode::Json, ProgressMode::Off] {
                assert_eq!(ProgressMode::fitting(Some(other), terminal), other);
            }
        }
    }
}
