//! The texts that the verbs print. Pure: sessions and the time are given.

pub(super) mod failed;
mod list;
mod objects;
mod started;

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::list::{Column, View, column, list, signature};
pub(super) use self::objects::objects;
pub(super) use self::started::{command, started};
use crate::output::ProgressMode;
use crate::output::format::{self, ListFormat};
use crate::words;

/// The time between two instants, in its two largest units.
pub(super) fn brief_since(then: Timestamp, now: Timestamp) -> String {
    let seconds = u64::try_from(now.duration_since(then).as_secs()).unwrap_or(0);
    words::brief(Duration::from_secs(seconds))
}

/// The first line of a reason, cut to fit a cell of the table. `-o wide` shows the
/// whole line, `-o json` all lines.
fn shortened(reason: &str, format: ListFormat) -> String {
    const MOST: usize = 60;
    let line = reason.lines().next().unwrap_or_default();
    if format == ListFormat::Wide || line.chars().count() <= MOST {
        return line.to_owned();
    }
    let mut cut: String = line.chars().take(MOST - 1).collect();
    cut.push('…');
    cut
}

/// One line for each name; in JSON mode a line is an object.
fn lines(names: &[String], mode: ProgressMode) -> String {
    let line = |name: &String| match mode {
        ProgressMode::Json => format!("{}\n", json!({"name": name})),
        _ => format!("{name}\n"),
    };
    names.iter().map(line).collect()
}

/// A JSON document: one line in JSON mode, else indented.
fn document(value: &Value, mode: ProgressMode) -> Result<String> {
    Ok(format::json(value, mode)?)
}

#[cfg(test)]
mod tests;
