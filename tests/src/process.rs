//! What `/proc` tells of processes, and the end of one that is known to be ours.

use std::fs;
use std::path::Path;

use rustix::process::{Pid, Signal, kill_process};

/// Sends a signal to one process, by its number.
///
/// # Panics
/// When the number is none, or the process may not be signalled. One that has gone already is fine.
pub fn signal(pid: u32, signal: Signal) {
    let number = i32::try_from(pid).ok().and_then(Pid::from_raw).expect("a process number");
    match kill_process(number, signal) {
        Ok(()) | Err(rustix::io::Errno::SRCH) => {}
        Err(error) => panic!("kill {pid}: {error}"),
    }
}

/// Whether a process runs; one that only waits to be reaped does not.
#[must_use]
pub fn runs(pid: u32) -> bool {
    stat(pid).is_some_and(|(state, _)| !matches!(state, 'Z' | 'X'))
}

/// Whether a process runs as a child of this one.
#[must_use]
pub fn is_child(pid: u32, parent: u32) -> bool {
    stat(pid).is_some_and(|(state, of)| of == parent && !matches!(state, 'Z' | 'X'))
}

/// Whether every thread of a process is stopped by a signal, or held by its tracer when it has one.
#[must_use]
pub fn is_stopped(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let stat = fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, rest)| rest.trim_start().starts_with(['T', 't']))
    })
}

/// The children of a process that run now.
#[must_use]
pub fn children(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    processes
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|pid| stat(*pid).is_some_and(|(state, of)| of == parent && state != 'Z'))
        .collect()
}

/// The name of a process' program, as far as the kernel keeps it (15 bytes).
#[must_use]
pub fn name(pid: u32) -> Option<String> {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).ok()?;
    Some(name.trim_end().to_owned())
}

/// Whether every thread of a process is traced by a debugger.
#[must_use]
pub fn is_traced(pid: u32) -> bool {
    let Ok(threads) = fs::read_dir(format!("/proc/{pid}/task")) else {
        return false;
    };
    threads.flatten().all(|thread| {
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        status
            .lines()
            .find_map(|line| line.strip_prefix("TracerPid:"))
            .is_some_and(|tracer| tracer.trim() != "0")
    })
}

/// The proportional memory of a process in bytes. Needs root for a process that is not dumpable.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn pss_bytes(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/smaps_rollup");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("Pss:")).expect("a Pss line");
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().expect("a number of KiB");
    kib * 1024
}

/// The most memory that a process ever had resident, in bytes.
///
/// # Panics
/// When the process has ended.
#[must_use]
pub fn peak_bytes(pid: u32) -> u64 {
    try_peak_bytes(pid).expect("the process runs")
}

/// The same, or nothing of a process that has ended.
#[must_use]
pub fn try_peak_bytes(pid: u32) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches("kB").trim().parse().ok()?;
    Some(kib * 1024)
}

/// Bytes that a process has read by `read` and its kin, from files above all: what comes by `recv` is not counted. Also
/// of one that waits to be reaped. Needs root for a process that is not dumpable.
///
/// # Panics
/// When the kernel does not tell.
#[must_use]
pub fn bytes_read(pid: u32) -> u64 {
    let path = format!("/proc/{pid}/io");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path}: {error}"));
    let line = text.lines().find_map(|line| line.strip_prefix("rchar:")).expect("an rchar line");
    line.trim().parse().expect("a number of bytes")
}

/// State and parent of a process.
fn stat(pid: u32) -> Option<(char, u32)> {
    let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it stands in parentheses and may hold anything.
    let mut rest = text.rsplit_once(')')?.1.split_whitespace();
    Some((rest.next()?.chars().next()?, rest.next()?.parse().ok()?))
}

/// Limits how large a file a process may write (`RLIMIT_FSIZE`); `None` takes the limit away. What it starts
/// meanwhile inherits it.
///
/// # Panics
/// When the kernel refuses.
pub fn limit_file_sizes(pid: u32, bytes: Option<u64>) {
    // As the user that the process runs as: root itself may lack the right to, in a container.
    let soft = bytes.map_or_else(|| "unlimited".to_owned(), |bytes| bytes.to_string());
    let set = crate::account::command(Path::new("prlimit"))
        .arg(format!("--pid={pid}"))
        .arg(format!("--fsize={soft}:"))
        .status()
        .expect("prlimit can be run");
    assert!(set.success(), "prlimit: {set}");
}

/// Limits how much private memory a process may have (`RLIMIT_DATA`), from now on.
///
/// # Panics
/// When the kernel refuses.
pub fn limit_memory(pid: u32, bytes: u64) {
    let set = crate::account::command(Path::new("prlimit"))
        .arg(format!("--pid={pid}"))
        .arg(format!("--data={bytes}:"))
        .status()
        .expect("prlimit can be run");
    assert!(set.success(), "prlimit: {set}");
}

/// Takes such limits away from processes that may have ended meanwhile.
///
/// # Panics
/// When no program can be run.
pub fn unlimit_file_sizes(pids: &[u32]) {
    let each = "for pid; do prlimit --pid=$pid --fsize=unlimited: 2>/dev/null; done";
    let mut shell = crate::account::command(Path::new("sh"));
    shell.arg("-c").arg(each).arg("sh").args(pids.iter().map(u32::to_string));
    shell.status().expect("a shell can be run");
}
