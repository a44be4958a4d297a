//! JSON lines, for programs; on standard output, where mirrord's readers look
//! for them. The GitHub Action (metalbear-co/mirrord-preview, `scripts/run.sh`)
//! merges both streams and takes the first object whose `name` begins with
//! `key: `; a single line that is no JSON before it would lose the key.

use serde_json::{Value, json};

use super::{Outcome, Writer};
use crate::problem::Report;

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

    /// A program is told of a change, not of every look.
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

    /// The root task was finished with it.
    fn problem(&mut self, _: &Report) {}
}

/// A message that belongs to no task.
pub(super) fn message(kind: &str, message: &str) {
    line(&json!({"type": kind, "message": message}));
}

fn line(object: &Value) {
    // A reader that has gone away has read what it wanted.
    let _ = super::data(&object.to_string());
}
