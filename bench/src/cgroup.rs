//! A control group of a server's own, which counts the processor time of all that it starts, whoever waits for it.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

/// How long processes of the group may take to end after their server.
const LINGER: Duration = Duration::from_secs(2);
const POLL: Duration = Duration::from_millis(5);

/// The group; it is removed when this is dropped, which has to be after its processes.
#[derive(Debug)]
pub(crate) struct Group(PathBuf);

impl Group {
    /// Makes one of this name, where we may: as root, where the kernel's second version is mounted.
    pub(crate) fn make(name: &str) -> io::Result<Self> {
        let mounts = fs::read_to_string("/proc/self/mounts")?;
        let root = mounted(&mounts).ok_or_else(|| io::Error::other("no cgroup2 is mounted"))?;
        let group = root.join(format!("berth-bench-{}-{name}", std::process::id()));
        fs::create_dir(&group)?;
        Ok(Self(group))
    }

    /// The same command, run by a shell that enters the group and becomes it.
    pub(crate) fn inside(&self, inner: &Command) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo $$ >\"$0\" && exec \"$@\""]).arg(self.0.join("cgroup.procs"));
        shell.arg(inner.get_program()).args(inner.get_args()).env_clear();
        shell.envs(inner.get_envs().filter_map(|(name, value)| Some((name, value?))));
        shell
    }

    /// How many processes are in it.
    pub(crate) fn processes(&self) -> usize {
        fs::read_to_string(self.0.join("cgroup.procs")).unwrap_or_default().lines().count()
    }

    /// Seconds of processor time of all that ran in it.
    pub(crate) fn cpu_seconds(&self) -> Option<f64> {
        parse(&fs::read_to_string(self.0.join("cpu.stat")).ok()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // A process that has been killed leaves it a moment later.
        let end = Instant::now() + LINGER;
        while fs::remove_dir(&self.0).is_err() && Instant::now() < end {
            thread::sleep(POLL);
        }
    }
}

fn mounted(mounts: &str) -> Option<&Path> {
    let line = mounts.lines().find(|line| line.split(' ').nth(2) == Some("cgroup2"))?;
    line.split(' ').nth(1).map(Path::new)
}

fn parse(stat: &str) -> Option<f64> {
    let line = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
    Some(line.trim().parse::<f64>().ok()? / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_version_is_found_beside_the_first() {
        let mounts = "cgroup /sys/fs/cgroup/cpu cgroup rw 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(mounted(mounts), Some(Path::new("/sys/fs/cgroup/unified")));
        assert_eq!(mounted("proc /proc proc rw 0 0\n"), None);
    }

    #[test]
    fn time_is_told_in_seconds() {
        assert_eq!(parse("usage_usec 369041\nuser_usec 369041\n"), Some(0.369_041));
        assert_eq!(parse("user_usec 1\n"), None);
    }

    #[test]
    fn what_a_process_leaves_unwaited_is_counted() {
        // Where groups cannot be made, there is nothing to claim.
        let Ok(group) = Group::make("test") else { return };
        let mut shell = Command::new("sh");
        shell.args(["-c", "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done & exec true"]);
        let mut command = group.inside(&shell);
        command.env("PATH", "/usr/bin:/bin");
        assert!(command.status().unwrap().success());
        while group.processes() > 0 {
            thread::yield_now();
        }
        assert!(group.cpu_seconds().unwrap() > 0.0);
    }
}
