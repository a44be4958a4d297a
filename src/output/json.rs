//! Progress as JSON lines on standard output, where mirrord's readers look for
//! them. The GitHub Action (metalbear-co/mirrord-preview, `scripts/run.sh`)
//! merges both streams and takes the first object whose `name` begins with
//! `key: `; a line before it that is not JSON would lose the key.

use serde_json::{Value, json};

use super::{Outcome, Writer};
use crate::problem::ErrorReport;

/// mirrord's protocol: `NewTask`, `FinishedTask`, `Warning`, `Info`.
#[derive(Default)]
pub(super) struct Json {
    last_update: Option<String>,
}

// === impl Json ===

impl Writer for Json {
    fn begin(&mut self, name: &str, parent: Option<&str>) {
        line(&json!({"type": "NewTask", "name": name, "parent": parent}));
    }

    /// Written when the message changes, not at every poll.
    fn update(&mut self, _: &str, message: &str) {
        if self.last_update.as_deref() != Some(message) {
            self.last_update = Some(message.to_owned());
            self::message("Info", message);
        }
    }

    fn finish(&mut self, name: &str, outcome: Outcome, message: Option<&str>) {
        let success = outcome == Outcome::Success;
        line(&json!({"type": "FinishedTask", "name": name, "success": success, "message": message}));
    }

    fn warning(&mut self, message: &str) {
        self::message("Warning", message);
    }

    fn info(&mut self, root: &str, lines: &[String]) {
        for name in lines {
            self.begin(name, Some(root));
            self.finish(name, Outcome::Success, None);
        }
    }

    /// Nothing to write: the root task was finished with this report.
    fn problem(&mut self, _: &ErrorReport) {}
}

/// Writes a message outside any task.
pub(super) fn message(kind: &str, message: &str) {
    line(&json!({"type": kind, "message": message}));
}

fn line(object: &Value) {
    // A reader that has closed the pipe has read enough.
    let _ = super::data(&super::visible::json(&object.to_string()));
}
