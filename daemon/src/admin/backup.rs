//! `berthctl ledger backup`: a copy of the ledger, sent over the administrator's socket.
//!
//! After the answer [`DaemonToAdmin::LedgerBackup`] come as many bytes as it states. `berthctl` writes them
//! where the administrator wants them: the daemon opens no path that a peer names, and has made the copy
//! before anything is sent, so that a slow or dead peer holds nothing up.

use std::fs::File;
use std::io::{self, Read as _};

use berth_common::admin_protocol::{AdminError, DaemonToAdmin};
use berth_common::frame;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::{Failure, PATIENCE};
use crate::daemon::Daemon;
use crate::ledger::Backup;

/// Bytes read and sent at once.
const CHUNK: usize = 256 * 1024;

/// Makes a copy and sends it, or says why not.
pub(super) async fn send(
    daemon: &Daemon,
    uid: u32,
    stream: &mut UnixStream,
) -> Result<(), Failure> {
    let (answer, file) = match daemon.ledger.backup().await {
        Ok(Backup { file, bytes, md5, version, users }) => {
            tracing::info!(uid, bytes, users, "the ledger was copied for an administrator");
            (DaemonToAdmin::LedgerBackup { bytes, md5, version, users }, Some(file))
        }
        Err(error) => {
            tracing::error!(uid, %error, "no copy of the ledger");
            (DaemonToAdmin::Refused(AdminError::Backup(error.to_string())), None)
        }
    };
    timeout(PATIENCE, stream.write_all(&frame::encode_message(&answer)?)).await??;
    if let Some(file) = file {
        send_file(file, stream).await?;
    }
    Ok(())
}

/// Reads on another thread: a disk that is slow must not hold up signatures.
async fn send_file(file: File, stream: &mut UnixStream) -> Result<(), Failure> {
    let mut reading = Some((file, vec![0; CHUNK]));
    while let Some((mut file, mut buffer)) = reading.take() {
        let read = move || {
            let count = file.read(&mut buffer)?;
            Ok::<_, io::Error>((file, buffer, count))
        };
        let read = tokio::task::spawn_blocking(read).await.map_err(io::Error::other)?;
        let (file, buffer, count) = read?;
        if count == 0 {
            break;
        }
        timeout(PATIENCE, stream.write_all(&buffer[..count])).await??;
        reading = Some((file, buffer));
    }
    Ok(())
}
