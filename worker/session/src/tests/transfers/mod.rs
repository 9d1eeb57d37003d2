//! Transfers end to end: what puts and gets have in common.

mod batches;
mod deltas;
mod gets;
mod puts;
mod streams;

use std::sync::{Arc, Mutex};
use std::time::Instant;

use berth_common::client_protocol::WorkerToClient;
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;

use super::client::{self, PATIENCE};
use super::fake_filer::{self, Home, usage};
use super::{Bench, setup};

const ID: RequestId = RequestId(1);

fn put_done(replaced: bool) -> WorkerToClient {
    WorkerToClient::PutDone { id: ID, replaced, usage: usage() }
}

fn failed(error: ErrorCode) -> WorkerToClient {
    WorkerToClient::Failed { id: ID, error }
}

fn stored(home: &Arc<Mutex<Home>>, name: &str) -> Vec<u8> {
    std::fs::read(home.lock().unwrap().file(name)).unwrap()
}

fn store(home: &Arc<Mutex<Home>>, name: &str, file: &[u8]) {
    std::fs::write(home.lock().unwrap().file(name), file).unwrap();
}

/// Waits until the filer has heard of these uploads' ends: whether each was kept.
async fn closed(home: &Arc<Mutex<Home>>, kept: &[bool]) {
    let deadline = Instant::now() + PATIENCE;
    while home.lock().unwrap().closed != kept {
        assert!(Instant::now() < deadline, "{:?} is not {kept:?}", home.lock().unwrap().closed);
        tokio::task::yield_now().await;
    }
}
