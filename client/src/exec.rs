//! A program that runs on the server: its input, its output, and its end.

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::exec::{
    Arguments, EXEC_INPUT_WINDOW, ExecEnd, MAX_EXEC_DATA, OutputStream, ProgramName,
};
use berth_common::rel_path::RelPath;

use crate::connection::ConnectionError;
use crate::requests::unexpected;
use crate::session::{Exchange, RequestError, Session};

/// What happens to a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExecEvent {
    /// It wrote something.
    Output(OutputStream, Vec<u8>),
    /// It took some of its input, or will never: there may be more.
    InputTaken,
    /// It has ended, and all that it wrote has come. The last one.
    Done(ExecEnd),
}

/// A program that was started. Dropped before its end, it is ended.
#[derive(Debug)]
pub struct Exec {
    exchange: Exchange,
    window: usize,
}

impl Session {
    /// Has a program run, which an administrator has allowed, in a directory of the home.
    ///
    /// # Errors
    /// What the server refused it with, or why the session is over.
    ///
    /// # Cancel safety
    /// The program is ended if it was begun.
    pub async fn exec(
        &self,
        program: ProgramName,
        arguments: Arguments,
        directory: RelPath,
    ) -> Result<Exec, RequestError> {
        let mut exchange = self.exchange();
        let id = exchange.id;
        exchange.cancel_when_dropped();
        exchange.send(&ClientToWorker::Exec { id, program, arguments, directory }).await?;
        match exchange.message().await? {
            WorkerToClient::ExecStarted { .. } => Ok(Exec { exchange, window: EXEC_INPUT_WINDOW }),
            _ => Err(unexpected()),
        }
    }
}

impl Exec {
    /// How many bytes of input may be sent now; 0 until some were taken.
    #[must_use]
    pub fn room(&self) -> usize {
        self.window.min(MAX_EXEC_DATA)
    }

    /// Sends input, which is not empty and fits [`Exec::room`].
    ///
    /// # Errors
    /// Why the session is over; `Protocol` for more than there is room for.
    pub async fn input(&mut self, data: Vec<u8>) -> Result<(), ConnectionError> {
        if data.is_empty() || data.len() > self.room() {
            return Err(ConnectionError::unexpected("length of input"));
        }
        self.window -= data.len();
        let id = self.exchange.id;
        self.exchange.send(&ClientToWorker::ExecInput { id, data }).await
    }

    /// There is no more input. To be said once.
    ///
    /// # Errors
    /// Why the session is over.
    pub async fn end_input(&mut self) -> Result<(), ConnectionError> {
        let id = self.exchange.id;
        self.exchange.send(&ClientToWorker::ExecInputEnd { id }).await
    }

    /// What happens next.
    ///
    /// # Errors
    /// Why the server has ended it, or why the session is over.
    ///
    /// # Cancel safety
    /// Dropping it loses nothing.
    pub async fn next(&mut self) -> Result<ExecEvent, RequestError> {
        match self.exchange.message().await? {
            WorkerToClient::ExecOutput { stream, data, .. } => Ok(ExecEvent::Output(stream, data)),
            WorkerToClient::ExecInputTaken { bytes, .. } => {
                let window = self.window.saturating_add(bytes as usize);
                if window > EXEC_INPUT_WINDOW {
                    return Err(unexpected());
                }
                self.window = window;
                Ok(ExecEvent::InputTaken)
            }
            WorkerToClient::ExecDone { end, .. } => {
                self.exchange.finished();
                Ok(ExecEvent::Done(end))
            }
            _ => Err(unexpected()),
        }
    }
}
