//! A memory cgroup, of the version that the machine has.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(crate) struct Cgroup {
    directory: PathBuf,
    is_version1: bool,
}

impl Cgroup {
    /// A group that may use this much memory.
    pub(crate) fn new(name: &str, bytes: u64) -> Self {
        let version1 = Path::new("/sys/fs/cgroup/memory");
        let is_version1 = version1.is_dir();
        let root = if is_version1 { version1 } else { Path::new("/sys/fs/cgroup") };
        if !is_version1 {
            // It may be enabled already.
            let _ = fs::write(root.join("cgroup.subtree_control"), "+memory");
        }
        let directory = root.join(format!("mrd{}-{name}", std::process::id()));
        fs::create_dir(&directory).unwrap();
        let limit = if is_version1 { "memory.limit_in_bytes" } else { "memory.max" };
        fs::write(directory.join(limit), bytes.to_string()).unwrap();
        // With swap, memory would not run out.
        let swap = if is_version1 { "memory.memsw.limit_in_bytes" } else { "memory.swap.max" };
        let no_swap = if is_version1 { bytes } else { 0 };
        let _ = fs::write(directory.join(swap), no_swap.to_string());
        Self { directory, is_version1 }
    }

    /// Moves a process into the group.
    pub(crate) fn add(&self, process: u32) {
        fs::write(self.directory.join("cgroup.procs"), process.to_string()).unwrap();
    }

    /// How many processes the kernel has killed for lack of memory.
    pub(crate) fn kills(&self) -> u64 {
        let file = if self.is_version1 { "memory.oom_control" } else { "memory.events" };
        let text = fs::read_to_string(self.directory.join(file)).unwrap();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")).unwrap().parse().unwrap()
    }
}

impl Drop for Cgroup {
    fn drop(&mut self) {
        // Processes that have just ended leave the group a little later.
        for _ in 0..100 {
            if fs::remove_dir(&self.directory).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
