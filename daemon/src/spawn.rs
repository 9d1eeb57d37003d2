//! Starts helper processes, on the main thread: their parent-death signal follows the thread.
//!
//! Standard input is the channel, standard output the lock file, standard error a pipe for panics. The
//! environment is empty and nothing runs between fork and exec, so that the standard library uses
//! `posix_spawn`, which does not get slower as the daemon grows. What is executed are the programs that the
//! daemon has opened at its start.

use std::cell::{Cell, OnceCell, RefCell};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};
use std::rc::Rc;
use std::time::Duration;

use berth_common::channel::{Channel, Message};
use berth_common::points;
use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, waitid};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::exit::KillReason;
use crate::incidents::Incidents;
use crate::memory_events::MemoryEvents;
use crate::process::{Peer, Process, Witnesses};
use crate::program::Program;
use crate::programs::Programs;
use crate::sys;

/// Most bytes of a process's standard error that are logged; at this many the pipe is closed.
const PANIC_BYTES: usize = 8 * 1024;

/// Most lines of it that are logged.
const PANIC_LINES: usize = 100;

/// How long it may take to read what a process that is dead has written to its standard error.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Has the helpers' programs, and knows what they inherit and how many live.
pub(crate) struct Spawner {
    programs: Programs,
    lock: OwnedFd,
    alive: Rc<Alive>,
    witnesses: Witnesses,
}

/// How many processes are not reaped yet.
#[derive(Default)]
struct Alive {
    count: Cell<u32>,
    changed: Notify,
}

impl Spawner {
    /// Helpers are of these programs, and inherit `lock`.
    pub(crate) fn new(programs: Programs, lock: OwnedFd) -> Self {
        let witnesses =
            Witnesses { incidents: Rc::default(), memory: Rc::new(MemoryEvents::own()) };
        Self { programs, lock, alive: Rc::default(), witnesses }
    }

    /// What went wrong with the processes.
    pub(crate) fn incidents(&self) -> &Rc<Incidents> {
        &self.witnesses.incidents
    }

    /// Starts one of the three programs.
    ///
    /// # Errors
    /// When the system gives no process, descriptors or memory.
    pub(crate) fn spawn<Tx: Message, Rx: Message>(
        &self,
        program: Program,
    ) -> io::Result<Peer<Tx, Rx>> {
        let (ours, theirs) = Channel::<Tx, Rx>::pair()?;
        let (panics, stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&panics, true)?;
        let mut command = Command::new(self.programs.path(program));
        command
            .arg0(program.as_str())
            .env_clear()
            .args(points::helper_argument())
            .stdin(Stdio::from(theirs.into_descriptor()))
            .stdout(Stdio::from(self.lock.try_clone()?))
            .stderr(Stdio::from(stderr));
        let child = command.spawn()?;
        // Closes our copies of the child's ends, or its death would go unnoticed.
        drop(command);
        let process = self.watch(program, child, panics)?;
        // Until it has a task it writes to no file: not even to the lock file, which it inherits.
        if let Err(error) = process.limit_file_sizes(Some(0)) {
            process.kill(KillReason::Internal(error.to_string()));
            return Err(error);
        }
        Peer::new(process.clone(), ours).inspect_err(|error| {
            process.kill(KillReason::Channel(error.to_string()));
        })
    }

    fn watch(
        &self,
        program: Program,
        mut child: Child,
        panics: OwnedFd,
    ) -> io::Result<Rc<Process>> {
        let pid = child.id();
        let opened = Pid::from_raw(pid as i32)
            .ok_or(Errno::SRCH)
            .and_then(|number| rustix::process::pidfd_open(number, PidfdFlags::NONBLOCK))
            .map_err(io::Error::from)
            .and_then(sys::watch);
        let pidfd = match opened {
            Ok(pidfd) => Rc::new(pidfd),
            Err(error) => {
                // Without a pidfd nobody would notice its end: it must not live.
                drop(child.kill());
                drop(child.wait());
                return Err(error);
            }
        };
        let (report, exit) = watch::channel(None);
        let process = Rc::new(Process {
            program,
            pid,
            pidfd: pidfd.clone(),
            exit,
            killed: OnceCell::new(),
            reaped: Cell::new(false),
            words: RefCell::default(),
            told: OnceCell::new(),
            task: RefCell::default(),
            witnesses: self.witnesses.clone(),
        });
        let alive = self.alive.clone();
        alive.count.set(alive.count.get() + 1);
        let panics = tokio::task::spawn_local(log_panics(process.clone(), panics));
        let reaping = process.clone();
        tokio::task::spawn_local(async move {
            let status = loop {
                if let Err(error) = pidfd.readable().await.map(|mut ready| ready.clear_ready()) {
                    tracing::error!(%program, pid, %error, "cannot wait for a process");
                }
                match child.try_wait() {
                    Ok(Some(status)) => break status,
                    Ok(None) => {}
                    Err(error) => tracing::error!(%program, pid, %error, "cannot reap a process"),
                }
            };
            reaping.reaped.set(true);
            if program == Program::Jail {
                heirs_reaped(pid).await;
            }
            // The pipe ended with the process, and what is in it belongs to its end.
            drop(tokio::time::timeout(LAST_WORDS, panics).await);
            alive.count.set(alive.count.get() - 1);
            alive.changed.notify_waiters();
            report.send_replace(Some(status));
        });
        Ok(process)
    }

    /// Waits until no helper lives.
    pub(crate) async fn all_reaped(&self) {
        while self.alive.count.get() > 0 {
            self.alive.changed.notified().await;
        }
    }
}

/// Waits for what a jail's outer process has left that was killed, and which the kernel has given to the daemon: its
/// keeper, which is dead when all of its process namespace is, and without one the program. They are the only children
/// of the daemon's in the group that the outer process began, so no other one's end is taken from whoever waits for it.
/// To be called at once when the outer process is reaped: the group's number is no other's while somebody is in it.
async fn heirs_reaped(outer: u32) {
    let mut ends = match signal(SignalKind::child()) {
        Ok(ends) => ends,
        Err(error) => return tracing::error!(outer, %error, "cannot wait for a jail's processes"),
    };
    loop {
        let group = WaitId::Pgid(Pid::from_raw(outer.cast_signed()));
        match waitid(group, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
            Ok(Some(_)) | Err(Errno::INTR) => {}
            Ok(None) => {
                ends.recv().await;
            }
            Err(Errno::CHILD) => return,
            Err(error) => {
                return tracing::error!(outer, %error, "cannot wait for a jail's processes");
            }
        }
    }
}

/// Logs what a process writes to its standard error, a line at a time as it comes: nothing, unless it panics
/// or meets what an administrator has to know. The last of it is kept for the report of its end. Ends with the
/// pipe, or at a bound.
async fn log_panics(process: Rc<Process>, pipe: OwnedFd) {
    let Ok(pipe) = sys::watch(pipe) else { return };
    let (program, pid) = (process.program, process.pid);
    let lines = Cell::new(0);
    let report = |line: &[u8]| {
        lines.set(lines.get() + 1);
        let text = String::from_utf8_lossy(line);
        process.words.borrow_mut().hear(&text);
        if lines.get() <= PANIC_LINES {
            let task = process.task.borrow();
            let session = task.session.map(|session| session.0);
            let user = task.user.as_ref().map(|user| user.as_str());
            let text = text.trim_end();
            tracing::error!(%program, pid, session, user, ?text, "a helper wrote to standard error");
        }
    };
    let mut text = Vec::new();
    let mut read = 0;
    while read < PANIC_BYTES && lines.get() < PANIC_LINES {
        let Ok(mut ready) = pipe.readable().await else {
            break;
        };
        let mut part = [0; 1024];
        match rustix::io::read(ready.get_inner(), &mut part) {
            Ok(0) => break,
            Ok(count) => {
                read += count;
                text.extend_from_slice(&part[..count]);
            }
            Err(Errno::AGAIN) => ready.clear_ready(),
            Err(Errno::INTR) => {}
            Err(_) => break,
        }
        if let Some(end) = text.iter().rposition(|byte| *byte == b'\n') {
            let rest = text.split_off(end + 1);
            text.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()).for_each(report);
            text = rest;
        }
    }
    if !text.is_empty() {
        report(&text);
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::time::Duration;

    use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};
    use berth_common::jail_protocol::{DaemonToJail, JailToDaemon};
    use rustix::fs::{CWD, FileType, Mode};

    use super::*;
    use crate::exit::ExitReport;
    use crate::process::PeerError;

    type Worker = Peer<DaemonToWorker, WorkerToDaemon>;
    type Jail = Peer<DaemonToJail, JailToDaemon>;

    /// A directory whose helpers are this shell script.
    fn helpers(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for program in Program::ALL {
            let path = dir.path().join(program.as_str());
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn spawner(dir: &Path) -> Spawner {
        let lock = std::fs::File::create(dir.join("lock")).unwrap();
        Spawner::new(Programs::scripts(dir).unwrap(), lock.into())
    }

    fn local<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let in_time =
            async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() };
        tokio::task::LocalSet::new().block_on(&runtime, in_time)
    }

    #[test]
    fn a_helper_inherits_channel_lock_and_pipe_and_no_environment() {
        // The daemon lets it write to no file, so it takes that back, as no demoted helper can.
        let script = "until [ \"$(ulimit -S -f)\" = 0 ]; do :; done; ulimit -S -f unlimited; \
                      for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done >&1; \
                      tr '\\0' '\\n' < /proc/$$/environ | grep -c . >&1; \
                      for fd in /proc/$$/fd/*; do readlink $fd; done >&1; exit 3";
        let dir = helpers(script);
        // As the daemon does at its start.
        sys::close_on_exec_from(3).unwrap();
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(Program::Worker).unwrap();
            let status = worker.process().reaped().await;
            assert_eq!(status.code(), Some(3));
            assert!(matches!(worker.recv().await, Err(PeerError::Closed)));
            spawner.all_reaped().await;
        });
        let written = std::fs::read_to_string(dir.path().join("lock")).unwrap();
        let lines: Vec<&str> = written.lines().collect();
        let [channel, lock, pipe, variables, ref all @ ..] = lines[..] else {
            panic!("{written:?}")
        };
        assert!(channel.starts_with("socket:"), "{written:?}");
        assert!(lock.ends_with("/lock"), "{written:?}");
        assert!(pipe.starts_with("pipe:"), "{written:?}");
        assert_eq!(variables, "0", "{written:?}");
        // The shell itself has opened the script.
        let inherited = all.iter().filter(|link| !link.ends_with(Program::Worker.as_str()));
        let inherited: Vec<&str> = inherited.copied().collect();
        assert_eq!(inherited, [channel, lock, pipe]);
    }

    #[test]
    fn killing_is_reported_with_its_reason_and_hits_nobody_twice() {
        let dir = helpers("exec sleep 600");
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(Program::Worker).unwrap();
            worker.process().kill(KillReason::Administrator);
            worker.process().kill(KillReason::Shutdown);
            let report = worker.process().report(None).await;
            assert_eq!(report, ExitReport::Killed(KillReason::Administrator));
            worker.process().kill(KillReason::Shutdown);
        });
    }

    #[test]
    fn a_helper_that_floods_its_standard_error_is_cut_off() {
        let dir = helpers("exec cat /dev/zero >&2");
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(Program::Worker).unwrap();
            let report = worker.process().report(None).await;
            assert!(
                matches!(report, ExitReport::Crashed(13, _) | ExitReport::Failed(1, _)),
                "{report:?}"
            );
        });
    }

    #[test]
    fn what_a_process_says_last_is_in_the_report_of_its_end_which_is_told_once() {
        let dir = helpers(
            "echo first >&2; echo 'memory allocation of 7 bytes failed' >&2; kill -ABRT $$",
        );
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(Program::Worker).unwrap();
            for _ in 0..2 {
                let report = worker.process().report(None).await.to_string();
                assert_eq!(report, "out of memory: memory allocation of 7 bytes failed");
            }
            let told = spawner.incidents().told();
            assert_eq!((told.workers.memory, told.total(), told.latest.len()), (1, 1, 1));
        });
    }

    #[test]
    fn a_jail_is_reaped_when_what_it_leaves_behind_is() {
        let dir = helpers("exec setsid sh -c '(read x < hold; : > gone) & : > left; wait'");
        let at = |name: &str| dir.path().join(name);
        let path = at(Program::Jail.as_str());
        let script = format!("#!/bin/sh\nulimit -S -f unlimited; cd {:?};", dir.path());
        let whole = std::fs::read_to_string(&path).unwrap().replace("#!/bin/sh", &script);
        // The daemon lets it write to no file, so it takes that back, as no demoted helper can.
        let whole =
            whole.replace("ulimit", "until [ \"$(ulimit -S -f)\" = 0 ]; do :; done; ulimit");
        std::fs::write(&path, whole).unwrap();
        let hold = at("hold");
        rustix::fs::mknodat(CWD, &hold, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        local(async {
            let spawner = spawner(dir.path());
            let jail: Jail = spawner.spawn(Program::Jail).unwrap();
            while !at("left").exists() {
                tokio::task::yield_now().await;
            }
            jail.process().kill(KillReason::Unneeded);
            let release = async {
                while !jail.process().reaped.get() {
                    tokio::task::yield_now().await;
                }
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                assert!(jail.process().exit.borrow().is_none(), "one of it is left");
                std::fs::write(&hold, "\n").unwrap();
            };
            tokio::join!(release, spawner.all_reaped());
            assert!(at("gone").exists());
        });
    }

    #[test]
    fn a_new_process_writes_to_no_file_until_it_may() {
        let dir = helpers("exec sleep 600");
        let limit = |worker: &Worker| {
            let path = format!("/proc/{}/limits", worker.process().pid);
            let limits = std::fs::read_to_string(path).unwrap();
            let line = limits.lines().find_map(|line| line.strip_prefix("Max file size")).unwrap();
            line.split_whitespace().next().unwrap().to_owned()
        };
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(Program::Worker).unwrap();
            assert_eq!(limit(&worker), "0");
            worker.process().limit_file_sizes(Some(12_345)).unwrap();
            assert_eq!(limit(&worker), "12345");
            worker.process().limit_file_sizes(None).unwrap();
            assert_ne!(limit(&worker), "12345");
            worker.process().kill(KillReason::Unneeded);
            worker.process().reaped().await;
            worker.process().limit_file_sizes(Some(1)).unwrap();
        });
    }
}
