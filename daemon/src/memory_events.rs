//! Whether the kernel's out-of-memory killer has struck among the service's processes.
//!
//! A SIGKILL tells nothing of who sent it. The control group of the daemon, in which its helpers are too,
//! counts those that the kernel sent for want of memory; where there is none, or it cannot be read, they
//! are not told from others.

use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

/// Where the kernel keeps control groups of version 2.
const ROOT: &str = "/sys/fs/cgroup";

/// The count, as far as it is explained by processes that are dead.
#[derive(Debug, Default)]
pub(crate) struct MemoryEvents {
    file: Option<PathBuf>,
    counted: Cell<u64>,
    unexplained: Cell<u64>,
}

impl MemoryEvents {
    /// Those of the daemon's own control group, from now on.
    pub(crate) fn own() -> Self {
        let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
        let file = own_group(&groups).map(|group| format!("{ROOT}{group}/memory.events").into());
        Self::of(file)
    }

    fn of(file: Option<PathBuf>) -> Self {
        let this = Self { file, ..Self::default() };
        this.counted.set(this.count());
        this
    }

    /// Whether a process that was killed by somebody was one of those that the kernel killed. Each is told once.
    pub(crate) fn explain_a_kill(&self) -> bool {
        let count = self.count();
        let new = count.saturating_sub(self.counted.replace(count));
        let unexplained = self.unexplained.get() + new;
        self.unexplained.set(unexplained.saturating_sub(1));
        unexplained > 0
    }

    fn count(&self) -> u64 {
        let text = self.file.as_ref().and_then(|file| fs::read_to_string(file).ok());
        text.as_deref().map_or(0, oom_kills)
    }
}

/// The group of version 2 in `/proc/PID/cgroup`.
fn own_group(groups: &str) -> Option<&str> {
    groups
        .lines()
        .find_map(|line| line.strip_prefix("0::"))
        .map(|group| group.trim_end_matches('/'))
}

/// The count in `memory.events`.
fn oom_kills(events: &str) -> u64 {
    let mut words = events.lines().filter_map(|line| line.strip_prefix("oom_kill "));
    words.next().and_then(|count| count.trim().parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kill_that_the_kernel_counts_explains_one_process() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("memory.events");
        let write = |kills: u64| {
            fs::write(&file, format!("low 0\noom 7\noom_kill {kills}\noom_group_kill 0\n"))
                .unwrap();
        };
        write(2);
        let events = MemoryEvents::of(Some(file.clone()));
        assert!(!events.explain_a_kill(), "those were before");
        write(4);
        assert!(events.explain_a_kill());
        assert!(events.explain_a_kill());
        assert!(!events.explain_a_kill());
    }

    #[test]
    fn without_a_count_nothing_is_explained() {
        assert!(!MemoryEvents::of(None).explain_a_kill());
        assert!(!MemoryEvents::of(Some("/absent".into())).explain_a_kill());
        assert_eq!(
            own_group("12:memory:/x\n0::/system.slice/berthd.service\n"),
            Some("/system.slice/berthd.service")
        );
        assert_eq!(own_group("0::/\n"), Some(""));
        assert_eq!(own_group("12:memory:/x\n"), None);
    }
}
