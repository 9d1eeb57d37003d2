//! What is done about each message of a filer that serves: a row each.
//!
//! It counts what is asked ([`crate::asked`]) before anything is begun; what takes time is a task.

use std::rc::Rc;

use berth_common::ids::OpId;
use berth_common::ledger_protocol::{DaemonToFiler, FilerToDaemon};

use super::Serving;
use crate::asked::{AskedTooMuch, check_changes, check_names};
use crate::distrust;
use crate::exit::KillReason;
use crate::ledger::{Note, UploadRequest};

impl Serving {
    pub(super) fn handle(self: &Rc<Self>, message: FilerToDaemon) -> Result<(), AskedTooMuch> {
        let this = self.clone();
        match message {
            FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries } => {
                self.ask(op)?;
                let request = UploadRequest { path, source, token, growth, entries };
                self.question(async move { this.reserve_upload(op, request).await })?;
            }
            FilerToDaemon::Reserve { op, growth, entries, stages } => {
                self.ask(op)?;
                self.question(async move { this.reserve(op, growth, entries, stages).await })?;
            }
            FilerToDaemon::ReserveFiles { op, files } => {
                check_changes(files.len())?;
                self.ask(op)?;
                self.question(async move { this.reserve_files(op, files).await })?;
            }
            FilerToDaemon::Lease { op, entries, replaces } => {
                self.ask(op)?;
                self.question(async move { this.lease(op, entries, replaces).await })?;
            }
            FilerToDaemon::Extend { op, name, least } => {
                self.ask(op)?;
                self.question(async move { this.extend(op, name, least).await })?;
            }
            FilerToDaemon::Room { op } => {
                self.ask(op)?;
                self.tasks.spawn(async move { this.room(op).await });
            }
            FilerToDaemon::Claim { op, name } => {
                self.ask(op)?;
                self.question(async move { this.claim(op, name).await })?;
            }
            FilerToDaemon::Drop { op, name } => {
                self.ask(op)?;
                self.question(async move { this.drop_name(op, name).await })?;
            }
            FilerToDaemon::LetGo { name } => {
                self.names.borrow_mut().take_back(&[name])?;
                self.writes(|writing| writing.close(name));
                self.note(Note::LetGo(name))?;
            }
            FilerToDaemon::Intent { op, items, settle: None } => {
                check_changes(items.len())?;
                self.ask_ticket(op)?;
                self.committing(&items);
                self.question(async move { this.intent(op, items).await })?;
            }
            FilerToDaemon::Intent { op, items, settle: Some(settle) } => {
                check_changes(items.len())?;
                check_changes(settle.items.len())?;
                self.ask_ticket(op)?;
                self.ask(settle.op)?;
                self.committing(&items);
                self.question(async move { this.settle_and_intent(settle, op, items).await })?;
            }
            FilerToDaemon::Ticket { op } => {
                self.ask_ticket(op)?;
                self.ticket(op);
            }
            FilerToDaemon::Reports { reports } => {
                check_names(reports.len())?;
                self.daemon.windows.borrow_mut().report(&self.user, reports);
            }
            FilerToDaemon::Released { op } => {
                self.asked.borrow_mut().released(op)?;
                self.released(op)?;
            }
            FilerToDaemon::Settle { op, items } => {
                check_changes(items.len())?;
                self.ask(op)?;
                self.question(async move { this.settle(op, items).await })?;
            }
            FilerToDaemon::Gone { names } => {
                check_names(names.len())?;
                self.names.borrow_mut().take_back(&names)?;
                self.note(Note::Gone(names))?;
            }
            FilerToDaemon::Usage { op } => {
                self.ask(op)?;
                self.question(async move { this.usage(op).await })?;
            }
            FilerToDaemon::Uploads { op, after } => {
                self.ask(op)?;
                self.question(async move { this.list_uploads(op, after).await })?;
            }
            FilerToDaemon::StagingSyncFailed => {
                if self.distrusts.replace(true) {
                    return Ok(());
                }
                distrust::staging(&self.daemon, &self.user);
            }
            FilerToDaemon::OutcomeUnknown => {
                let reason = "a change was made and could not be made durable";
                self.kill(KillReason::Internal(reason.to_owned()));
            }
            FilerToDaemon::Alive => {
                let mut heartbeat = self.heartbeat.get();
                if !heartbeat.answered() {
                    return Err(AskedTooMuch::Beat);
                }
                self.heartbeat.set(heartbeat);
            }
            // The table has refused these.
            FilerToDaemon::Ready
            | FilerToDaemon::Joined
            | FilerToDaemon::Findings { .. }
            | FilerToDaemon::OwedNames { .. }
            | FilerToDaemon::Listed { .. }
            | FilerToDaemon::Walked { .. }
            | FilerToDaemon::Done { .. }
            | FilerToDaemon::Failed { .. }
            | FilerToDaemon::SyncFailed { .. } => {}
        }
        Ok(())
    }

    fn ask(&self, op: OpId) -> Result<(), AskedTooMuch> {
        self.asked.borrow_mut().ask(op)
    }

    fn ask_ticket(&self, op: OpId) -> Result<(), AskedTooMuch> {
        self.asked.borrow_mut().ask_ticket(op)
    }

    async fn usage(&self, op: OpId) {
        let usage = self.daemon.ledger.usage(&self.user).await;
        self.answer(op, usage.map(|usage| DaemonToFiler::Usage { op, usage }));
    }
}
