//! Spare helpers: spawned before they are needed, so that a connection or a login costs no spawn.
//!
//! Replacements wait for an idle moment, unless somebody waits for one. A program that fails to start is
//! started again ever more slowly. A spare that speaks or dies before it is taken is removed.

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

/// The spares of one program.
pub(crate) struct Spares<Tx, Rx> {
    program: &'static str,
    target: usize,
    spawner: Rc<Spawner>,
    activity: Rc<Activity>,
    /// What a new process is sent first.
    first: Option<Tx>,
    may_send: MaySend<Rx>,
    ready: RefCell<VecDeque<Spare<Tx, Rx>>>,
    starting: RefCell<Vec<Rc<Peer<Tx, Rx>>>>,
    waiting: Cell<usize>,
    failures: Cell<u32>,
    stopped: Cell<bool>,
    changed: Notify,
}

struct Spare<Tx, Rx> {
    peer: Rc<Peer<Tx, Rx>>,
    taken: oneshot::Sender<()>,
}

/// Somebody who waits for a spare.
struct Waiting<'a>(&'a Cell<usize>);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.set(self.0.get() - 1);
    }
}

impl<Tx: Message + 'static, Rx: Message + 'static> Spares<Tx, Rx> {
    /// Keeps `target` spares of a program from now on. A new process is sent `first`, and is ready when
    /// it has sent what it may send while it starts.
    pub(crate) fn start(
        program: &'static str,
        target: u32,
        spawner: Rc<Spawner>,
        activity: Rc<Activity>,
        first: Option<Tx>,
        may_send: MaySend<Rx>,
    ) -> Rc<Self> {
        let this = Rc::new(Self {
            program,
            target: target as usize,
            spawner,
            activity,
            first,
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

    /// Waits until there is one.
    pub(crate) async fn available(&self) {
        let _waiting = self.wait();
        while self.ready.borrow().is_empty() {
            self.changed.notified().await;
        }
    }

    /// Takes one, waiting for it if there is none.
    ///
    /// # Cancel safety
    /// None is lost.
    pub(crate) async fn take(&self) -> Rc<Peer<Tx, Rx>> {
        let _waiting = self.wait();
        loop {
            let spare = self.ready.borrow_mut().pop_front();
            if let Some(Spare { peer, taken }) = spare {
                self.changed.notify_waiters();
                // Its guardian is gone when it has just died: the taker finds that out.
                let _ = taken.send(());
                return peer;
            }
            self.changed.notified().await;
        }
    }

    /// Ends all spares and makes no more.
    pub(crate) fn stop(&self) {
        self.stopped.set(true);
        for spare in self.ready.borrow_mut().drain(..) {
            spare.peer.process().kill(KillReason::Unneeded);
        }
        for peer in self.starting.borrow().iter() {
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
            let coming = self.ready.borrow().len() + self.starting.borrow().len();
            let awaited = self.waiting.get() > coming;
            if coming >= self.target && !awaited {
                self.changed.notified().await;
                continue;
            }
            match self.failures.get() {
                0 if awaited => {}
                0 => self.activity.idle(IDLE_WAIT).await,
                count => tokio::time::sleep(pause(count)).await,
            }
            if !self.stopped.get() {
                self.spawn_one();
            }
            // Those who wait for it, and those who can now be served, come first.
            tokio::task::yield_now().await;
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
                tracing::error!(program = self.program, %error, "cannot start a helper");
            }
        }
    }

    /// Stays with a helper from its start until it is taken or ends.
    async fn tend(self: Rc<Self>, peer: Rc<Peer<Tx, Rx>>) {
        if let Some(first) = &self.first {
            peer.send(first, &[]);
        }
        let answer = tokio::time::timeout(START, peer.recv()).await;
        self.starting.borrow_mut().retain(|other| !Rc::ptr_eq(other, &peer));
        if self.stopped.get() {
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
                self.guard(peer).await;
            }
        }
    }

    async fn guard(&self, peer: Rc<Peer<Tx, Rx>>) {
        let (taken, is_taken) = oneshot::channel();
        self.ready.borrow_mut().push_back(Spare { peer: peer.clone(), taken });
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
        tracing::error!(program = self.program, pid = process.pid, %report, "a spare was lost");
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
