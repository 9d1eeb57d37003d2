//! What ran where: the machine and the programs' versions, for the head of the table.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::account;

/// Programs whose versions are told, and how each is asked. vsftpd prints to its standard input.
const ASKED: [(&str, &str); 6] = [
    ("vsftpd", "exec \"$0\" -v 0>&1"),
    ("ssh", "exec \"$0\" -V 2>&1"),
    ("rsync", "exec \"$0\" --version"),
    ("nginx", "exec \"$0\" -v 2>&1"),
    ("curl", "exec \"$0\" --version"),
    ("lftp", "exec \"$0\" --version"),
];

/// A machine, as far as it tells.
#[derive(Clone, Debug)]
pub(crate) struct Machine {
    pub(crate) processors: usize,
    pub(crate) model: String,
    pub(crate) virtual_machine: bool,
    pub(crate) memory_gib: u64,
    pub(crate) kernel: String,
    /// The file system that stands for the disk.
    pub(crate) disk: String,
    /// Processes that ran or wanted to, of the last minute before the first run.
    pub(crate) load: String,
    /// First lines of what programs say of their versions.
    pub(crate) versions: Vec<String>,
}

impl Machine {
    pub(crate) fn look(programs: &Path, disk: &Path) -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let values = |key: &str| -> Vec<String> {
            let lines = cpuinfo.lines().filter_map(|line| line.split_once(':'));
            let matching = lines.filter(|(name, _)| name.trim() == key);
            matching.map(|(_, value)| value.trim().to_owned()).collect()
        };
        let flags = values("flags");
        let mut findmnt = Command::new("findmnt");
        findmnt.args(["--noheadings", "--output", "FSTYPE", "--target"]).arg(disk);
        let mut berth = Command::new(programs.join("berth"));
        berth.arg("--version");
        let berth = first_line(berth);
        Self {
            processors: std::thread::available_parallelism().map_or(1, Into::into),
            model: values("model name").into_iter().next().unwrap_or_default(),
            virtual_machine: flags
                .first()
                .is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
            memory_gib: memory_gib(&read("/proc/meminfo")),
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
            disk: first_line(findmnt).unwrap_or_default(),
            load: read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned(),
            versions: berth.into_iter().chain(ASKED.into_iter().filter_map(version)).collect(),
        }
    }

    /// A sentence of it.
    pub(crate) fn described(&self) -> String {
        format!(
            "{} processors ({}{}), {} GiB of memory, Linux {}, disk with {}",
            self.processors,
            self.model,
            if self.virtual_machine { ", a virtual machine" } else { "" },
            self.memory_gib,
            self.kernel,
            self.disk
        )
    }
}

fn version((program, question): (&str, &str)) -> Option<String> {
    let mut shell = Command::new("sh");
    shell.arg("-c").arg(question).arg(account::find(program)?);
    first_line(shell)
}

fn first_line(mut command: Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout);
    // Some tell more on the same line.
    let line = text.lines().next()?.replace(" | ", " ").replace("  ", " ");
    let short = line.split([',', '(']).next().unwrap_or(&line);
    let short = short.split(" Copyright").next().unwrap_or(short);
    Some(short.trim().to_owned())
}

fn memory_gib(meminfo: &str) -> u64 {
    let total = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = total.and_then(|rest| rest.trim().trim_end_matches("kB").trim().parse().ok());
    kib.map_or(0, |kib: u64| (kib + (1 << 19)) >> 20)
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_told_in_whole_gibibytes() {
        assert_eq!(memory_gib("Other: 1 kB\nMemTotal:       24684084 kB\n"), 24);
        assert_eq!(memory_gib(""), 0);
    }

    #[test]
    fn a_version_is_one_short_line() {
        let mut echo = Command::new("echo");
        echo.arg("lftp | Version 4.9\nand more");
        assert_eq!(first_line(echo).as_deref(), Some("lftp Version 4.9"));
    }
}
