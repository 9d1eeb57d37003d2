//! One program from its request to its end: a jail is started for it, its pipes go to jail and worker, and it is ended
//! when its time is up, when its client or its session wants that, or by itself.
//!
//! Its owner waits for [`run`] to return, which is after the jail and all that came of it is reaped
//! ([`crate::spawn`]): nothing of the program is left then.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::broker_protocol::ExecStopped;
use berth_common::error_code::ErrorCode;
use berth_common::exec::{Arguments, ExecEnd, ProgramName};
use berth_common::ids::{RequestId, SessionId, UserName};
use berth_common::jail_protocol::{
    DaemonToJail, End, JailToDaemon, Limits, Refusal, Task as JailTask,
};
use berth_common::rel_path::RelPath;
use rustix::fd::{AsFd as _, OwnedFd};
use rustix::pipe::PipeFlags;

use super::finding::{self, Found, NotFound};
use super::places::Place;
use crate::config::ExecConfig;
use crate::daemon::Daemon;
use crate::exit::KillReason;
use crate::incidents::Task;
use crate::ledger::LedgerError;
use crate::process::Peer;
use crate::program::Program;
use crate::tasks::Flag;
use crate::worker_handle::SharedWorker;

/// A jail.
type Jail = Peer<DaemonToJail, JailToDaemon>;

/// How long a jail may take to make its walls and start the program.
const START: Duration = Duration::from_secs(20);

/// How long it may take from the order to end the program until it has ended itself.
const FAREWELL: Duration = Duration::from_secs(5);

/// The signal at the end of a program's time on the processor.
const SIGXCPU: u8 = 24;
const SIGKILL: u8 = 9;

/// What is to be run, for whom.
pub(crate) struct Order {
    pub(crate) session: SessionId,
    pub(crate) user: UserName,
    pub(crate) worker: SharedWorker,
    pub(crate) id: RequestId,
    pub(crate) program: ProgramName,
    pub(crate) arguments: Arguments,
    pub(crate) directory: RelPath,
    /// Given back when nothing of it is left.
    pub(crate) place: Place,
}

/// Why a program is ended before it ends by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stop {
    /// Its worker wants it.
    Worker(ExecStopped),
    /// Its session is over.
    Session,
    /// It has run for as long as it may.
    Time,
}

/// By which a program's owner has it ended. The first reason counts.
#[derive(Clone, Default)]
pub(crate) struct Stopping {
    why: Rc<Cell<Option<Stop>>>,
    flag: Flag,
}

impl Stopping {
    /// Ends it soon.
    pub(crate) fn stop(&self, why: Stop) {
        if self.why.get().is_none() {
            self.why.set(Some(why));
        }
        self.flag.raise();
    }

    async fn asked(&self) -> Stop {
        self.flag.up().await;
        self.why.get().unwrap_or(Stop::Session)
    }
}

/// What came of a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It ran.
    Ended(ExecEnd),
    /// It did not, or its client does not want it any more.
    Failed(ErrorCode),
}

/// Why it is not run.
#[derive(Debug, thiserror::Error)]
enum Obstacle {
    #[error("it is not allowed to the user")]
    NotAllowed,
    #[error("{0}")]
    NotFound(#[from] NotFound),
    #[error("{0}")]
    Ledger(#[from] LedgerError),
    #[error("{0}")]
    Io(#[from] std::io::Error),
    #[error("its directory: {0}")]
    Directory(ErrorCode),
    #[error("there is no jail for it: {0}")]
    Jail(String),
    #[error("the kernel does not execute it: {0}")]
    Execute(std::io::Error),
    #[error("its session is over, or its client does not want it any more")]
    Stopped,
}

impl Obstacle {
    /// What the client learns.
    fn code(&self) -> ErrorCode {
        match self {
            Self::NotAllowed | Self::NotFound(_) => ErrorCode::ProgramNotAllowed,
            Self::Ledger(_) => ErrorCode::LedgerUnavailable,
            Self::Directory(code) => code.clone(),
            Self::Io(_) | Self::Jail(_) | Self::Execute(_) => ErrorCode::ExecUnavailable,
            Self::Stopped => ErrorCode::Cancelled,
        }
    }

    /// Whether an administrator has to do something about it.
    fn is_a_fault(&self) -> bool {
        match self {
            Self::Ledger(_) | Self::Io(_) | Self::Jail(_) | Self::Execute(_) => true,
            Self::NotAllowed | Self::NotFound(_) | Self::Directory(_) | Self::Stopped => false,
        }
    }
}

/// How a jail told of the program's end, and of what it used.
struct Told {
    end: ExecEnd,
    cpu_ms: Option<u64>,
}

/// Runs it, and logs that. Returns when nothing of it is left.
pub(crate) async fn run(daemon: &Rc<Daemon>, order: Order, stopping: &Stopping) -> Outcome {
    let (session, user) = (order.session.0, order.user.clone());
    let (program, arguments) = (order.program.clone(), order.arguments.iter().len());
    let directory = order.directory.as_str().to_owned();
    let began = Instant::now();
    match carry_out(daemon, order, stopping).await {
        Ok((told, why)) => {
            let (end, cpu_ms) = (told.end, told.cpu_ms);
            let ms = began.elapsed().as_millis() as u64;
            let stopped = why.map(tracing::field::debug);
            tracing::info!(
                session, %user, %program, arguments, directory = ?directory, %end, stopped, ms, cpu_ms,
                "program"
            );
            match why {
                Some(Stop::Worker(ExecStopped::Cancelled) | Stop::Session) => {
                    Outcome::Failed(ErrorCode::Cancelled)
                }
                Some(Stop::Worker(ExecStopped::Output) | Stop::Time) | None => Outcome::Ended(end),
            }
        }
        Err(obstacle) => {
            let reason = &obstacle;
            if obstacle.is_a_fault() {
                tracing::error!(session, %user, %program, directory = ?directory, %reason, "program not run");
            } else {
                tracing::warn!(session, %user, %program, directory = ?directory, %reason, "program not run");
            }
            Outcome::Failed(obstacle.code())
        }
    }
}

async fn carry_out(
    daemon: &Rc<Daemon>,
    order: Order,
    stopping: &Stopping,
) -> Result<(Told, Option<Stop>), Obstacle> {
    let settings = daemon.settings();
    let exec = &settings.config.exec;
    let Order { session, user, worker, id, program, arguments, directory, place } = order;
    let mut opening = Box::pin({
        let (daemon, user, program) = (daemon.clone(), user.clone(), program.clone());
        let path = exec.path.clone();
        async move { open(&daemon, user, program, path).await }
    });
    let (home, home_path, Found { file, path }) = tokio::select! {
        biased;
        _ = stopping.asked() => {
            // Nobody waits for a disk that does not answer; the place is kept for as long as its thread is.
            tokio::task::spawn_local(async move {
                drop(opening.await);
                drop(place);
            });
            return Err(Obstacle::Stopped);
        }
        opened = &mut opening => opened?,
    };
    let (jails, workers) = pipes()?;
    let jail = Walled(daemon.spawner.spawn(Program::Jail)?);
    let task = Task { session: Some(session), user: Some(user), peer: None };
    jail.0.process().set_task(task);
    let limits = Limits { cpu_seconds: exec.cpu_seconds, memory_bytes: exec.memory_bytes };
    let run = DaemonToJail::Run(JailTask {
        sandbox: settings.config.sandbox,
        name: program,
        arguments,
        directory,
        home: home_path.into(),
        program: path.into(),
        limits,
    });
    let [input, output, errors] = &jails;
    let passed = [home.as_fd(), file.as_fd(), input.as_fd(), output.as_fd(), errors.as_fd()];
    jail.0.send(&run, &passed);
    // Whoever has a copy of them keeps the worker from seeing their end.
    drop((home, file, jails));
    let started = tokio::select! {
        biased;
        _ = stopping.asked() => {
            jail.0.send(&DaemonToJail::Stop, &[]);
            // Its word that the program runs may be under way.
            let last = async {
                if starting(&jail.0).await.is_ok() {
                    ending(&jail.0).await;
                }
            };
            drop(tokio::time::timeout(FAREWELL, last).await);
            Err(Obstacle::Stopped)
        }
        started = starting(&jail.0) => started,
    };
    if let Err(obstacle) = started {
        jail.end().await;
        return Err(obstacle);
    }
    worker.program_started(id, exec.output_bytes, &workers);
    drop(workers);
    let why = tokio::select! {
        biased;
        told = ending(&jail.0) => {
            jail.end().await;
            return Ok((judged(told, None, exec), None));
        }
        why = stopping.asked() => why,
        () = tokio::time::sleep(Duration::from_secs(exec.seconds.into())) => Stop::Time,
    };
    jail.0.send(&DaemonToJail::Stop, &[]);
    let told = tokio::time::timeout(FAREWELL, ending(&jail.0)).await.unwrap_or(None);
    jail.end().await;
    drop(place);
    Ok((judged(told, Some(why), exec), Some(why)))
}

/// The home with its path, and the program, if it is allowed: on a thread of its own, since a disk may not answer.
async fn open(
    daemon: &Daemon,
    user: UserName,
    program: ProgramName,
    path: Vec<PathBuf>,
) -> Result<(OwnedFd, Vec<u8>, Found), Obstacle> {
    if !daemon.ledger.may_run(&user, program.clone()).await? {
        return Err(Obstacle::NotAllowed);
    }
    let opened = daemon.homes.off_thread(move |homes| {
        let home = homes.open_home(&user)?;
        let home_path = finding::path_of(&home)?;
        Ok((home, home_path, finding::find(&program, &path)))
    });
    let (home, home_path, found) = opened.await?;
    Ok((home, home_path, found?))
}

/// The program's ends of its three pipes, and the worker's, which do not block.
fn pipes() -> Result<([OwnedFd; 3], [OwnedFd; 3]), std::io::Error> {
    let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
    let (input, to_input) = pipe()?;
    let (from_output, output) = pipe()?;
    let (from_errors, errors) = pipe()?;
    let workers = [to_input, from_output, from_errors];
    for end in &workers {
        rustix::io::ioctl_fionbio(end, true)?;
    }
    Ok(([input, output, errors], workers))
}

/// Waits until the program runs.
async fn starting(jail: &Jail) -> Result<(), Obstacle> {
    match tokio::time::timeout(START, jail.recv()).await {
        Ok(Ok(JailToDaemon::Started)) => Ok(()),
        Ok(Ok(JailToDaemon::Refused(refusal))) => Err(match refusal {
            Refusal::NoDirectory => Obstacle::Directory(ErrorCode::NotFound),
            Refusal::NotADirectory => Obstacle::Directory(ErrorCode::NotADirectory),
            Refusal::NotServed => Obstacle::Directory(ErrorCode::NotServed),
            Refusal::Jail { step } => Obstacle::Jail(step),
            Refusal::Program { errno } => {
                Obstacle::Execute(std::io::Error::from_raw_os_error(errno))
            }
        }),
        Ok(Ok(JailToDaemon::Ended { .. })) => Err(broke(jail, "told of an end before a start")),
        Ok(Err(error)) => {
            if let Some(reason) = error.kill_reason() {
                jail.process().kill(reason);
            }
            let report = jail.process().report(None).await;
            Err(Obstacle::Jail(report.to_string()))
        }
        Err(_) => {
            jail.process().kill(KillReason::TimedOut("did not start the program"));
            Err(Obstacle::Jail("it did not start the program in time".to_owned()))
        }
    }
}

/// Waits until it has ended; `None` when the jail does not tell how.
async fn ending(jail: &Jail) -> Option<(End, u64)> {
    match jail.recv().await {
        Ok(JailToDaemon::Ended { end, cpu_milliseconds }) => Some((end, cpu_milliseconds)),
        Ok(JailToDaemon::Started | JailToDaemon::Refused(_)) => {
            broke(jail, "told again that it was or was not started");
            None
        }
        Err(error) => {
            if let Some(reason) = error.kill_reason() {
                jail.process().kill(reason);
            }
            None
        }
    }
}

fn broke(jail: &Jail, what: &str) -> Obstacle {
    jail.process().kill(KillReason::Broken(what.to_owned()));
    Obstacle::Jail(what.to_owned())
}

/// What an end is to the client.
fn judged(told: Option<(End, u64)>, why: Option<Stop>, exec: &ExecConfig) -> Told {
    let cpu_ms = told.map(|(_, cpu_ms)| cpu_ms);
    let used_up = cpu_ms.is_some_and(|ms| ms >= u64::from(exec.cpu_seconds) * 1000);
    let end = match (told, why) {
        (_, Some(Stop::Worker(ExecStopped::Output))) => {
            ExecEnd::TooMuchOutput { bytes: exec.output_bytes }
        }
        (_, Some(Stop::Time)) => ExecEnd::OutOfTime { seconds: exec.seconds },
        (Some((End::Signalled(SIGXCPU), _)), _) => ExecEnd::OutOfCpu { seconds: exec.cpu_seconds },
        (Some((End::Signalled(SIGKILL), _)), None) if used_up => {
            ExecEnd::OutOfCpu { seconds: exec.cpu_seconds }
        }
        (Some((End::Signalled(signal), _)), _) => ExecEnd::Signalled { signal },
        (Some((End::Exited(code), _)), _) => ExecEnd::Exited { code },
        (None, _) => ExecEnd::Signalled { signal: SIGKILL },
    };
    Told { end, cpu_ms }
}

/// A jail that is killed when nobody waits for it any more.
struct Walled(Jail);

impl Walled {
    /// Waits until it is reaped with all its processes, which it brings about itself once it has told its last.
    async fn end(self) {
        let late = KillReason::TimedOut("did not end with its program");
        self.0.process().end_within(FAREWELL, late).await;
        self.0.process().report(None).await;
    }
}

impl Drop for Walled {
    fn drop(&mut self) {
        self.0.process().kill(KillReason::Unneeded);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_told_by_what_brought_it_about() {
        let exec = ExecConfig {
            path: Vec::new(),
            seconds: 60,
            cpu_seconds: 30,
            memory_bytes: 1 << 28,
            output_bytes: 5,
            max_programs_per_session: 2,
            max_programs: 16,
        };
        let judge = |told, why| judged(told, why, &exec).end;
        let exited = Some((End::Exited(3), 0));
        let killed = |cpu_ms| Some((End::Signalled(SIGKILL), cpu_ms));
        assert_eq!(judge(exited, None), ExecEnd::Exited { code: 3 });
        assert_eq!(judge(Some((End::Signalled(11), 0)), None), ExecEnd::Signalled { signal: 11 });
        assert_eq!(judge(killed(29_999), None), ExecEnd::Signalled { signal: SIGKILL });
        assert_eq!(judge(killed(30_000), None), ExecEnd::OutOfCpu { seconds: 30 });
        let signal = Some((End::Signalled(SIGXCPU), 1));
        assert_eq!(judge(signal, None), ExecEnd::OutOfCpu { seconds: 30 });
        assert_eq!(judge(killed(0), Some(Stop::Time)), ExecEnd::OutOfTime { seconds: 60 });
        let output = Some(Stop::Worker(ExecStopped::Output));
        assert_eq!(judge(None, output), ExecEnd::TooMuchOutput { bytes: 5 });
        assert_eq!(judge(None, None), ExecEnd::Signalled { signal: SIGKILL });
    }

    #[test]
    fn the_first_reason_to_stop_counts() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let stopping = Stopping::default();
        stopping.stop(Stop::Worker(ExecStopped::Cancelled));
        stopping.stop(Stop::Session);
        let why = runtime.block_on(stopping.asked());
        assert_eq!(why, Stop::Worker(ExecStopped::Cancelled));
    }
}
