//! The agent lives in the target's memory: it takes little, says when it takes
//! more, and asks the kernel to be ended before the application is.

use std::sync::atomic::Ordering::Relaxed;

use super::log;
use super::state::State;

/// `/proc/self/statm` counts in pages; every machine that Kubernetes supports
/// has them of 4 KiB or more, and a budget that is too small errs to the safe side.
const PAGE_BYTES: u64 = 4_096;

/// When memory runs out, this process goes first: without it the application
/// is as it was before.
pub(super) fn offer_to_die_first() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        log::line("memory", &format!("the kernel will not end the agent first: {error}"));
    }
}

/// Compares the memory in use with the budget; says so when the answer is new.
pub(super) fn judge(state: &State, budget_mebibytes: u64) -> Option<bool> {
    let frugal = resident_bytes()? > budget_mebibytes * 1024 * 1024;
    let was = state.frugal.swap(frugal, Relaxed);
    (was != frugal).then_some(frugal)
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * PAGE_BYTES)
}
