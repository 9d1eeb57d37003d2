//! Spare helpers: spawned before they are needed, so that a connection or a login costs no spawn.
//!
//! Replacements wait for an idle moment, unless somebody waits for one. A program that fails to start is
//! started again ever more slowly. A spare that speaks or dies before it is taken is removed. When the
//! configuration has changed, all are replaced by such as are set up by it.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use berth_common::channel::Message;
use tokio::sync::{Notify, oneshot};

use crate::activity::Activity;
use crate::exit::KillReason;
use crate::incidents::Incidents;
use crate::process::Peer;
use crate::program::Program;
use crate::spawn::Spawner;

/// How long a helper may take to say that it is ready.
const START: Duration = Duration::from_secs(20);

/// Longest wait for an idle moment.
const IDLE_WAIT: Duration = Duration::from_millis(250);

/// Pauses after failures to start double from the first to the last of these.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LAST_PAUSE: Duration = Duration::from_secs(30);

/// Where a helper stands before it has a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SparePhase {
    /// It sets itself up; what it may send means that it is ready.
    Starting,
    /// It waits.
    Spare,
}

/// The part of a helper's phase table for these phases.
type MaySend<Rx> = fn(SparePhase, &Rx) -> bool;

/// What a new process is made with.
pub(crate) struct Setup<Tx, Kept = ()> {
    /// What it is sent first.
    pub(crate) first: Option<Tx>,
    /// What belongs to that, and is kept for whoever takes it.
    pub(crate) kept: Kept,
}

impl<Tx> Setup<Tx> {
    /// Nothing.
    pub(crate) fn none() -> Self {
        Self { first: None, kept: () }
    }
}

/// The spares of one program.
pub(crate) struct Spares<Tx, Rx, Kept = ()> {
    program: Program,
    target: Cell<usize>,
    spawner: Rc<Spawner>,
    activity: Rc<Activity>,
    setup: RefCell<Rc<Setup<Tx, Kept>>>,
    may_send: MaySend<Rx>,
    ready: RefCell<VecDeque<Spare<Tx, Rx, Kept>>>,
    starting: RefCell<Vec<Rc<Peer<Tx, Rx>>>>,
    waiting: Cell<usize>,
    failures: Cell<u32>,
    stopped: Cell<bool>,
    changed: Notify,
}

struct Spare<Tx, Rx, Kept> {
    peer: Rc<Peer<Tx, Rx>>,
    setup: Rc<Setup<Tx, Kept>>,
    taken: oneshot::Sender<()>,
}

/// Somebody who waits for a spare.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<Tx, Rx, Kept> Spares<Tx, Rx, Kept>
where
    Tx: Message + 'static,
    Rx: Message + 'static,
    Kept: Clone + 'static,
{
    /// Keeps `target` spares of a program from now on. A new process is ready when it has sent what it may
    /// send while it starts.
    pub(crate) fn start(
        program: Program,
        target: u32,
        spawner: Rc<Spawner>,
        activity: Rc<Activity>,
        setup: Setup<Tx, Kept>,
        may_send: MaySend<Rx>,
    ) -> Rc<Self> {
        let this = Rc::new(Self {
            program,
            target: Cell::new(target as usize),
            spawner,
            activity,
            setup: RefCell::new(Rc::new(setup)),
            may_send,
            ready: RefCell::default(),
            starting: RefCell::default(),
            waiting: Cell::new(0),
            failures: Cell::new(0),
            stopped: Cell::new(false),
            changed: Notify::new(),
        });
        tokio::task::spawn_local(this.clone().keep());
        this
    }

    /// What went wrong with the processes.
    pub(crate) fn incidents(&self) -> &Rc<Incidents> {
        self.spawner.incidents()
    }

    /// How many are ready.
    pub(crate) fn count(&self) -> u32 {
        self.ready.borrow().len() as u32
    }

    /// Takes one, waiting for it if there is none.
    ///
    /// # Cancel safety
    /// None is lost.
    pub(crate) async fn take(&self) -> Rc<Peer<Tx, Rx>> {
        self.take_with().await.0
    }

    /// The same, with what is kept beside it.
    ///
    /// # Cancel safety
    /// None is lost.
    pub(crate) async fn take_with(&self) -> (Rc<Peer<Tx, Rx>>, Kept) {
        let _waiting = self.wait();
        loop {
            let spare = self.ready.borrow_mut().pop_front();
            if let Some(Spare { peer, setup, taken }) = spare {
                self.changed.notify_waiters();
                // Its guardian is gone when it has just died: the taker finds that out.
                let _ = taken.send(());
                return (peer, setup.kept.clone());
            }
            self.changed.notified().await;
        }
    }

    /// Ends all spares and makes no more.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        self.retire_all();
    }

    /// Replaces all spares by as many as this, made with this. Those that were taken stay.
    pub(crate) fn renew(&self, target: u32, setup: Setup<Tx, Kept>) {
        self.target.set(target as usize);
        self.setup.replace(Rc::new(setup));
        self.retire_all();
    }

    /// Keeps so many from now on.
    pub(crate) fn resize(&self, target: u32) {
        self.target.set(target as usize);
        let mut ready = self.ready.borrow_mut();
        while ready.len() > self.target.get() {
            if let Some(spare) = ready.pop_back() {
                spare.peer.process().kill(KillReason::Unneeded);
            }
        }
        self.changed.notify_waiters();
    }

    /// Their guardians see that they are not there any more; the spawner reaps them.
    fn retire_all(&self) {
        for spare in self.ready.borrow_mut().drain(..) {
            spare.peer.process().kill(KillReason::Unneeded);
        }
        for peer in self.starting.borrow_mut().drain(..) {
            peer.process().kill(KillReason::Unneeded);
        }
        self.changed.notify_waiters();
    }

    fn wait(&self) -> Waiting<'_> {
        self.waiting.set(self.waiting.get() + 1);
        self.changed.notify_waiters();
        Waiting(&self.waiting)
    }

    async fn keep(self: Rc<Self>) {
        while !self.stopped.get() {
            let awaited = self.is_awaited();
            if self.coming() >= self.target.get() && !awaited {
                self.changed.notified().await;
                continue;
            }
            match self.failures.get() {
                0 if awaited => {}
                // Whoever waits from now on would wait for that moment, which may never come while clients
                // dawdle in their handshakes.
                0 => tokio::select! {
                    () = self.activity.idle(IDLE_WAIT) => {}
                    () = self.awaited() => {}
                },
                count => tokio::time::sleep(pause(count)).await,
            }
            if !self.stopped.get() {
                self.spawn_one();
            }
            // Those who wait for it, and those who can now be served, come first.
            tokio::task::yield_now().await;
        }
    }

    fn coming(&self) -> usize {
        self.ready.borrow().len() + self.starting.borrow().len()
    }

    fn is_awaited(&self) -> bool {
        self.waiting.get() > self.coming()
    }

    /// Until somebody waits for one that is not even starting.
    async fn awaited(&self) {
        while !self.is_awaited() {
            self.changed.notified().await;
        }
    }

    fn spawn_one(self: &Rc<Self>) {
        match self.spawner.spawn::<Tx, Rx>(self.program) {
            Ok(peer) => {
                let peer = Rc::new(peer);
                self.starting.borrow_mut().push(peer.clone());
                tokio::task::spawn_local(self.clone().tend(peer));
            }
            Err(error) => {
                self.failures.set(self.failures.get().saturating_add(1));
                tracing::error!(program = %self.program, %error, "cannot start a helper");
            }
        }
    }

    /// Stays with a helper from its start until it is taken or ends.
    async fn tend(self: Rc<Self>, peer: Rc<Peer<Tx, Rx>>) {
        let setup = self.setup.borrow().clone();
        if let Some(first) = &setup.first {
            peer.send(first, &[]);
        }
        let answer = tokio::time::timeout(START, peer.recv()).await;
        self.starting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &peer));
        // What it said before it was retired does not count.
        if peer.process().killed() == Some(&KillReason::Unneeded) {
            return;
        }
        let failure = match answer {
            Ok(Ok(message)) if (self.may_send)(SparePhase::Starting, &message) => None,
            Ok(Ok(_)) => Some(KillReason::Broken("not ready first".to_owned())),
            Ok(Err(error)) => Some(error.kill_reason().unwrap_or(KillReason::Unneeded)),
            Err(_) => Some(KillReason::TimedOut("did not start")),
        };
        match failure {
            Some(reason) => {
                self.failures.set(self.failures.get().saturating_add(1));
                self.lost(&peer, reason).await;
            }
            None => {
                self.failures.set(0);
                self.guard(peer, setup).await;
            }
        }
    }

    async fn guard(&self, peer: Rc<Peer<Tx, Rx>>, setup: Rc<Setup<Tx, Kept>>) {
        let (taken, is_taken) = oneshot::channel();
        self.ready.borrow_mut().push_back(Spare { peer: peer.clone(), setup, taken });
        self.changed.notify_waiters();
        tokio::pin!(is_taken);
        let message = loop {
            let message = tokio::select! {
                biased;
                _ = &mut is_taken => return,
                message = peer.recv() => message,
            };
            if !matches!(&message, Ok(message) if (self.may_send)(SparePhase::Spare, message)) {
                break message;
            }
        };
        self.ready.borrow_mut().retain(|spare| !Rc::ptr_eq(&spare.peer, &peer));
        if !self.stopped.get() {
            let reason = match message {
                Ok(_) => KillReason::Broken("spoke while it was a spare".to_owned()),
                Err(error) => error.kill_reason().unwrap_or(KillReason::Unneeded),
            };
            self.lost(&peer, reason).await;
        }
    }

    async fn lost(&self, peer: &Peer<Tx, Rx>, reason: KillReason) {
        let process = peer.process();
        // It has closed its channel, so it ends; the report tells how, unless it lingers.
        let patience = match reason {
            KillReason::Unneeded => Duration::from_secs(2),
            _ => Duration::ZERO,
        };
        process.end_within(patience, reason).await;
        let report = process.report(None).await;
        tracing::error!(program = %self.program, pid = process.pid, %report, "a spare was lost");
        self.changed.notify_waiters();
    }
}

/// How long to wait after so many failures in a row.
fn pause(failures: u32) -> Duration {
    FIRST_PAUSE.saturating_mul(1 << failures.min(16).saturating_sub(1)).min(LAST_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn failures_to_start_slow_the_next_tries_down() {
        let pauses: Vec<u128> = [1, 2, 3, 9, 10, 1000].map(|n| pause(n).as_millis()).into();
        assert_eq!(pauses, [100, 200, 400, 25_600, 30_000, 30_000]);
    }
}
