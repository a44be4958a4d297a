//! `header`: a pattern over `name: value`, tried on each header line by itself.

use serde::{Deserialize, Serialize};

use super::pattern::Pattern;
use crate::traffic::Head;

/// A pattern over header lines, case-insensitive, found anywhere in the line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct HeaderLine(Pattern);

// === impl HeaderLine ===

impl HeaderLine {
    /// The pattern as it was written.
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// Whether a header of this request matches.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        let (mut line, mut search) = (Vec::new(), self.0.search());
        any_line(head, |name, value| {
            line.clear();
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b": ");
            line.extend_from_slice(value);
            search.is_match(&line)
        })
    }
}

/// Whether one of the header lines is as wanted.
///
/// HTTP/2 has no `host` header; `:authority` is tried as one, so that a filter
/// on the host means the same in both.
pub(super) fn any_line(head: &Head<'_>, mut is_wanted: impl FnMut(&str, &[u8]) -> bool) -> bool {
    head.headers.iter().any(|header| is_wanted(header.name, header.value))
        || head.authority.is_some_and(|authority| {
            head.values("host").next().is_none() && is_wanted("host", authority.as_bytes())
        })
}
