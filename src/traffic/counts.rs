//! What happened for one session, as agents report it.

use serde::{Deserialize, Serialize};

/// Requests, by what became of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Requests that matched and went to the preview.
    pub matched: u64,
    /// Requests on the session's ports that were somebody else's.
    pub passed: u64,
    /// Requests of which the preview got a copy.
    pub mirrored: u64,
    /// Copies given up because the preview was too slow or not there.
    pub dropped: u64,
    /// Matched requests answered with 503: no preview to be had.
    pub unavailable: u64,
    /// How often an agent got no processor time for so long that new connections
    /// were the application's meanwhile, the key's too.
    #[serde(default)]
    pub lapses: u64,
    /// When a request last matched, in milliseconds of the Unix clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_matched_milliseconds: Option<u64>,
}

// === impl Counts ===

impl Counts {
    /// What happened in both places.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            matched: self.matched + other.matched,
            passed: self.passed + other.passed,
            mirrored: self.mirrored + other.mirrored,
            dropped: self.dropped + other.dropped,
            unavailable: self.unavailable + other.unavailable,
            lapses: self.lapses + other.lapses,
            last_matched_milliseconds: self.last_matched_milliseconds.max(other.last_matched_milliseconds),
        }
    }

    /// Requests that the session wanted, whatever became of them.
    pub const fn taken(&self) -> u64 {
        self.matched + self.mirrored + self.dropped
    }
}
