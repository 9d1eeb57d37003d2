//! What lingers of transfers that were dropped: the server has not ended them yet, or a thread still has their file.
//!
//! Until then the same transfer cannot begin again: the server would call the upload busy, and so would we the part of a
//! get. So the shell, whose session outlives its commands, waits for it ([`super::Session::settled`]). What still
//! comes for a transfer that was cancelled is taken and thrown away meanwhile.

use std::sync::Arc;
use std::time::Duration;

use berth_common::client_protocol::WorkerToClient;
use berth_common::ids::RequestId;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::routes::Routes;
use crate::connection::Frame;

/// How long what lingers is waited for; then nothing is expected any more.
pub(super) const WITHIN: Duration = Duration::from_secs(10);

/// Where something lingers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A thread of this process.
    Here,
    Server,
}

/// How much lingers in each place.
#[derive(Debug, Default)]
pub(super) struct Farewells {
    here: watch::Sender<usize>,
    server: watch::Sender<usize>,
}

impl Farewells {
    /// Returns when nothing lingers there.
    pub(super) async fn over(&self, place: Place) {
        // The sender is here, so the wait cannot fail.
        let _ = self.counter(place).subscribe().wait_for(|count| *count == 0).await;
    }

    fn counter(&self, place: Place) -> &watch::Sender<usize> {
        match place {
            Place::Here => &self.here,
            Place::Server => &self.server,
        }
    }
}

/// As long as it lives, something lingers.
pub(crate) struct Lingering {
    routes: Arc<Routes>,
    place: Place,
}

impl Lingering {
    pub(super) fn new(routes: &Arc<Routes>, place: Place) -> Self {
        routes.farewells().counter(place).send_modify(|count| *count += 1);
        Self { routes: Arc::clone(routes), place }
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let counter = self.routes.farewells().counter(self.place);
        counter.send_modify(|count| *count = count.saturating_sub(1));
    }
}

/// Takes what comes for a transfer that was cancelled, until its end.
pub(super) async fn see_off(
    id: RequestId,
    mut incoming: mpsc::Receiver<Frame>,
    lingering: Lingering,
) {
    let end = async {
        while let Some(frame) = incoming.recv().await {
            if ends(&frame) {
                return;
            }
        }
    };
    let _ = timeout(WITHIN, end).await;
    lingering.routes.remove(id);
}

/// Whether nothing more comes for a transfer.
fn ends(frame: &Frame) -> bool {
    matches!(
        frame,
        Frame::Message(
            WorkerToClient::Failed { .. }
                | WorkerToClient::PutDone { .. }
                | WorkerToClient::ExecDone { .. }
        )
    )
}

#[cfg(test)]
mod tests {
    use berth_common::error_code::ErrorCode;
    use futures_util::FutureExt as _;

    use super::*;

    #[tokio::test]
    async fn a_cancelled_transfer_is_over_when_the_server_says_so() {
        let routes = Arc::new(Routes::new());
        assert!(routes.farewells().over(Place::Server).now_or_never().is_some());
        let (sender, incoming) = mpsc::channel(2);
        let id = routes.add(sender.clone());
        let lingering = Lingering::new(&routes, Place::Server);
        assert!(routes.farewells().over(Place::Server).now_or_never().is_none());
        let seen_off = tokio::spawn(see_off(id, incoming, lingering));
        // More than wait for an exchange: they are taken.
        for offset in 0..9 {
            let again = WorkerToClient::Again { id, offset };
            sender.send(Frame::Message(again)).await.unwrap();
        }
        assert!(routes.farewells().over(Place::Server).now_or_never().is_none());
        routes.farewells().over(Place::Here).await;
        let failed = WorkerToClient::Failed { id, error: ErrorCode::Cancelled };
        sender.send(Frame::Message(failed)).await.unwrap();
        seen_off.await.unwrap();
        routes.farewells().over(Place::Server).await;
        assert!(routes.find(id).is_none());
    }
}
