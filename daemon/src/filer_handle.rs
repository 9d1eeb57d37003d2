//! What the daemon does to a filer: gives it its role, and orders one that does not serve about.
//!
//! What a serving filer asks is answered in [`crate::serve`].

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use berth_common::channel::Channel;
use berth_common::filer_protocol::{FilerToWorker, WorkerToFiler};
use berth_common::ids::{OpId, OwedName, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, Finding, Role, StagingSync};
use berth_common::limits::{FINDINGS_PER_MESSAGE, NAMES_PER_MESSAGE};
use berth_common::sandbox_mode::SandboxMode;
use rustix::fd::{AsFd as _, OwnedFd};

use crate::activity::Activity;
use crate::answers::{Answers, SaidTooMuch, short};
use crate::asked::{self, FilerPhase};
use crate::bucket::WORKING_FILER;
use crate::config::Config;
use crate::exit::{ExitReport, KillReason};
use crate::heartbeat;
use crate::incidents::Task;
use crate::process::Peer;
use crate::program::Program;
use crate::spares::{Setup, SparePhase, Spares};
use crate::spawn::Spawner;
use crate::sys;

/// A filer.
pub(crate) type Filer = Peer<DaemonToFiler, FilerToDaemon>;

/// The spare filers.
pub(crate) type SpareFilers = Spares<DaemonToFiler, FilerToDaemon>;

/// How long a filer may take to demote itself to its directories.
const JOIN: Duration = Duration::from_secs(20);

/// How long a filer may say nothing while it carries out an order. One that recovers tells every 30 s that it goes
/// on, but for a sync of the whole file system, which takes minutes where a slow disk has much to write.
pub(crate) const SILENCE: Duration = Duration::from_secs(600);

/// How long a recovering filer may take to end after its last order.
const FAREWELL: Duration = Duration::from_secs(5);

/// Keeps as many spare filers as the configuration says.
pub(crate) fn spares(
    config: &Config,
    spawner: &Rc<Spawner>,
    activity: &Rc<Activity>,
) -> Rc<SpareFilers> {
    let (spawner, activity) = (spawner.clone(), activity.clone());
    Spares::start(Program::Filer, config.spare_filers, spawner, activity, Setup::none(), may_send)
}

/// What a filer may send before it has a role.
fn may_send(phase: SparePhase, message: &FilerToDaemon) -> bool {
    let phase = match phase {
        SparePhase::Starting => FilerPhase::Starting,
        SparePhase::Spare => FilerPhase::Spare,
    };
    asked::may_send(phase, message)
}

/// Why a filer does not do what it should.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilerError {
    /// It ended, or was ended.
    #[error("the filer ended ({0})")]
    Ended(ExitReport),
    /// It reports that it cannot.
    #[error("the filer failed: {0:?}")]
    Failed(String),
    /// It reports that what it looked at could not be made durable.
    #[error("the file system could not be synced: {0:?}")]
    Unsynced(String),
    /// The user's directories cannot be opened.
    #[error("the home cannot be opened: {0}")]
    Home(#[source] io::Error),
    /// The system gave no channel.
    #[error("no channel for the filer: {0}")]
    Channel(#[from] io::Error),
}

/// Ends a filer that nobody came to own.
pub(crate) struct Unowned {
    filer: Option<Rc<Filer>>,
    answers: RefCell<Answers>,
}

impl Unowned {
    /// Takes responsibility.
    pub(crate) fn new(filer: Rc<Filer>) -> Self {
        Self { filer: Some(filer), answers: RefCell::new(Answers::new(Instant::now())) }
    }

    /// It is owned from now on.
    pub(crate) fn owned(mut self) -> Option<Rc<Filer>> {
        self.filer.take()
    }

    fn filer(&self) -> Option<&Rc<Filer>> {
        self.filer.as_ref()
    }
}

impl Drop for Unowned {
    fn drop(&mut self) {
        if let Some(filer) = self.filer.take() {
            filer.process().kill(KillReason::Unneeded);
        }
    }
}

/// Makes a spare filer serve a session. Returns it with the worker's end of the channel between them.
///
/// # Errors
/// When it ends instead, or there is no channel.
///
/// # Cancel safety
/// The filer is killed.
pub(crate) async fn serve(
    filer: Rc<Filer>,
    user: &UserName,
    session: SessionId,
    (home, staging): (OwnedFd, OwnedFd),
    sync: StagingSync,
    sandbox: SandboxMode,
) -> Result<(Rc<Filer>, OwnedFd), FilerError> {
    let (workers_end, filers_end) = Channel::<WorkerToFiler, FilerToWorker>::pair()?;
    filer.process().set_task(Task { session: Some(session), user: Some(user.clone()), peer: None });
    // It copies what is appended to, and is bounded by what the user may do; see docs/THREAT-MODEL.md.
    filer.process().limit_file_sizes(None)?;
    let role = Role::Serve { user: user.clone(), session, sync, sandbox };
    let filers_end = filers_end.into_descriptor();
    // A worker hands its filer nothing.
    sys::refuse_descriptors(filers_end.as_fd())?;
    let rights = [home.as_fd(), staging.as_fd(), filers_end.as_fd()];
    filer.send(&DaemonToFiler::Join(role), &rights);
    Ok((joined(filer).await?, workers_end.into_descriptor()))
}

/// Makes a spare filer walk a user's home.
///
/// # Errors
/// When it ends instead.
pub(crate) async fn walk(
    filer: Rc<Filer>,
    user: &UserName,
    home: OwnedFd,
    sandbox: SandboxMode,
) -> Result<Unowned, FilerError> {
    filer.process().set_task(Task { user: Some(user.clone()), ..Task::default() });
    let role = Role::Walk { user: user.clone(), sandbox };
    filer.send(&DaemonToFiler::Join(role), &[home.as_fd()]);
    Ok(Unowned::new(joined(filer).await?))
}

async fn joined(filer: Rc<Filer>) -> Result<Rc<Filer>, FilerError> {
    let guard = Unowned::new(filer.clone());
    let reason = match tokio::time::timeout(JOIN, filer.recv()).await {
        Ok(Ok(message)) if asked::may_send(FilerPhase::Joining, &message) => {
            filer.set_rate(WORKING_FILER);
            return Ok(guard.owned().unwrap_or(filer));
        }
        Ok(Ok(other)) => Some(KillReason::Broken(asked::name(&other).to_owned())),
        Ok(Err(error)) => error.kill_reason(),
        Err(_) => Some(KillReason::TimedOut("did not join")),
    };
    let filer = guard.filer().unwrap_or(&filer);
    Err(ended(filer, reason).await)
}

async fn ended(filer: &Filer, reason: Option<KillReason>) -> FilerError {
    let patience = if reason.is_some() { Duration::ZERO } else { FAREWELL };
    let reason = reason.unwrap_or(KillReason::TimedOut("did not end"));
    filer.process().end_within(patience, reason).await;
    FilerError::Ended(filer.process().report(None).await)
}

/// A filer in the role *recover*. It is killed when this is dropped before [`Recoverer::finish`].
pub(crate) struct Recoverer {
    filer: Unowned,
    next: u32,
}

impl Recoverer {
    /// Makes a spare filer recover a user's staging.
    ///
    /// # Errors
    /// When it ends instead.
    pub(crate) async fn join(
        filer: Rc<Filer>,
        user: &UserName,
        staging: OwnedFd,
        sync: StagingSync,
        sandbox: SandboxMode,
    ) -> Result<Self, FilerError> {
        filer.process().set_task(Task { user: Some(user.clone()), ..Task::default() });
        let role = Role::Recover { user: user.clone(), sync, sandbox };
        filer.send(&DaemonToFiler::Join(role), &[staging.as_fd()]);
        let filer = Unowned::new(joined(filer).await?);
        Ok(Self { filer, next: 0 })
    }

    /// Makes staging durable, and tells what stands at these names.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn examine(
        &mut self,
        names: &[StagingName],
    ) -> Result<Vec<Finding>, FilerError> {
        self.findings(names, |op, names| DaemonToFiler::Examine { op, names }).await
    }

    /// Tells what stands at these names, durable or not.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn look(&mut self, names: &[StagingName]) -> Result<Vec<Finding>, FilerError> {
        self.findings(names, |op, names| DaemonToFiler::Look { op, names }).await
    }

    async fn findings(
        &mut self,
        names: &[StagingName],
        order: impl Fn(OpId, Vec<StagingName>) -> DaemonToFiler,
    ) -> Result<Vec<Finding>, FilerError> {
        let mut all = Vec::with_capacity(names.len());
        for names in names.chunks(FINDINGS_PER_MESSAGE) {
            let op = self.op();
            let order = order(op, names.to_vec());
            match self.order(op, &order).await? {
                FilerToDaemon::Findings { findings, .. } if findings.len() == names.len() => {
                    all.extend(findings);
                }
                other => return Err(self.broke(&other).await),
            }
        }
        Ok(all)
    }

    /// Removes what stands at these names, and their journals.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn remove(&mut self, names: &[StagingName]) -> Result<(), FilerError> {
        for names in names.chunks(NAMES_PER_MESSAGE) {
            let op = self.op();
            let order = DaemonToFiler::Remove { op, names: names.to_vec() };
            self.done(op, &order).await?;
        }
        Ok(())
    }

    /// Removes all in staging that is not at one of these names.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn sweep(&mut self, keep: &[StagingName]) -> Result<(), FilerError> {
        for (count, names) in keep.chunks(NAMES_PER_MESSAGE).enumerate() {
            if let Some(filer) = self.filer.filer() {
                filer.send(&DaemonToFiler::Keep { names: names.to_vec() }, &[]);
            }
            // Keep is not answered: an examination in between keeps the buffer from filling.
            if count % 4 == 3 {
                let op = self.op();
                self.order(op, &DaemonToFiler::Examine { op, names: Vec::new() }).await?;
            }
        }
        let op = self.op();
        self.done(op, &DaemonToFiler::Sweep { op }).await
    }

    /// Some of the owed names; none when none are left.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn list_owed(&mut self) -> Result<Vec<OwedName>, FilerError> {
        let op = self.op();
        match self.order(op, &DaemonToFiler::ListOwed { op }).await? {
            FilerToDaemon::OwedNames { names, .. } if names.len() <= FINDINGS_PER_MESSAGE => {
                Ok(names)
            }
            other => Err(self.broke(&other).await),
        }
    }

    /// Gives what is owed the names of intents; as many at most as are listed at once.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn take_owed(
        &mut self,
        pairs: Vec<(OwedName, StagingName)>,
    ) -> Result<(), FilerError> {
        let op = self.op();
        self.done(op, &DaemonToFiler::TakeOwed { op, pairs }).await
    }

    /// Removes all in staging, of a user who is removed.
    ///
    /// # Errors
    /// When it cannot, or ends.
    pub(crate) async fn empty(&mut self) -> Result<(), FilerError> {
        let op = self.op();
        self.done(op, &DaemonToFiler::Empty { op }).await
    }

    /// Lets it end, and waits until it is reaped.
    pub(crate) async fn finish(self) {
        self.filer.finish().await;
    }

    fn op(&mut self) -> OpId {
        self.next = self.next.wrapping_add(1);
        OpId(self.next)
    }

    async fn done(&mut self, op: OpId, order: &DaemonToFiler) -> Result<(), FilerError> {
        match self.order(op, order).await? {
            FilerToDaemon::Done { .. } => Ok(()),
            other => Err(self.broke(&other).await),
        }
    }

    async fn order(&self, op: OpId, order: &DaemonToFiler) -> Result<FilerToDaemon, FilerError> {
        self.filer.order(FilerPhase::Recovering, op, order).await
    }

    async fn broke(&self, message: &FilerToDaemon) -> FilerError {
        self.filer.broke(message).await
    }
}

impl Unowned {
    /// One order at a time, so that the answer can only be this one's. There is no deadline for one that tells that
    /// it goes on: a tree may have millions of entries.
    ///
    /// # Errors
    /// When it cannot carry it out, ends, or says nothing for too long.
    pub(crate) async fn order(
        &self,
        phase: FilerPhase,
        op: OpId,
        order: &DaemonToFiler,
    ) -> Result<FilerToDaemon, FilerError> {
        let Some(filer) = self.filer() else {
            return Err(gone());
        };
        filer.send(order, &[]);
        let received = loop {
            match tokio::time::timeout(SILENCE, filer.recv()).await {
                Ok(Ok(message)) => {
                    let is_alive =
                        message == FilerToDaemon::Alive && phase == FilerPhase::Recovering;
                    let answers = is_alive || asked::answers(phase, &message) == Some(op);
                    let heard = self.answers.borrow_mut().hear(&message, Instant::now());
                    match heard {
                        _ if !answers => break Err(Some(broken(&message, None))),
                        Err(error) => break Err(Some(broken(&message, Some(error)))),
                        Ok(()) if is_alive => {}
                        Ok(()) => break Ok(message),
                    }
                }
                Ok(Err(error)) => break Err(error.kill_reason()),
                Err(_) => break Err(Some(KillReason::TimedOut(heartbeat::SILENT))),
            }
        };
        match received {
            Ok(FilerToDaemon::Failed { reason, .. }) => Err(FilerError::Failed(short(reason))),
            Ok(FilerToDaemon::SyncFailed { reason, .. }) => {
                Err(FilerError::Unsynced(short(reason)))
            }
            Ok(message) => Ok(message),
            Err(reason) => Err(ended(filer, reason).await),
        }
    }

    /// Ends it for an answer of another kind.
    pub(crate) async fn broke(&self, message: &FilerToDaemon) -> FilerError {
        match self.filer() {
            Some(filer) => ended(filer, Some(broken(message, None))).await,
            None => gone(),
        }
    }

    /// Lets it end, and waits until it is reaped.
    pub(crate) async fn finish(self) {
        if let Some(filer) = self.owned() {
            let process = filer.process().clone();
            // The end of its channel tells it.
            drop(filer);
            process.end_within(FAREWELL, KillReason::TimedOut("did not end")).await;
            process.report(None).await;
        }
    }
}

/// Why it is ended for a message: it was not asked for, or it is too much.
fn broken(message: &FilerToDaemon, error: Option<SaidTooMuch>) -> KillReason {
    let name = asked::name(message);
    KillReason::Broken(match error {
        Some(error) => format!("{name}: {error}"),
        None => format!("{name} is no answer to its order"),
    })
}

fn gone() -> FilerError {
    FilerError::Ended(ExitReport::Normal)
}
