//! Tickets, from the table of [`crate::tickets`] to whom they are granted: a session's filer, or the daemon's own
//! verification. Who gets one when is the table's decision.

use std::time::Instant;

use berth_common::ids::{OpId, SessionId, UserName};
use berth_common::points::{Point, reach};

use super::Daemon;
use crate::serve::Given;
use crate::tickets::Grant;

impl Daemon {
    /// Asks for a user's ticket, and hands it out when it is free.
    pub(crate) fn request_ticket(
        &self,
        user: &UserName,
        session: SessionId,
        op: OpId,
        given: Given,
    ) {
        let ask = Grant { session, op, payload: given };
        let granted = self.tickets.borrow_mut().request(user, ask, Instant::now());
        reach(Point::TicketAsked);
        self.deliver(granted);
    }

    /// Tells a session that it has the ticket.
    pub(crate) fn deliver(&self, granted: Option<Grant<Given>>) {
        let Some(Grant { session, op, payload }) = granted else {
            return;
        };
        if self.holds.borrow_mut().granted(session) {
            return;
        }
        let serving = self.control(session).and_then(|control| control.serving.borrow().clone());
        match serving {
            Some(serving) => serving.granted(op, payload),
            // A session leaves the queue before it leaves the table.
            None => tracing::error!(session = session.0, "a ticket was granted to no session"),
        }
    }

    /// Refuses those who wait behind a holder that hangs, as those are refused who ask for the ticket later.
    pub(crate) fn turn_away_from(&self, user: &UserName) {
        let waiting = self.tickets.borrow_mut().turn_away(user);
        for Grant { session, op, payload } in waiting {
            self.holds.borrow_mut().turned_away(session);
            let serving = self.control(session).and_then(|it| it.serving.borrow().clone());
            if let Some(serving) = serving {
                serving.turned_away(op, &payload);
            }
        }
    }
}
