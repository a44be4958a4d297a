//! The wall clock, for times that people read: when a request last matched. Leases
//! and deadlines use the monotonic clock.

use std::time::UNIX_EPOCH;

/// Milliseconds since the Unix epoch.
#[expect(clippy::disallowed_methods, reason = "the only place where the agent asks for the time")]
pub(super) fn unix_milliseconds() -> u64 {
    let since = std::time::SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
