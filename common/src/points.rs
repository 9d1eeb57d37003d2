//! Named points of the quota protocol at which a test build can be stopped, and rules of the protocol that
//! a test can take away.
//!
//! Product code marks a point by [`reach`] and a rule by [`is_off`]. With debug assertions both look into a
//! control file that the tests have mapped too (`control`); the daemon finds it by the environment
//! variable [`VARIABLE`] and hands its path to its helpers as their only argument. In a release build
//! neither the variable, nor the argument, nor a name exists: `reach` is empty and `is_off` is false.
//!
//! A mapping outlives every step of a demotion that closes descriptors, and looking into it is no system
//! call, so that a point changes nothing of what a process may do or is seen to do. `docs/TESTING.md` says
//! what each point means; nothing here knows the protocol.

#[cfg(debug_assertions)]
mod control;
#[cfg(debug_assertions)]
#[allow(unsafe_code)]
mod sys;

#[cfg(debug_assertions)]
pub use control::{CONTROL_BYTES, Control};
#[cfg(not(debug_assertions))]
pub use disabled::{from_argument, from_environment, helper_argument, is_off, reach};
#[cfg(debug_assertions)]
pub use enabled::{VARIABLE, from_argument, from_environment, helper_argument, is_off, reach};

/// Makes an enum that knows all of its variants.
macro_rules! listed {
    ($(#[$outer:meta])* $name:ident { $($(#[$inner:meta])* $variant:ident,)* }) => {
        $(#[$outer])*
        #[derive(Clone, Copy, PartialEq, Eq)]
        #[cfg_attr(debug_assertions, derive(Debug, PartialOrd, Ord))]
        #[repr(u8)]
        pub enum $name { $($(#[$inner])* $variant,)* }

        #[cfg(debug_assertions)]
        impl $name {
            /// All of them, in the order of their numbers.
            pub const ALL: &[Self] = &[$(Self::$variant),*];
        }

        #[cfg(debug_assertions)]
        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                std::fmt::Debug::fmt(self, f)
            }
        }
    };
}

listed! {
    /// A point of the protocol, in the order in which an operation passes them: the filer's, the daemon's,
    /// the recovering filer's.
    Point {
        /// Filer: a reservation is made, and nothing stands in staging.
        Reserved,
        /// Filer: an upload's file stands in staging, its journal does not; or an empty file of a batch.
        UploadCreated,
        /// Filer: an upload of unknown size has got more room, and its worker has not heard of it.
        Extended,
        /// Filer: an append's joined file stands in staging, durable; the upload's bytes still have their name, and
        /// can be resumed.
        Joined,
        /// Filer: the journal of an append is gone, durably, so that it can no longer be resumed.
        JournalForgotten,
        /// Filer: an append's two files have exchanged their names in staging, and there is no intent.
        Exchanged,
        /// Filer: all is ready for the intent, or for the ticket where there is none (K0).
        BeforeIntent,
        /// Filer: the ticket is granted; nothing is resolved and nothing has happened (K1).
        Granted,
        /// Filer: under the ticket the path is resolved and checked, and not acted on.
        Resolved,
        /// Filer: a file that is renamed over is linked into staging, and the rename is not made.
        Linked,
        /// Filer: the act is done, or refused by what stands there, and the ticket not given back.
        Acted,
        /// Filer: one of a batch has acted, and the next has its turn under the same ticket.
        BetweenActs,
        /// Filer: the ticket is given back, and staging is not synced.
        Released,
        /// Filer: staging is synced (what was taken is measured), or nothing was done under the ticket, and
        /// the settle is not asked for (K2).
        Synced,
        /// Filer: what was taken to an owed name is durable there, and not answered.
        OwedSynced,
        /// Filer: settled, and not answered; what is left over still stands in staging (K3).
        Settled,
        /// Filer: settled and answered, or dropped (R9); what is left over still stands in staging (K3).
        Leftover,
        /// Filer: the files of an upload that is given up are removed, and its row is not dropped.
        FilesRemoved,
        /// Daemon: an upload's row is durable, and not answered.
        RowDurable,
        /// Daemon: intents are durable, and the ticket is not asked for.
        IntentDurable,
        /// Daemon: a name for an owed delete is given out, and the ticket is not asked for.
        Owing,
        /// Daemon: the ticket was asked for, and is waited for, or granted and not handed out.
        TicketAsked,
        /// Daemon: a settle has come, and the ledger has not got it.
        SettleAsked,
        /// Daemon: a settle is durable, and not answered.
        SettleDurable,
        /// Daemon: an upload's holder is reaped and replayed, and the upload is nobody's.
        TakenFromHolder,
        /// Daemon, replay: staging was examined, and nothing removed or settled.
        ReplayExamined,
        /// Daemon, replay: what has to go before the settle is removed, and nothing settled.
        ReplayRemoved,
        /// Daemon, replay: settled, and what goes after it still stands.
        ReplaySettled,
        /// Daemon, start: rows without a file are dropped, and staging is not swept.
        BeforeSweep,
        /// Daemon: intents for what is owed are durable, and it still has its owed names.
        OwedIntentDurable,
        /// Daemon: what is owed has the names of its intents, and is not synced or settled there.
        OwedTaken,
        /// Daemon, expiry: expired uploads are claimed, and their files stand.
        ExpiredClaimed,
        /// Daemon, expiry: the files of an expired upload are removed, and its row is not dropped.
        ExpiredFilesRemoved,
        /// Daemon: a user who comes has a row, and no directories.
        UserCreating,
        /// Daemon: a user who comes has directories, and is not let in.
        DirectoriesMade,
        /// Daemon: a user who has come is let in, and the administrator has no answer.
        UserActive,
        /// Daemon: a user goes by the row, and has sessions.
        UserRemoving,
        /// Daemon: the sessions of a user who goes have ended, and the home stands.
        SessionsEnded,
        /// Daemon: the home of a user who goes stands in staging.
        HomeRetired,
        /// Daemon: staging of a user who goes is empty.
        StagingEmptied,
        /// Daemon: a user who goes has no directories, and a row.
        DirectoriesRemoved,
        /// Daemon: a user is gone, and the administrator has no answer.
        UserRemoved,
        /// Recovering filer: a file is removed from staging, and its journal is not.
        BetweenRemovals,
        /// Recovering filer: something is swept, and the rest of staging is not.
        BetweenSweeps,
        /// Recovering filer: something owed has its intent's name, and the rest has not.
        BetweenTakes,
    }
}

listed! {
    /// A rule of the protocol that a test can take away, by its number in the protocol's table.
    Rule {
        /// Paths are resolved after the ticket is granted.
        R1,
        /// The size of what is replaced is compared under the ticket.
        R2,
        /// The inode number of what is staged is in the intent.
        R3,
        /// What is staged has its data synced before the intent.
        R4,
        /// Staging is synced before the intent and before the settle (R5 and R6).
        R6,
        /// Replay makes staging durable before it looks.
        R7,
        /// Settle before the unlink of what was taken out.
        R8,
        /// The row is dropped before the file of what was not placed is unlinked.
        R9,
        /// A session's processes are reaped before its rows are replayed.
        R10,
        /// Staging is swept at the start.
        R12,
        /// How staging is made durable goes by the file system's name; else it is synced by itself.
        SyncByName,
        /// Uploads expire in rounds an hour apart, the first an hour after the start.
        ExpiryWaits,
    }
}

#[cfg(debug_assertions)]
mod enabled {
    //! What a test build does.

    use std::ffi::{OsStr, OsString};
    use std::fs::File;
    use std::io;
    use std::path::Path;
    use std::sync::OnceLock;

    use super::{Control, Point, Rule, sys};

    /// The environment variable that names the control file to the daemon.
    pub const VARIABLE: &str = "BERTH_TEST_POINTS";

    struct Mapped {
        control: &'static Control,
        path: OsString,
    }

    /// Absent for the life of a process that no test steers.
    static MAPPED: OnceLock<Mapped> = OnceLock::new();

    /// Maps the control file that the environment names, if it names one. For the daemon, at its start.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn from_environment() -> io::Result<()> {
        std::env::var_os(VARIABLE).map_or(Ok(()), map)
    }

    /// Maps the control file that the only argument names, if there is one. For helpers, before they are
    /// demoted.
    ///
    /// # Errors
    /// When the file cannot be opened or mapped.
    pub fn from_argument() -> io::Result<()> {
        std::env::args_os().nth(1).map_or(Ok(()), map)
    }

    /// What a helper is given as its argument.
    pub fn helper_argument() -> Option<&'static OsStr> {
        MAPPED.get().map(|mapped| mapped.path.as_os_str())
    }

    fn map(path: OsString) -> io::Result<()> {
        let file = File::options().read(true).write(true).open(Path::new(&path))?;
        let control = sys::map(&file)?;
        // Mapped twice it would be the same file.
        drop(MAPPED.set(Mapped { control, path }));
        Ok(())
    }

    /// Stops the process here if a test has armed this point.
    #[inline]
    pub fn reach(point: Point) {
        if let Some(mapped) = MAPPED.get() {
            mapped.control.reach(point);
        }
    }

    /// Whether a test has taken this rule away.
    #[inline]
    #[must_use]
    pub fn is_off(rule: Rule) -> bool {
        MAPPED.get().is_some_and(|mapped| mapped.control.is_off(rule))
    }
}

#[cfg(not(debug_assertions))]
mod disabled {
    //! What a release build does: nothing.

    use std::ffi::OsStr;
    use std::io;

    use super::{Point, Rule};

    /// Nothing.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn from_environment() -> io::Result<()> {
        Ok(())
    }

    /// Nothing.
    ///
    /// # Errors
    /// None.
    #[inline(always)]
    pub fn from_argument() -> io::Result<()> {
        Ok(())
    }

    /// No argument.
    #[inline(always)]
    pub fn helper_argument() -> Option<&'static OsStr> {
        None
    }

    /// Nothing.
    #[inline(always)]
    pub fn reach(_: Point) {}

    /// No rule is off.
    #[inline(always)]
    #[must_use]
    pub fn is_off(_: Rule) -> bool {
        false
    }
}
