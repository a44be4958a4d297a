//! How many requests an agent has judged for one session, by outcome.

use serde::{Deserialize, Serialize};

/// Numbers of requests, by outcome.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that matched and went to the preview.
    pub matched: u64,
    /// Requests to the session's ports that did not match.
    pub passed: u64,
    /// Those of them of which the filter has not seen all header lines, or not the path:
    /// they were too long or too many.
    #[serde(default)]
    pub beyond_bounds: u64,
    /// Requests of which the preview got a copy.
    pub mirrored: u64,
    /// Requests of which the copy was given up: the preview was too slow, or there
    /// was none.
    pub dropped: u64,
    /// Requests that matched and were answered with 503, because no preview pod
    /// could be reached.
    pub unavailable: u64,
    /// How often an agent got no processor time for so long that new connections
    /// bypassed it, those of the key too.
    #[serde(default)]
    pub lapses: u64,
    /// When a request last matched, in milliseconds of the Unix clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_matched_milliseconds: Option<u64>,
}

// === impl Counts ===

impl Counts {
    /// The sum of both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            matched: self.matched + other.matched,
            passed: self.passed + other.passed,
            beyond_bounds: self.beyond_bounds + other.beyond_bounds,
            mirrored: self.mirrored + other.mirrored,
            dropped: self.dropped + other.dropped,
            unavailable: self.unavailable + other.unavailable,
            lapses: self.lapses + other.lapses,
            last_matched_milliseconds: self.last_matched_milliseconds.max(other.last_matched_milliseconds),
        }
    }

    /// Requests that matched, and were stolen or were to be mirrored.
    pub const fn taken(&self) -> u64 {
        self.matched + self.mirrored + self.dropped
    }
}
