//! The agent uses the target pod's memory: it has a budget, and asks the kernel to
//! kill it before the application when memory runs out.

use std::sync::atomic::Ordering::Relaxed;

use tracing::warn;

use super::shared::Shared;

/// Lets the kernel kill this process first when memory runs out. The application
/// works without it as before.
pub(super) fn raise_oom_score() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        warn!(%error, "when memory runs out, the kernel may kill the application before the agent");
    }
}

/// Compares the memory in use with the budget, and logs when it is exceeded and when
/// it is no longer exceeded.
pub(super) fn check_budget(shared: &Shared, budget_mebibytes: u64) {
    let Some(bytes) = resident_bytes() else { return };
    let is_over = bytes > budget_mebibytes * 1024 * 1024;
    if shared.over_memory_budget.swap(is_over, Relaxed) != is_over {
        let meaning = if is_over { "new connections are not read" } else { "new connections are read again" };
        warn!(exceeded = is_over, bytes, budget_mebibytes, "memory budget: {meaning}");
    }
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    // The kernel's page size: on arm64 it may be 64 KiB.
    Some(pages * u64::try_from(rustix::param::page_size()).ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_counted_in_the_kernels_pages() {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
        let kibibytes: u64 = line.split_whitespace().nth(1).unwrap().parse().unwrap();
        // Both change in between; with another page size they would differ by a factor of four.
        let resident = resident_bytes().unwrap() / 1024;
        assert!((kibibytes / 2..kibibytes * 2).contains(&resident), "{resident} KiB, {kibibytes} KiB");
    }
}
