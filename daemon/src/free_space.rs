//! How much may still be written on the file system of the homes, asked without holding up the daemon's one thread:
//! the disk may not answer.
//!
//! One call is under way at a time, whoever asks. It began after each question that it answers, so that nobody is
//! told what was free before; who asks meanwhile shares the next one. So a disk that hangs takes one thread, however
//! many uploads are begun. What the figure allows is decided by [`room`], for `serve`.

use std::cell::Cell;
#[cfg(test)]
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use berth_common::error_code::ErrorCode;
use tokio::sync::Notify;

use crate::homes::Homes;

/// The calls, and what the last one told.
#[derive(Default)]
pub(crate) struct FreeSpace {
    begun: Cell<u64>,
    ended: Cell<u64>,
    /// Bytes; `None` when the last call failed.
    told: Cell<Option<u64>>,
    ends: Notify,
    #[cfg(test)]
    pub(crate) gate: RefCell<Option<std::sync::mpsc::Receiver<()>>>,
}

impl FreeSpace {
    /// Bytes that are free; `None` when the system does not tell, which is logged.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn bytes(self: &Rc<Self>, homes: &Arc<Homes>) -> Option<u64> {
        let mine = self.begun.get() + 1;
        while self.ended.get() < mine {
            let ends = self.ends.notified();
            if self.begun.get() == self.ended.get() {
                self.begun.set(mine);
                self.begin(homes.clone());
            }
            ends.await;
        }
        self.told.get()
    }

    /// Calls, in a task of nobody's: who asked may have gone when the answer comes.
    fn begin(self: &Rc<Self>, homes: Arc<Homes>) {
        let this = self.clone();
        #[cfg(test)]
        let gate = self.gate.take();
        tokio::task::spawn_local(async move {
            let called = homes.off_thread(move |homes| {
                #[cfg(test)]
                if let Some(gate) = gate {
                    let _ = gate.recv();
                }
                homes.free_bytes()
            });
            let failed_before = this.ended.get() > 0 && this.told.get().is_none();
            let told = called.await.inspect_err(|error| {
                // Once, and not for each question of a session's.
                if !failed_before {
                    tracing::error!(%error, "cannot tell the free space");
                }
            });
            this.told.set(told.ok());
            this.ended.set(this.begun.get());
            this.ends.notify_waiters();
        });
    }
}

/// Bytes above the floor of free space. Refused below it, and where nobody can tell.
pub(crate) fn room(free: Option<u64>, floor: u64) -> Result<u64, ErrorCode> {
    free.ok_or(ErrorCode::Internal)?.checked_sub(floor).ok_or(ErrorCode::DiskFull)
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use berth_common::ledger_protocol::StagingSync;

    use super::*;

    #[test]
    fn there_is_room_above_the_floor_alone() {
        assert_eq!(room(Some(10), 4), Ok(6));
        assert_eq!(room(Some(4), 4), Ok(0));
        assert_eq!(room(Some(3), 4), Err(ErrorCode::DiskFull));
        assert_eq!(room(None, 0), Err(ErrorCode::Internal));
    }

    #[test]
    fn those_who_ask_while_a_call_is_under_way_share_the_next() {
        let dir = tempfile::tempdir().unwrap();
        let users = std::fs::File::open(dir.path()).unwrap().into();
        let homes = Arc::new(Homes::new(users, StagingSync::Directory));
        let (open, gate) = mpsc::channel();
        let space = Rc::new(FreeSpace { gate: RefCell::new(Some(gate)), ..FreeSpace::default() });
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        tokio::task::LocalSet::new().block_on(&runtime, async {
            let asking = Rc::new(Cell::new(0));
            let ask = || {
                let (space, homes, asking) = (space.clone(), homes.clone(), asking.clone());
                tokio::task::spawn_local(async move {
                    asking.set(asking.get() + 1);
                    space.bytes(&homes).await
                })
            };
            let all_ask = async |count| {
                while asking.get() < count {
                    tokio::task::yield_now().await;
                }
            };
            let first = ask();
            all_ask(1).await;
            let later: Vec<_> = (0..100).map(|_| ask()).collect();
            all_ask(101).await;
            assert_eq!((space.begun.get(), space.ended.get()), (1, 0), "the first one hangs");
            drop(open);
            assert!(first.await.unwrap() > Some(0));
            for asked in later {
                assert!(asked.await.unwrap() > Some(0));
            }
            assert_eq!((space.begun.get(), space.ended.get()), (2, 2));
        });
    }
}
