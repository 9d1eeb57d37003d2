//! A server's process: started, waited for, and ended by its own handle. Also the processor time that it took.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::cgroup::Group;

/// How long a server may take until it listens.
const START: Duration = Duration::from_secs(30);
/// How long a server may take to end when it is asked to.
const END: Duration = Duration::from_secs(10);
/// How long processes of a session may stay after its client.
const LINGER: Duration = Duration::from_secs(1);
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(5);

/// Why a server does not run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum StartError {
    #[error("{0} is not installed")]
    NotInstalled(&'static str),
    #[error("it needs root")]
    NeedsRoot,
    #[error("it does not come up: {0}")]
    DidNotStart(String),
    #[error("{0} failed: {1}")]
    Preparation(&'static str, String),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// A server that runs; it is ended when this is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    output: PathBuf,
    /// Where all that it starts is counted. It goes after the processes.
    group: Option<Group>,
}

impl Server {
    /// Starts a server with its output in a directory, and waits until it is up, as `probe` says.
    pub(crate) fn start<T>(
        mut command: Command,
        directory: &Path,
        mut probe: impl FnMut(&Self) -> Option<T>,
    ) -> Result<(Self, T), StartError> {
        let output = directory.join("output");
        let file = File::create(&output)?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let mut server = Self { child: command.spawn()?, output, group: None };
        let end = Instant::now() + START;
        loop {
            if server.child.try_wait()?.is_some() {
                return Err(StartError::DidNotStart(last_words(&server.said())));
            }
            if let Some(up) = probe(&server) {
                return Ok((server, up));
            }
            if Instant::now() > end {
                return Err(StartError::DidNotStart(last_words(&server.said())));
            }
            thread::sleep(POLL);
        }
    }

    /// The same for a server that is up when its port answers.
    pub(crate) fn start_on(
        command: Command,
        directory: &Path,
        port: u16,
    ) -> Result<Self, StartError> {
        let answers = |_: &Self| TcpStream::connect((Ipv4Addr::LOCALHOST, port)).ok().map(drop);
        Self::start(command, directory, answers).map(|(server, ())| server)
    }

    /// The same in a group, if there is one.
    pub(crate) fn start_in(
        group: Option<Group>,
        command: Command,
        directory: &Path,
        port: u16,
    ) -> Result<Self, StartError> {
        let command = match &group {
            Some(group) => group.inside(&command),
            None => command,
        };
        let mut server = Self::start_on(command, directory, port)?;
        server.group = group;
        Ok(server)
    }

    /// Whether processes that nobody waits for are counted too.
    pub(crate) fn counts_all(&self) -> bool {
        self.group.is_some()
    }

    /// What it has printed.
    pub(crate) fn said(&self) -> String {
        fs::read_to_string(&self.output).unwrap_or_default()
    }

    /// Seconds of processor time that it and its children have taken, those that have ended included.
    pub(crate) fn cpu_seconds(&self) -> f64 {
        if let Some(seconds) = self.group.as_ref().and_then(Group::cpu_seconds) {
            return seconds;
        }
        #[expect(clippy::cast_precision_loss, reason = "ticks are far below 2^53")]
        let ticks = family(self.child.id()).iter().map(|process| process.ticks).sum::<u64>() as f64;
        #[expect(clippy::cast_precision_loss, reason = "100 on Linux")]
        let a_second = rustix::param::clock_ticks_per_second() as f64;
        ticks / a_second
    }

    /// How many processes it is made of.
    pub(crate) fn processes(&self) -> usize {
        match &self.group {
            Some(group) => group.processes(),
            None => family(self.child.id()).len(),
        }
    }

    /// Waits until what a session started has ended, since only then its processor time is its parent's.
    pub(crate) fn wait_for_rest(&self, processes: usize) {
        let end = Instant::now() + LINGER;
        while self.processes() > processes && Instant::now() < end {
            thread::sleep(POLL);
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Asked first: nginx leaves its workers behind when it is killed.
        if let Ok(number) = i32::try_from(self.child.id())
            && let Some(pid) = Pid::from_raw(number)
        {
            let _ = kill_process(pid, Signal::TERM);
        }
        if !ends_within(&self.child, END) {
            let _ = self.child.kill();
        }
        let _ = self.child.wait();
    }
}

/// Whether a child ends in this time. It is not reaped, so that its number stays its own.
pub(crate) fn ends_within(child: &Child, time: Duration) -> bool {
    let Some(pid) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) else {
        return false;
    };
    let Ok(handle) = pidfd_open(pid, PidfdFlags::empty()) else {
        return false;
    };
    let Ok(timeout) = Timespec::try_from(time) else {
        return false;
    };
    matches!(poll(&mut [PollFd::new(&handle, PollFlags::IN)], Some(&timeout)), Ok(1..))
}

/// A port of loopback that is free at this moment.
pub(crate) fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// The last line of what a program said, shortened: for a reason in a table.
pub(crate) fn last_words(text: &str) -> String {
    let line = text.lines().rev().find(|line| !line.trim().is_empty());
    line.unwrap_or("it says nothing").trim().chars().take(160).collect()
}

struct Process {
    pid: u32,
    parent: u32,
    /// Its own processor time, and that of its children that have ended.
    ticks: u64,
}

/// A process and all that descend from it.
fn family(root: u32) -> Vec<Process> {
    let Ok(entries) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let numbers = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let mut others: Vec<Process> = numbers.filter_map(process).collect();
    let mut members = vec![root];
    let mut found = Vec::new();
    while let Some(member) = members.pop() {
        let (mut own, rest): (Vec<_>, Vec<_>) =
            others.into_iter().partition(|other| other.pid == member);
        found.append(&mut own);
        members.extend(rest.iter().filter(|other| other.parent == member).map(|other| other.pid));
        others = rest;
    }
    found
}

fn process(pid: u32) -> Option<Process> {
    parse(pid, &fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `/proc/PID/stat`: behind the name in parentheses, which may hold anything, the parent is the second field and the
/// four times are fields 12 to 15.
fn parse(pid: u32, stat: &str) -> Option<Process> {
    let fields: Vec<_> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let parent = fields.get(1)?.parse().ok()?;
    let times = fields.get(11..15)?.iter().map(|field| field.parse::<u64>());
    Some(Process { pid, parent, ticks: times.sum::<Result<_, _>>().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_of_a_process_are_read_behind_its_name() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4194560 1 2 3 4 10 20 30 40 20 0 1 0 5";
        let process = parse(7, stat).unwrap();
        assert_eq!((process.parent, process.ticks), (3, 100));
    }

    #[test]
    fn a_server_that_ends_at_once_is_told_with_its_last_words() {
        let directory = tempfile::tempdir().unwrap();
        let mut shell = Command::new("sh");
        shell.args(["-c", "echo one; echo two >&2; echo"]);
        let error = Server::start(shell, directory.path(), |_| None::<()>).unwrap_err();
        assert_eq!(error.to_string(), "it does not come up: two");
    }

    #[test]
    fn a_server_is_ended_with_its_value() {
        let directory = tempfile::tempdir().unwrap();
        let mut command = Command::new("sleep");
        command.arg("1000");
        let (server, ()) = Server::start(command, directory.path(), |_| Some(())).unwrap();
        assert_eq!(server.processes(), 1);
        let pid = server.child.id();
        drop(server);
        assert!(process(pid).is_none());
    }
}
