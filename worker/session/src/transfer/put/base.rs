//! What stands where an upload goes, and has some leaves already: they are read from it instead of the network.
//!
//! A block without data says that its leaves are those of the base at the same place. They are read into a block as if
//! they had come, hashed and compared with what the client says they are, and written; so that a base that is another
//! one by now, or has rotted, is asked for again as any block that differs. The base is open for reading as long as the
//! upload is under way, and is a whole file of the home, whatever becomes of its name meanwhile.

use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;

use actix::{ActorFutureExt as _, AsyncContext as _, WrapFuture as _};
use berth_common::entry::PutSource;
use berth_common::ids::Handle;

use super::{Ctx, Opened, PutActor};
use crate::filesystem::{CloseRead, OpenFile, OpenRead};
use crate::transfer::pipeline::Block;

/// A file of the home, open for reading.
pub(super) struct Base {
    handle: Handle,
    file: Arc<File>,
}

impl PutActor {
    /// Opens the file that the client names as the base, if it still is the one that stands there, and goes on.
    /// Without it the client has to send all.
    pub(super) fn open_base(&mut self, opened: Opened, ctx: &mut Ctx) {
        let Some(wanted) = self.put.base.filter(|_| opened.is_resumable()) else {
            return self.ready(opened, ctx);
        };
        let base = self.reading.open.send(OpenRead(self.put.path.clone())).into_actor(self);
        ctx.spawn(base.map(move |base, actor, ctx| {
            if let Ok(Ok(OpenFile { handle, file, fingerprint, .. })) = base {
                let base = Base { handle, file: Arc::new(File::from(file)) };
                actor.base = Some(base);
                if !wanted.continues_with(&fingerprint) {
                    actor.close_base();
                }
            }
            actor.ready(opened, ctx);
        }));
    }

    /// Gives the base back. One message in the life of a transfer.
    pub(super) fn close_base(&mut self) {
        if let Some(Base { handle, file }) = self.base.take() {
            drop(file);
            self.reading.close.do_send(CloseRead(handle));
        }
    }

    /// Makes room in a block without data for what is to be read from the base; `None` for a block that has data.
    ///
    /// # Errors
    /// When there is no base to read from.
    pub(super) fn of_base(&self, block: &mut Block) -> Result<Option<Arc<File>>, NoBase> {
        if !block.data.is_empty() {
            return Ok(None);
        }
        let (Some(base), PutSource::File(source)) = (&self.base, self.put.source) else {
            return Err(NoBase);
        };
        let len = block.header.len_without_data(source.size).ok_or(NoBase)?;
        let header_alone = std::mem::replace(&mut block.data, self.services.pool.take(len));
        self.services.pool.give(header_alone);
        Ok(Some(base.file.clone()))
    }
}

/// The client speaks of a base that there is not, or of leaves beyond the file.
pub(super) struct NoBase;

/// Reads a block from the base; `false` when it is not all there.
pub(super) fn read(base: &File, block: &mut Block) -> bool {
    base.read_exact_at(&mut block.data, block.header.offset).is_ok()
}
