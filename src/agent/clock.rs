//! The wall clock, for what people read: when a request last matched. Leases
//! and deadlines use tokio's clock, which nobody can set.

use std::time::UNIX_EPOCH;

/// Milliseconds of the Unix clock.
#[expect(clippy::disallowed_methods, reason = "this is where the agent's time comes in")]
pub(super) fn unix_milliseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
