//! Programs that the client runs: what goes between their pipes, which the daemon passes, and the client.
//!
//! A program's pipe is read when the client's queue has room, and its input taken from the client as far as it reads
//! it, so that neither side can fill memory here. The daemon alone starts and ends programs; what is written here is
//! that a client wants one ended, or that it has written more than it may.

mod input;
mod output;
mod pump;

use std::cell::Cell;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use berth_common::error_code::ErrorCode;
use berth_common::exec::{EXEC_INPUT_WINDOW, ExecEnd, MAX_EXEC_DATA};
use berth_common::ids::RequestId;
use tokio::sync::mpsc;

use crate::broker::Broker;
use crate::connection::{Outgoing, Traffic};
use input::Input;
pub(crate) use pump::pump;

/// What the daemon tells of a program.
#[derive(Debug)]
pub(crate) enum News {
    /// It runs: its input, its output and its errors, and how much of both may come.
    Started([OwnedFd; 3], u64),
    /// It does not, or was ended as the client wished. The last one.
    Failed(ErrorCode),
    /// It has ended. The last one.
    Ended(ExecEnd),
}

/// What a pump needs of the session.
#[derive(Clone)]
pub(crate) struct Surroundings {
    /// The way to the client.
    pub(crate) outgoing: Outgoing,
    /// The daemon.
    pub(crate) broker: Broker,
    /// When the client last took something.
    pub(crate) traffic: Rc<Traffic>,
    /// After how long without that the rest of the output is given up.
    pub(crate) stall: Duration,
}

/// How the session reaches a program.
pub(crate) struct Program {
    news: mpsc::UnboundedSender<News>,
    input: mpsc::UnboundedSender<Input>,
    /// Bytes of input that the client may still send.
    window: Rc<Cell<usize>>,
    has_ended: bool,
}

/// The pump's ends of the same.
pub(crate) struct Ends {
    news: mpsc::UnboundedReceiver<News>,
    input: mpsc::UnboundedReceiver<Input>,
    window: Rc<Cell<usize>>,
}

/// The client sent input that it may not send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Unwanted;

impl Program {
    /// One of which nothing is known yet.
    pub(crate) fn new() -> (Self, Ends) {
        let (news, hears) = mpsc::unbounded_channel();
        let (input, takes) = mpsc::unbounded_channel();
        let window = Rc::new(Cell::new(EXEC_INPUT_WINDOW));
        let ends = Ends { news: hears, input: takes, window: window.clone() };
        (Self { news, input, window, has_ended: false }, ends)
    }

    /// What the daemon says. A pump that is over needs it no more.
    pub(crate) fn tell(&self, news: News) {
        let _ = self.news.send(news);
    }

    /// Takes input from the client; what waits for the program is bounded by the window.
    ///
    /// # Errors
    /// When it is empty, too much, or comes after its end.
    pub(crate) fn take(&self, data: Vec<u8>) -> Result<(), Unwanted> {
        let left = self.window.get().checked_sub(data.len()).ok_or(Unwanted)?;
        if data.is_empty() || data.len() > MAX_EXEC_DATA || self.has_ended {
            return Err(Unwanted);
        }
        self.window.set(left);
        let _ = self.input.send(Input::Data(data));
        Ok(())
    }

    /// The client's input has ended.
    ///
    /// # Errors
    /// When it had before.
    pub(crate) fn end_input(&mut self) -> Result<(), Unwanted> {
        if std::mem::replace(&mut self.has_ended, true) {
            return Err(Unwanted);
        }
        let _ = self.input.send(Input::End);
        Ok(())
    }
}

/// Which program, in messages.
type Id = RequestId;

#[cfg(test)]
mod tests;
