//! Sessions as all others reach them: by number or user, to tell them something or to end them.
//!
//! Who is in the table is said by [`crate::session`] alone; nobody else adds or removes anybody.

use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;

use berth_common::credentials::DeviceId;
use berth_common::ids::{SessionId, UserName};
use tokio::sync::mpsc;

use super::Daemon;
use crate::exit::KillReason;
use crate::ledger::LedgerError;
use crate::serve::Serving;
use crate::session::Event;
use crate::sessions::Entry;
use crate::tasks::Flag;

/// How long whoever revokes a device waits for its sessions' end.
const ENDING_PATIENCE: Duration = Duration::from_secs(30);

/// The means to reach a session.
pub(crate) struct Control {
    pub(crate) events: mpsc::UnboundedSender<Event>,
    /// Its filer, once it serves.
    pub(crate) serving: RefCell<Option<Rc<Serving>>>,
    /// Up when it is reaped and replayed.
    pub(crate) gone: Flag,
}

impl Daemon {
    /// A session's control.
    pub(crate) fn control(&self, session: SessionId) -> Option<Rc<Control>> {
        self.sessions.borrow().get(session).map(|entry| entry.control.clone())
    }

    /// Ends a session at once and waits until it is reaped and replayed; what it left in staging may still
    /// be removed then. `false` when there is none.
    ///
    /// # Cancel safety
    /// The session is ended all the same.
    pub(crate) async fn end_session(&self, session: SessionId, reason: KillReason) -> bool {
        let Some(control) = self.control(session) else {
            return false;
        };
        drop(control.events.send(Event::Kill(reason)));
        control.gone.up().await;
        true
    }

    /// Ends all sessions of a user, and waits likewise.
    pub(crate) async fn end_sessions_of(&self, user: &UserName, reason: &KillReason) {
        let ids = self.sessions.borrow().of_user(user).map(|(id, _)| id).collect();
        self.end_sessions(ids, reason).await;
    }

    /// Lets devices of a user log in no more, or all of them, and ends the sessions that they have, but for one: also
    /// of those that are not registered any more, since an earlier revocation may have been cut off. Says which there
    /// were. It goes on to its end whatever becomes of whoever asked, and waits for the sessions no longer than
    /// [`ENDING_PATIENCE`].
    ///
    /// # Errors
    /// The ledger's.
    pub(crate) async fn revoke_devices(
        &self,
        user: &UserName,
        devices: Option<Vec<DeviceId>>,
        but: Option<SessionId>,
    ) -> Result<Vec<DeviceId>, LedgerError> {
        // First the ledger, then the sessions: a login between sees one or the other.
        let revoked = self.ledger.revoke_devices(user, devices.clone()).await?;
        for device in &revoked {
            tracing::info!(%user, %device, "device revoked");
        }
        let ids = {
            let sessions = self.sessions.borrow();
            let of_them = |entry: &Entry<Rc<Control>>| {
                let is_meant = |device| devices.as_ref().is_none_or(|them| them.contains(&device));
                entry.device.is_some_and(is_meant)
            };
            let theirs = sessions.of_user(user).filter(|(id, _)| Some(*id) != but);
            theirs.filter(|(_, entry)| of_them(entry)).map(|(id, _)| id).collect()
        };
        let ended = self.end_sessions(ids, &KillReason::Revoked);
        // They have been told to; what they left may wait for the ledger, and nobody else shall.
        let _ = tokio::time::timeout(ENDING_PATIENCE, ended).await;
        Ok(revoked)
    }

    async fn end_sessions(&self, ids: Vec<SessionId>, reason: &KillReason) {
        let controls: Vec<Rc<Control>> =
            ids.into_iter().filter_map(|id| self.control(id)).collect();
        for control in &controls {
            drop(control.events.send(Event::Kill(reason.clone())));
        }
        for control in &controls {
            control.gone.up().await;
        }
    }

    /// Waits until there is no session.
    pub(crate) async fn no_sessions(&self) {
        while self.sessions.borrow().len() > 0 {
            self.session_gone.notified().await;
        }
    }
}
