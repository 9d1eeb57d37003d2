//! Waiting for a channel inside the runtime. The channel must not block.

use std::sync::Arc;

use berth_common::channel::{Channel, ChannelError, Message, Received};
use tokio::io::unix::AsyncFd;

/// A channel that is registered with the runtime.
pub(crate) type AsyncChannel<Tx, Rx> = AsyncFd<Arc<Channel<Tx, Rx>>>;

/// Waits for the next message.
///
/// # Errors
/// All of [`ChannelError`] but `WouldBlock`; each is final.
///
/// # Cancel safety
/// A message is taken only when the future completes.
pub(crate) async fn receive<Tx: Message, Rx: Message>(
    channel: &AsyncChannel<Tx, Rx>,
) -> Result<Received<Rx>, ChannelError> {
    loop {
        let mut ready = channel.readable().await?;
        match channel.get_ref().recv() {
            Err(ChannelError::WouldBlock) => ready.clear_ready(),
            other => return other,
        }
    }
}

/// Sends a message without descriptors, waiting for room.
///
/// # Errors
/// All of [`ChannelError`] but `WouldBlock`; each is final.
///
/// # Cancel safety
/// A message is sent only when the future completes.
pub(crate) async fn send<Tx: Message, Rx: Message>(
    channel: &AsyncChannel<Tx, Rx>,
    message: &Tx,
) -> Result<(), ChannelError> {
    loop {
        let mut ready = channel.writable().await?;
        match channel.get_ref().send(message, &[]) {
            Err(ChannelError::WouldBlock) => ready.clear_ready(),
            other => return other,
        }
    }
}
