//! The one task of a program: from its request to the last message about it.

use std::time::Duration;

use berth_common::broker_protocol::{ExecStopped, WorkerToDaemon};
use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::exec::{ExecEnd, OutputStream};
use tokio::io::Interest;

use super::output::Allowance;
use super::{Ends, Id, News, Surroundings, input, output};
use crate::sys;

/// Moves what there is until program and output have ended, and gives what to tell the client last.
pub(crate) async fn pump(id: Id, mut ends: Ends, around: Surroundings) -> WorkerToClient {
    let failed = |error| WorkerToClient::Failed { id, error };
    let (pipes, output_bytes) = match ends.news.recv().await {
        Some(News::Started(pipes, output_bytes)) => (pipes, output_bytes),
        Some(News::Failed(error)) => return failed(error),
        Some(News::Ended(_)) | None => return failed(ErrorCode::Internal),
    };
    let [input, output, errors] = pipes;
    let (Ok(input), Ok(output), Ok(errors)) = (
        sys::register_pipe(input, Interest::WRITABLE),
        sys::register_pipe(output, Interest::READABLE),
        sys::register_pipe(errors, Interest::READABLE),
    ) else {
        // It runs, and the number is in use until the daemon says that it does not any more.
        let why = ExecStopped::Cancelled;
        around.broker.report(WorkerToDaemon::ExecStop { id, why });
        drop(ends.news.recv().await);
        return failed(ErrorCode::Internal);
    };
    let outgoing = &around.outgoing;
    if outgoing.send(&WorkerToClient::ExecStarted { id }).await.is_err() {
        return failed(ErrorCode::Cancelled);
    }
    let allowance = Allowance::new(output_bytes);
    let outputs = async {
        tokio::try_join!(
            output::send(id, OutputStream::Stdout, output, &allowance, outgoing),
            output::send(id, OutputStream::Stderr, errors, &allowance, outgoing),
        )
    };
    // At once, since a program may go on although nobody reads what it writes.
    let stopped = async {
        allowance.exceeded().await;
        let why = ExecStopped::Output;
        around.broker.report(WorkerToDaemon::ExecStop { id, why });
    };
    let fed = input::feed(id, input, ends.input, &ends.window, outgoing);
    tokio::pin!(outputs, stopped, fed);
    let (mut end, mut sent, mut has_input): (Option<ExecEnd>, bool, bool) = (None, false, true);
    let mut is_stopped = false;
    loop {
        let stalled = stalled(&around, end.is_some());
        tokio::select! {
            both = &mut outputs, if !sent => match both {
                Ok(_) => sent = true,
                Err(_) => return failed(ErrorCode::Cancelled),
            },
            news = ends.news.recv(), if end.is_none() => match news {
                Some(News::Ended(how)) => end = Some(how),
                Some(News::Failed(error)) => return failed(error),
                Some(News::Started(..)) | None => return failed(ErrorCode::Internal),
            },
            () = &mut stopped, if !is_stopped => is_stopped = true,
            () = &mut fed, if has_input => has_input = false,
            error = stalled => return failed(error),
        }
        match end {
            Some(_) if sent && allowance.is_over() => {
                let end = ExecEnd::TooMuchOutput { bytes: output_bytes };
                return WorkerToClient::ExecDone { id, end };
            }
            Some(end) if sent => return WorkerToClient::ExecDone { id, end },
            _ => {}
        }
    }
}

/// When a program that has ended has output left that the client does not take for so long. While it runs, the daemon
/// bounds its time.
async fn stalled(around: &Surroundings, has_ended: bool) -> ErrorCode {
    if !has_ended {
        return std::future::pending().await;
    }
    let began = std::time::Instant::now();
    loop {
        let since = around.traffic.written_at().max(began).elapsed();
        let left = around.stall.saturating_sub(since);
        if left.is_zero() {
            let seconds = u32::try_from(around.stall.as_secs()).unwrap_or(u32::MAX);
            return ErrorCode::Stalled { seconds };
        }
        tokio::time::sleep(left.max(Duration::from_millis(1))).await;
    }
}
