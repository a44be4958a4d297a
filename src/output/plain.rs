//! Progress as plain lines, for logs and pipes: a line when a step begins or
//! changes, and the finished tree at the end.

use super::{Outcome, Writer, to_stderr, visible};
use crate::problem::ErrorReport;

/// The finished part of the tree.
#[derive(Default)]
pub(super) struct Plain {
    root: String,
    root_outcome: Option<Outcome>,
    steps: Vec<(Outcome, String)>,
    last_update: String,
    info: Vec<String>,
}

// === impl Plain ===

impl Writer for Plain {
    fn begin(&mut self, name: &str, parent: Option<&str>) {
        if parent.is_none() {
            name.clone_into(&mut self.root);
        } else {
            to_stderr(&format!("{name} …"));
        }
    }

    fn update(&mut self, _: &str, message: &str) {
        if self.last_update != message {
            message.clone_into(&mut self.last_update);
            to_stderr(&format!("  {message}"));
        }
    }

    fn finish(&mut self, name: &str, outcome: Outcome, message: Option<&str>) {
        if name == self.root {
            self.root_outcome = Some(outcome);
        } else {
            self.steps.push((outcome, message.unwrap_or(name).to_owned()));
        }
    }

    fn warning(&mut self, message: &str) {
        to_stderr(&format!("  ! {message}"));
    }

    fn info(&mut self, _: &str, lines: &[String]) {
        self.info = lines.to_vec();
    }

    fn problem(&mut self, report: &ErrorReport) {
        to_stderr(&visible::text(&report.to_string()));
    }

    fn close(&mut self) {
        if let Some(outcome) = self.root_outcome {
            to_stderr(&format!("  {} {}", mark(outcome), self.root));
        }
        for (outcome, text) in self.steps.drain(..) {
            to_stderr(&format!("    {} {text}", mark(outcome)));
        }
        if !self.info.is_empty() {
            to_stderr("  info:");
            for line in self.info.drain(..) {
                to_stderr(&format!("    * {line}"));
            }
        }
    }
}

fn mark(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Success => "✓",
        Outcome::Failure => "x",
    }
}
