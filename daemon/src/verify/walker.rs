//! A filer in the role *walk*, ordered about by a verification. It is killed when this is dropped before
//! [`Walker::finish`].

use std::rc::Rc;

use berth_common::ids::{OpId, UserName};
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon, HomeReport, HomeSum};
use berth_common::sandbox_mode::SandboxMode;
use rustix::fd::OwnedFd;

use crate::asked::FilerPhase;
use crate::filer_handle::{self, Filer, FilerError, Unowned};

/// The filer, and the number of its last order.
pub(super) struct Walker {
    filer: Unowned,
    op: OpId,
}

impl Walker {
    /// Makes a spare filer walk a user's home. It lists nothing yet.
    pub(super) async fn join(
        filer: Rc<Filer>,
        user: &UserName,
        home: OwnedFd,
        sandbox: SandboxMode,
    ) -> Result<Self, FilerError> {
        Ok(Self { filer: filer_handle::walk(filer, user, home, sandbox).await?, op: OpId(0) })
    }

    /// Tells it what sessions did.
    pub(super) async fn hear(&mut self, reports: Vec<HomeReport>) -> Result<(), FilerError> {
        let op = self.op();
        match self.order(op, &DaemonToFiler::Reports { op, reports }).await? {
            FilerToDaemon::Done { .. } => Ok(()),
            other => Err(self.filer.broke(&other).await),
        }
    }

    /// Has it list some entries further; `true` when nothing is left to list.
    pub(super) async fn list(&mut self) -> Result<bool, FilerError> {
        let op = self.op();
        match self.order(op, &DaemonToFiler::List { op }).await? {
            FilerToDaemon::Listed { done, .. } => Ok(done),
            other => Err(self.filer.broke(&other).await),
        }
    }

    /// What the home holds.
    pub(super) async fn sum(&mut self) -> Result<HomeSum, FilerError> {
        let op = self.op();
        match self.order(op, &DaemonToFiler::Sum { op }).await? {
            FilerToDaemon::Walked { sum, .. } => Ok(sum),
            other => Err(self.filer.broke(&other).await),
        }
    }

    /// Lets it end, and waits until it is reaped.
    pub(super) async fn finish(self) {
        self.filer.finish().await;
    }

    fn op(&mut self) -> OpId {
        self.op = OpId(self.op.0.wrapping_add(1));
        self.op
    }

    async fn order(&self, op: OpId, order: &DaemonToFiler) -> Result<FilerToDaemon, FilerError> {
        self.filer.order(FilerPhase::Walking, op, order).await
    }
}
