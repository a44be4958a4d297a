//! `header`: a pattern over `name: value`, tried on each header line by itself.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::kind::{Condition, IsOver, Syntax};
use crate::matching::{Case, Pattern};
use crate::traffic::{Head, Sample, sample};

/// A pattern over header lines; case is ignored.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HeaderLine(Pattern);

// === impl HeaderLine ===

impl Condition for HeaderLine {
    const SYNTAX: Option<Syntax> = Some(Syntax {
        filter: "header_filter",
        meaning: "A regular expression for one header line, written `name: value`.",
        variable: Some("MIRRORD_HTTP_HEADER_FILTER"),
        fields: &["header"],
        parts: &[],
    });

    type Written = String;

    fn matches(&self, head: &Head<'_>, _: &[u8], is_over: IsOver<'_>) -> bool {
        let (mut line, mut search, is_slow) = (Vec::new(), self.0.search(), self.0.is_slow());
        head.any_line(|name, value| {
            if is_slow && is_over() {
                return false;
            }
            line.clear();
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b": ");
            line.extend_from_slice(value);
            search.is_match(&line)
        })
    }

    fn overlooks(&self, head: &Head<'_>) -> bool {
        head.has_lines_beyond_bounds()
    }

    fn sample(&self, sample: &mut Sample) -> Option<()> {
        let line = self.0.example()?;
        let (name, value) = match line.split_once(':') {
            Some((name, value)) if sample::is_token(name) => (name, value.trim()),
            // The pattern describes only a part of a line.
            _ => ("x-mirrord-canary-sample", line.trim()),
        };
        sample.headers.push((name.to_owned(), value.to_owned()));
        Some(())
    }
}

impl TryFrom<String> for HeaderLine {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Pattern::compile(&text, Case::Ignored).map(Self)
    }
}

impl From<HeaderLine> for String {
    fn from(line: HeaderLine) -> Self {
        line.0.as_str().to_owned()
    }
}

impl fmt::Display for HeaderLine {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "requests with a header like `{}`", self.0.as_str())
    }
}
