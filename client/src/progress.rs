//! What a transfer tells while it runs. It is told from the transfer's task or from its helper thread, one event at a
//! time; nobody answers.

use std::fmt;
use std::sync::Arc;

/// Something that has happened to one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event {
    /// Both sides are ready: bytes move from `from` on, which is above 0 when an earlier try is resumed.
    Started {
        /// Bytes of the file; `None` where that is known at its end alone.
        size: Option<u64>,
        /// Bytes that are there already.
        from: u64,
    },
    /// What an earlier try had moved is of no use, since the file is another one now.
    StartedOver(Changed),
    /// All bytes before this position are over: sent by a put, or verified and written by a get.
    Advanced {
        /// In bytes from the file's beginning.
        position: u64,
    },
    /// Bytes were damaged on their way, and go again from this position on.
    SentBack {
        /// In bytes from the file's beginning.
        position: u64,
    },
    /// All bytes are over; the file is made durable and gets its name.
    Storing,
    /// The local file system does not keep the time or the mode of the file that was got.
    AttributesNotKept,
    /// The file is in its place.
    Stored,
}

/// Which file has changed since an earlier try.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// The local one, which is put.
    Local,
    /// The one in the home, which is got.
    Remote,
}

/// Whom a transfer tells its events. Clones tell the same one.
#[derive(Clone, Default)]
pub struct Reporter(Option<Arc<dyn Fn(Event) + Send + Sync>>);

impl fmt::Debug for Reporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() { "Reporter(…)" } else { "Reporter(nobody)" })
    }
}

impl Reporter {
    /// Calls `tell` for each event. It holds the transfer up for as long as it takes.
    #[must_use]
    pub fn new(tell: impl Fn(Event) + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(tell)))
    }

    /// Tells nobody.
    #[must_use]
    pub fn nobody() -> Self {
        Self(None)
    }

    pub(crate) fn tell(&self, event: Event) {
        if let Some(tell) = &self.0 {
            tell(event);
        }
    }
}
