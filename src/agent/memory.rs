//! The agent lives in the target's memory: it takes little, says when it takes
//! more, and asks the kernel to be ended before the application is.

use std::sync::atomic::Ordering::Relaxed;

use super::log;
use super::shared::Shared;

/// When memory runs out, this process goes first: without it the application
/// is as it was before.
pub(super) fn offer_to_die_first() {
    if let Err(error) = std::fs::write("/proc/self/oom_score_adj", "1000") {
        log::line("memory", &format!("the kernel will not end the agent first: {error}"));
    }
}

/// Compares the memory in use with the budget; says so when the answer is new.
pub(super) fn judge(shared: &Shared, budget_mebibytes: u64) -> Option<bool> {
    let over_memory_budget = resident_bytes()? > budget_mebibytes * 1024 * 1024;
    let was = shared.over_memory_budget.swap(over_memory_budget, Relaxed);
    (was != over_memory_budget).then_some(over_memory_budget)
}

fn resident_bytes() -> Option<u64> {
    let statm = std::fs::read_to_string("/proc/self/statm").ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    // Pages of the kernel that runs: arm64 has some of 64 KiB.
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
        // Both move meanwhile; with other pages it would be a fourth, or four times as much.
        let resident = resident_bytes().unwrap() / 1024;
        assert!((kibibytes / 2..kibibytes * 2).contains(&resident), "{resident} KiB, {kibibytes} KiB");
    }
}
