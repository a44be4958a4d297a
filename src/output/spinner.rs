//! Progress as a tree with spinners, for a terminal.

use std::time::Duration;

use console::style;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::{Outcome, Writer, visible};
use crate::problem::ErrorReport;

/// Fast enough to look alive, slow enough to cost nothing.
const TICK: Duration = Duration::from_millis(80);

/// Bars on the terminal: the root and its steps.
pub(super) struct Spinner {
    bars: MultiProgress,
    tasks: Vec<(String, ProgressBar)>,
}

// === impl Spinner ===

impl Default for Spinner {
    fn default() -> Self {
        Self { bars: MultiProgress::with_draw_target(ProgressDrawTarget::stderr()), tasks: Vec::new() }
    }
}

impl Spinner {
    fn line(&self, text: &str) {
        // A terminal that has been closed shows nothing.
        let _ = self.bars.println(text);
    }
}

impl Writer for Spinner {
    fn begin(&mut self, name: &str, parent: Option<&str>) {
        let indent = if parent.is_none() { "  " } else { "    " };
        let bar = self.bars.add(ProgressBar::new_spinner());
        if let Ok(style) = ProgressStyle::with_template(&format!("{indent}{{spinner:.cyan}} {{wide_msg}}")) {
            bar.set_style(style);
        }
        bar.set_message(name.to_owned());
        bar.enable_steady_tick(TICK);
        self.tasks.push((name.to_owned(), bar));
    }

    fn update(&mut self, name: &str, message: &str) {
        if let Some((_, bar)) = self.tasks.iter().find(|(task, _)| task == name) {
            bar.set_message(format!("{name}: {message}"));
        }
    }

    fn finish(&mut self, name: &str, outcome: Outcome, message: Option<&str>) {
        let Some(index) = self.tasks.iter().position(|(task, _)| task == name) else { return };
        let (_, bar) = &self.tasks[index];
        let mark = match outcome {
            Outcome::Success => style("✓").for_stderr().green(),
            Outcome::Failure => style("x").for_stderr().red(),
        };
        let indent = if index == 0 { "  " } else { "    " };
        // The whole report comes after the tree; the root keeps its name.
        let text = if index == 0 { name } else { message.unwrap_or(name) };
        if let Ok(style) = ProgressStyle::with_template("{msg}") {
            bar.set_style(style);
        }
        bar.finish_with_message(format!("{indent}{mark} {text}"));
    }

    fn warning(&mut self, message: &str) {
        self.line(&format!("  {} {message}", style("!").for_stderr().yellow()));
    }

    fn aside(&mut self, print: &mut dyn FnMut()) {
        self.bars.suspend(print);
    }

    fn info(&mut self, _: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        super::to_stderr("  info:");
        for line in lines {
            super::to_stderr(&format!("    * {line}"));
        }
    }

    fn problem(&mut self, report: &ErrorReport) {
        let text = visible::text(&report.to_string()).into_owned();
        let text = text.strip_prefix("error:").map_or_else(
            || text.clone(),
            |rest| format!("{}{rest}", style("error:").for_stderr().red().bold()),
        );
        super::to_stderr(&text);
    }
}
