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
        let mut asked = self.asked.borrow_mut();
        match message {
            FilerToDaemon::ReserveUpload { op, path, source, token, growth, entries } => {
                asked.ask(op)?;
                let request = UploadRequest { path, source, token, growth, entries };
                self.question(async move { this.reserve_upload(op, request).await });
            }
            FilerToDaemon::Reserve { op, growth, entries, stages } => {
                asked.ask(op)?;
                self.question(async move { this.reserve(op, growth, entries, stages).await });
            }
            FilerToDaemon::Lease { op, entries, replaces } => {
                asked.ask(op)?;
                self.question(async move { this.lease(op, entries, replaces).await });
            }
            FilerToDaemon::Extend { op, name, least } => {
                asked.ask(op)?;
                self.question(async move { this.extend(op, name, least).await });
            }
            FilerToDaemon::Room { op } => {
                asked.ask(op)?;
                self.tasks.spawn(async move { this.room(op).await });
            }
            FilerToDaemon::Claim { op, name } => {
                asked.ask(op)?;
                self.question(async move { this.claim(op, name).await });
            }
            FilerToDaemon::Drop { op, name } => {
                asked.ask(op)?;
                self.question(async move { this.drop_name(op, name).await });
            }
            FilerToDaemon::LetGo { name } => {
                self.names.borrow_mut().take_back(&[name])?;
                self.writes(|writing| writing.close(name));
                drop(asked);
                self.note(Note::LetGo(name))?;
            }
            FilerToDaemon::Intent { op, items, settle: None } => {
                check_changes(items.len())?;
                asked.ask_ticket(op)?;
                self.committing(&items);
                self.question(async move { this.intent(op, items).await });
            }
            FilerToDaemon::Intent { op, items, settle: Some(settle) } => {
                check_changes(items.len())?;
                check_changes(settle.items.len())?;
                asked.ask_ticket(op)?;
                asked.ask(settle.op)?;
                self.committing(&items);
                self.question(async move { this.settle_and_intent(settle, op, items).await });
            }
            FilerToDaemon::Ticket { op } => {
                asked.ask_ticket(op)?;
                drop(asked);
                self.ticket(op);
            }
            FilerToDaemon::Reports { reports } => {
                check_names(reports.len())?;
                self.daemon.windows.borrow_mut().report(&self.user, reports);
            }
            FilerToDaemon::Released { op } => {
                asked.released(op)?;
                drop(asked);
                self.released(op)?;
            }
            FilerToDaemon::Settle { op, items } => {
                check_changes(items.len())?;
                asked.ask(op)?;
                self.question(async move { this.settle(op, items).await });
            }
            FilerToDaemon::Gone { names } => {
                check_names(names.len())?;
                self.names.borrow_mut().take_back(&names)?;
                drop(asked);
                self.note(Note::Gone(names))?;
            }
            FilerToDaemon::Usage { op } => {
                asked.ask(op)?;
                self.question(async move { this.usage(op).await });
            }
            FilerToDaemon::Uploads { op, after } => {
                asked.ask(op)?;
                self.question(async move { this.list_uploads(op, after).await });
            }
            FilerToDaemon::StagingSyncFailed => {
                drop(asked);
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

    async fn usage(&self, op: OpId) {
        let usage = self.daemon.ledger.usage(&self.user).await;
        self.answer(op, usage.map(|usage| DaemonToFiler::Usage { op, usage }));
    }
}
