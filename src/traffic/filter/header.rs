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
    ///
    /// HTTP/2 has no `host` header; `:authority` is tried as one, so that a
    /// filter on the host means the same in both.
    pub fn matches(&self, head: &Head<'_>) -> bool {
        let mut line = Vec::new();
        let mut is_match = |name: &str, value: &[u8]| {
            line.clear();
            line.extend_from_slice(name.as_bytes());
            line.extend_from_slice(b": ");
            line.extend_from_slice(value);
            self.0.is_match(&line)
        };
        head.headers.iter().any(|header| is_match(header.name, header.value))
            || head.authority.is_some_and(|authority| {
                head.values("host").next().is_none() && is_match("host", authority.as_bytes())
            })
    }
}
