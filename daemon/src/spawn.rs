//! Starts helper processes, on the main thread: their parent-death signal follows the thread.
//!
//! Standard input is the channel, standard output the lock file, standard error a pipe for panics. The
//! environment is empty and nothing runs between fork and exec, so that the standard library uses
//! `posix_spawn`, which does not get slower as the daemon grows.

use std::cell::{Cell, OnceCell};
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::rc::Rc;

use berth_common::channel::{Channel, Message};
use berth_common::points;
use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;
use rustix::process::{Pid, PidfdFlags};
use tokio::sync::{Notify, watch};

use crate::exit::KillReason;
use crate::process::{Peer, Process};
use crate::sys;

/// Most bytes of a process's standard error that are logged; at this many the pipe is closed.
const PANIC_BYTES: usize = 8 * 1024;

/// Knows where the helpers are, what they inherit and how many live.
pub(crate) struct Spawner {
    directory: PathBuf,
    lock: OwnedFd,
    alive: Rc<Alive>,
}

/// How many processes are not reaped yet.
#[derive(Default)]
struct Alive {
    count: Cell<u32>,
    changed: Notify,
}

/// Why the helpers cannot be found.
#[derive(Debug, thiserror::Error)]
#[error("{path:?} is not there: name its directory by --libexec-dir ({source})")]
pub(crate) struct HelperMissing {
    path: PathBuf,
    source: io::Error,
}

pub(crate) const WORKER: &str = "berth-worker";
pub(crate) const FILER: &str = "berth-filer";

impl Spawner {
    /// Helpers are in `directory`, or beside the daemon's own program; they inherit `lock`.
    ///
    /// # Errors
    /// When one of them is not there.
    pub(crate) fn new(directory: Option<&Path>, lock: OwnedFd) -> Result<Self, HelperMissing> {
        let missing = |path: &Path| {
            let path = path.to_owned();
            move |source| HelperMissing { path, source }
        };
        let directory = match directory {
            // Made absolute: a bare name would be looked for in $PATH.
            Some(path) => std::path::absolute(path).map_err(missing(path))?,
            None => {
                let own = std::env::current_exe().map_err(missing(Path::new("/proc/self/exe")))?;
                own.parent().unwrap_or(Path::new("/")).to_owned()
            }
        };
        for program in [WORKER, FILER] {
            let path = directory.join(program);
            std::fs::metadata(&path).map_err(missing(&path))?;
        }
        Ok(Self { directory, lock, alive: Rc::default() })
    }

    /// Starts one of the two programs.
    ///
    /// # Errors
    /// When the system gives no process, descriptors or memory.
    pub(crate) fn spawn<Tx: Message, Rx: Message>(
        &self,
        program: &'static str,
    ) -> io::Result<Peer<Tx, Rx>> {
        let (ours, theirs) = Channel::<Tx, Rx>::pair()?;
        let (panics, stderr) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC)?;
        rustix::io::ioctl_fionbio(&panics, true)?;
        let mut command = Command::new(self.directory.join(program));
        command
            .arg0(program)
            .env_clear()
            .args(points::helper_argument())
            .stdin(Stdio::from(theirs.into_descriptor()))
            .stdout(Stdio::from(self.lock.try_clone()?))
            .stderr(Stdio::from(stderr));
        let child = command.spawn()?;
        // Closes our copies of the child's ends, or its death would go unnoticed.
        drop(command);
        let process = self.watch(program, child, panics)?;
        Peer::new(process.clone(), ours).inspect_err(|error| {
            process.kill(KillReason::Channel(error.to_string()));
        })
    }

    fn watch(
        &self,
        program: &'static str,
        mut child: Child,
        panics: OwnedFd,
    ) -> io::Result<Rc<Process>> {
        let pid = child.id();
        let opened = Pid::from_raw(pid as i32)
            .ok_or(rustix::io::Errno::SRCH)
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
        let process =
            Rc::new(Process { program, pid, pidfd: pidfd.clone(), exit, killed: OnceCell::new() });
        let alive = self.alive.clone();
        alive.count.set(alive.count.get() + 1);
        tokio::task::spawn_local(async move {
            let status = loop {
                if let Err(error) = pidfd.readable().await.map(|mut ready| ready.clear_ready()) {
                    tracing::error!(program, pid, %error, "cannot wait for a process");
                }
                match child.try_wait() {
                    Ok(Some(status)) => break status,
                    Ok(None) => {}
                    Err(error) => tracing::error!(program, pid, %error, "cannot reap a process"),
                }
            };
            alive.count.set(alive.count.get() - 1);
            alive.changed.notify_waiters();
            report.send_replace(Some(status));
        });
        tokio::task::spawn_local(log_panics(program, pid, panics));
        Ok(process)
    }

    /// Waits until no helper lives.
    pub(crate) async fn all_reaped(&self) {
        while self.alive.count.get() > 0 {
            self.alive.changed.notified().await;
        }
    }
}

/// Logs what a process writes to its standard error, a line at a time as it comes: nothing, unless it panics
/// or meets what an administrator has to know. Ends with the pipe, or at the bound.
async fn log_panics(program: &'static str, pid: u32, pipe: OwnedFd) {
    let Ok(pipe) = sys::watch(pipe) else { return };
    let report = |line: &[u8]| {
        let text = String::from_utf8_lossy(line);
        tracing::error!(program, pid, text = ?text.trim_end(), "a helper wrote to standard error");
    };
    let mut text = Vec::new();
    let mut read = 0;
    while read < PANIC_BYTES {
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
            Err(rustix::io::Errno::AGAIN) => ready.clear_ready(),
            Err(rustix::io::Errno::INTR) => {}
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
    use std::time::Duration;

    use berth_common::broker_protocol::{DaemonToWorker, WorkerToDaemon};

    use super::*;
    use crate::exit::ExitReport;
    use crate::process::PeerError;

    type Worker = Peer<DaemonToWorker, WorkerToDaemon>;

    /// A directory whose helpers are this shell script.
    fn helpers(script: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        for program in [WORKER, FILER] {
            let path = dir.path().join(program);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        dir
    }

    fn spawner(dir: &Path) -> Spawner {
        let lock = std::fs::File::create(dir.join("lock")).unwrap();
        Spawner::new(Some(dir), lock.into()).unwrap()
    }

    fn local<F: Future>(future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let in_time =
            async { tokio::time::timeout(Duration::from_secs(20), future).await.unwrap() };
        tokio::task::LocalSet::new().block_on(&runtime, in_time)
    }

    #[test]
    fn a_helper_inherits_channel_lock_and_pipe_and_no_environment() {
        let script = "for fd in 0 1 2; do readlink /proc/$$/fd/$fd; done >&1; \
                      tr '\\0' '\\n' < /proc/$$/environ | grep -c . >&1; \
                      for fd in /proc/$$/fd/*; do readlink $fd; done >&1; exit 3";
        let dir = helpers(script);
        // As the daemon does at its start.
        sys::close_on_exec_from(3).unwrap();
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(WORKER).unwrap();
            let status = worker.process().reaped().await;
            assert_eq!(ExitReport::new(status, None, None), ExitReport::Failed(3));
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
        let inherited = all.iter().filter(|link| !link.ends_with(WORKER));
        let inherited: Vec<&str> = inherited.copied().collect();
        assert_eq!(inherited, [channel, lock, pipe]);
    }

    #[test]
    fn killing_is_reported_with_its_reason_and_hits_nobody_twice() {
        let dir = helpers("exec sleep 600");
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(WORKER).unwrap();
            worker.process().kill(KillReason::Administrator);
            worker.process().kill(KillReason::Shutdown);
            let status = worker.process().reaped().await;
            let report = ExitReport::new(status, worker.process().killed(), None);
            assert_eq!(report, ExitReport::Killed(KillReason::Administrator));
            worker.process().kill(KillReason::Shutdown);
        });
    }

    #[test]
    fn a_helper_that_floods_its_standard_error_is_cut_off() {
        let dir = helpers("exec cat /dev/zero >&2");
        local(async {
            let spawner = spawner(dir.path());
            let worker: Worker = spawner.spawn(WORKER).unwrap();
            let status = worker.process().reaped().await;
            let report = ExitReport::new(status, None, None);
            assert!(
                matches!(report, ExitReport::Crashed(13) | ExitReport::Failed(1)),
                "{report:?}"
            );
        });
    }

    #[test]
    fn missing_helpers_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let lock = tempfile::tempfile().unwrap();
        let error = Spawner::new(Some(dir.path()), lock.into()).err().unwrap().to_string();
        assert!(error.contains("berth-worker") && error.contains("--libexec-dir"), "{error}");
    }
}
