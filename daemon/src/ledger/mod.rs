//! The ledger: users, limits, usage, reservations, uploads and intents; the daemon's only durable
//! state.
//!
//! One thread owns the SQLite connection. A [`Ledger`] is a handle to its queue and may be cloned.
//! The thread takes what waits, runs it in one transaction and answers after the commit (group
//! commit), so that an answer is always durable. The interface speaks in domain words; all SQL is
//! in the private modules beneath.
//!
//! What needs not outlive the daemon (reservations of small files, who owns an upload, which names
//! a session has) lives in temporary tables of the same connection, in memory: so admission sees
//! one world, and a transaction that is rolled back takes both halves back. A change of these alone
//! writes nothing to disk.
//!
//! The supervisor, the broker and the admin socket call it. It never makes a path call below
//! `users/`, never speaks to a peer, knows nothing of tickets (one a user, the supervisor's), of
//! processes being reaped or of free disk space. `docs/LEDGER.md` has the protocol.
//!
//! *Cancel safety* of all methods: a request is queued when its future is first polled; dropping
//! the future after that drops the answer, not the request. Requests are carried out in the order
//! in which they were queued, but for notes of an outage, which wait for its end.

mod account;
mod admission;
mod backup;
mod crossings;
mod damage;
mod devices;
mod intents;
mod invitations;
mod memory;
mod migrations;
mod model;
mod names;
mod opening;
mod outage;
mod programs;
mod pulse;
mod replay;
mod request;
mod restored;
mod runs;
mod schema;
mod thread;
mod uploads;
mod users;

use std::io;
use std::path::Path;
use std::sync::PoisonError;

use berth_common::admin_protocol::{Change, InvitationSummary, LedgerWork};
use berth_common::credentials::{
    DeviceId, DeviceKey, DeviceName, DeviceSummary, InvitationId, NewAccount,
};
use berth_common::entry::{Limits, Usage};
use berth_common::exec::ProgramName;
use berth_common::ids::{OwedName, SessionId, StagingName, UserName};
use berth_common::ledger_protocol::{
    FileReservation, IntentItem, ReservationResult, SettleItem, UploadRow,
};
use berth_common::scram::ScramVerifier;

pub(crate) use backup::{Backup, BackupError};
pub(crate) use invitations::MOST as MOST_INVITATIONS;
pub(crate) use model::{
    Claiming, DeviceRecord, IntentKind, IntentRow, Invitation, LedgerError, Note, Orphans, Pending,
    UploadOpening, UploadRequest, UserRecord, UserState, UserStates,
};
pub(crate) use pulse::Health;
pub(crate) use replay::{Removal, Unexplained, Verdict, decide};
pub(crate) use schema::OpenError;
pub(crate) use thread::{Bounds, Ledger, Options};

impl Ledger {
    /// Opens the ledger, or makes it (mode 0600), and starts its thread, which ends with the last
    /// handle.
    ///
    /// # Errors
    /// [`OpenError::Newer`] for a ledger that a later Berth has written, `NotALedger` for another
    /// database, `ForeignLog` for a restored one beside the log of another, `Damaged` for one whose
    /// pages do not fit together, else `NoWal`, `Sqlite` or `Io`.
    pub(crate) fn open(path: &Path, options: Options) -> Result<Self, OpenError> {
        let db = schema::open(path)?;
        backup::remove_left_over(path)?;
        Self::start(db, options)
    }

    /// Carries out what is queued and closes the database. Requests after it are never answered, and in an
    /// outage no notes.
    pub(crate) async fn close(&self) {
        self.stop().await;
    }

    /// What was done since the start.
    pub(crate) fn work(&self) -> LedgerWork {
        self.done()
    }

    /// How its thread does.
    pub(crate) fn health(&self) -> Health {
        self.pulse.health()
    }

    /// What holds from the next transaction on, for uploads that are there too.
    pub(crate) fn set_bounds(&self, bounds: Bounds) {
        *self.bounds.lock().unwrap_or_else(PoisonError::into_inner) = bounds;
    }

    /// Makes a consistent copy of what is committed, without holding up the ledger's thread. It runs
    /// on the runtime's threads for blocking work, for as long as the disk needs; one after another.
    ///
    /// # Errors
    /// When the ledger cannot be read, the copy not be written, or the copy is not sound.
    ///
    /// # Cancel safety
    /// The copy is made and dropped; nothing of it is left on disk.
    pub(crate) async fn backup(&self) -> Result<Backup, BackupError> {
        let path = self.path.clone();
        let made = tokio::task::spawn_blocking(move || {
            let path = path.lock().unwrap_or_else(PoisonError::into_inner);
            backup::make(&path)
        });
        made.await.unwrap_or_else(|error| Err(io::Error::other(error).into()))
    }

    // Outages.

    /// Whether the ledger can be written, as far as is known.
    pub(crate) fn works(&self) -> bool {
        *self.works.borrow()
    }

    /// Waits until the ledger can be written.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn until_it_works(&self) {
        let mut works = self.works.clone();
        // Its thread ends with the daemon.
        let _ = works.wait_for(|works| *works).await;
    }

    /// Waits until it cannot.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn until_it_fails(&self) {
        let mut works = self.works.clone();
        let _ = works.wait_for(|works| !*works).await;
    }

    /// A name for what is taken out of a home without an intent, while the ledger cannot be written.
    /// It is in no table, and never given again.
    ///
    /// # Errors
    /// `Unavailable` while the ledger can be written, and when no name is left in memory.
    pub(crate) async fn owe(&self) -> Result<OwedName, LedgerError> {
        self.read(names::owe).await
    }

    // Users.

    /// Writes a new user, with the state `Creating`, in the place of one whose making was cut off. The caller has
    /// the user's turn, so that no other is being made.
    ///
    /// # Errors
    /// `UserExists`, or `UserGoing` when one of this name is being removed.
    pub(crate) async fn add_user(
        &self,
        user: &UserName,
        verifier: ScramVerifier,
        limits: Limits,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::add(tx, &user, &verifier, limits)).await
    }

    /// The same for a user whose home is there already, and is to be counted before it may change.
    ///
    /// # Errors
    /// As `add_user`.
    pub(crate) async fn add_unverified_user(
        &self,
        user: &UserName,
        verifier: ScramVerifier,
        limits: Limits,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| {
            users::add(tx, &user, &verifier, limits)?;
            restored::mark_unverified(tx, &user)
        })
        .await
    }

    /// The user's directories are there: from `Creating` (or already) to `Active`.
    ///
    /// # Errors
    /// `NoSuchUser`; `UserGoing` when it is being removed.
    pub(crate) async fn activate_user(&self, user: &UserName) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::activate(tx, &user)).await
    }

    /// Reads a user, whatever its state.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn user(&self, user: &UserName) -> Result<Option<UserRecord>, LedgerError> {
        let user = user.clone();
        self.read(move |tx| users::get(tx, &user)).await
    }

    /// Reads at most `count` users in the order of their names, after this one.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn users(
        &self,
        after: Option<UserName>,
        count: usize,
    ) -> Result<Vec<UserRecord>, LedgerError> {
        self.read(move |tx| users::page(tx, after.as_ref(), count)).await
    }

    /// How many users there are, in whatever state.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn count_users(&self) -> Result<u64, LedgerError> {
        self.read(users::count).await
    }

    /// Some users with their states, in the order in which they were added and after this number,
    /// and the number of the last one read; `None` when there are no more. For the daemon's start.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn user_states(
        &self,
        after: i64,
        count: usize,
    ) -> Result<(UserStates, Option<i64>), LedgerError> {
        self.read(move |tx| users::states(tx, after, count)).await
    }

    /// Sets what checks the password.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`.
    pub(crate) async fn set_verifier(
        &self,
        user: &UserName,
        verifier: ScramVerifier,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::set_verifier(tx, &user, &verifier)).await
    }

    /// A user's own change of what checks the password: only from what was proved, so that it does not
    /// undo an administrator's change that came between.
    ///
    /// # Errors
    /// `NoSuchUser`; `Refused` with `PasswordRefused` when it is another one by now, or the user may not
    /// log in any more.
    pub(crate) async fn change_verifier(
        &self,
        user: &UserName,
        from: ScramVerifier,
        to: ScramVerifier,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::change_verifier(tx, &user, &from, &to)).await
    }

    /// Refuses or allows logins. It ends no session.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`.
    pub(crate) async fn set_locked(
        &self,
        user: &UserName,
        locked: bool,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::set_locked(tx, &user, locked)).await
    }

    /// Sets limits. They hold from now on, for every growth; what is there or reserved stays.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`.
    pub(crate) async fn set_limits(
        &self,
        user: &UserName,
        bytes: Change,
        entries: Change,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::set_limits(tx, &user, bytes, entries)).await
    }

    /// From whatever state to `Removing`: nothing is reserved or intended for the user from now on.
    /// The user's sessions are to be ended and replayed next, then the directories removed.
    ///
    /// # Errors
    /// `NoSuchUser`; `UserGoing` when it is being removed already.
    pub(crate) async fn begin_removal(&self, user: &UserName) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::begin_removal(tx, &user)).await
    }

    /// The user's directories are gone: removes all rows of a user in the state `Removing`, settled
    /// or not.
    ///
    /// # Errors
    /// `NoSuchUser`; `UserExists` when it is not being removed.
    pub(crate) async fn finish_removal(&self, user: &UserName) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| users::finish_removal(tx, &user)).await
    }

    /// # Errors
    /// `NoSuchUser`, and `Damaged` when the row cannot be read.
    pub(crate) async fn state_of(&self, user: &UserName) -> Result<UserState, LedgerError> {
        let user = user.clone();
        self.read(move |tx| Ok(account::of(tx, &user)?.state)).await
    }

    // Devices.

    /// A device of this user by its key, with the user; `None` when there is no such user or device.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn device(
        &self,
        user: &UserName,
        key: DeviceKey,
    ) -> Result<Option<DeviceRecord>, LedgerError> {
        let user = user.clone();
        self.read(move |tx| devices::get(tx, &user, &key)).await
    }

    /// A user's devices, in the order of their registration.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn devices(&self, user: &UserName) -> Result<Vec<DeviceSummary>, LedgerError> {
        let user = user.clone();
        self.read(move |tx| devices::of_user(tx, &user)).await
    }

    /// Registers a device, or gives one that is there a new name: only by whoever has proved to know this
    /// verifier's password.
    ///
    /// # Errors
    /// `NoSuchUser`; `Refused` with `PasswordRefused` when the password is another one by now, or the user may not
    /// log in any more, and with `TooManyDevices`.
    pub(crate) async fn register_device(
        &self,
        user: &UserName,
        proved: ScramVerifier,
        key: DeviceKey,
        name: DeviceName,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| devices::register(tx, &user, &proved, &key, &name)).await
    }

    /// The device was logged in by. Nobody misses it in an outage.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn device_used(
        &self,
        user: &UserName,
        key: DeviceKey,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| devices::used(tx, &user, &key)).await
    }

    /// Removes devices, or all of the user's, and says which were there. It ends no session.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn revoke_devices(
        &self,
        user: &UserName,
        devices: Option<Vec<DeviceId>>,
    ) -> Result<Vec<DeviceId>, LedgerError> {
        let user = user.clone();
        self.write(move |tx| devices::revoke(tx, &user, devices.as_deref())).await
    }

    // Programs.

    /// Whether the user may run this program.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`.
    pub(crate) async fn may_run(
        &self,
        user: &UserName,
        program: ProgramName,
    ) -> Result<bool, LedgerError> {
        let user = user.clone();
        self.read(move |tx| programs::may_run(tx, &user, &program)).await
    }

    /// The programs that the user may run, in the order of their names.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn programs(&self, user: &UserName) -> Result<Vec<ProgramName>, LedgerError> {
        let user = user.clone();
        self.read(move |tx| programs::of_user(tx, &user)).await
    }

    /// Lets the user run these too, from the next request on.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`; `Refused` with `TooManyPrograms` when there would be more than there may be.
    pub(crate) async fn allow_programs(
        &self,
        user: &UserName,
        programs: Vec<ProgramName>,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| programs::allow(tx, &user, &programs)).await
    }

    /// Lets the user run these no more, or none at all if none is named. It ends none that runs.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn deny_programs(
        &self,
        user: &UserName,
        programs: Vec<ProgramName>,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| programs::deny(tx, &user, &programs)).await
    }

    // Invitations.

    /// An invitation that can be used.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn invitation(
        &self,
        id: InvitationId,
    ) -> Result<Option<Invitation>, LedgerError> {
        self.read(move |tx| invitations::get(tx, id)).await
    }

    /// At most `count` invitations in the order of their ids, after this one, those that expired more than 30 days ago
    /// left out.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn invitations(
        &self,
        after: Option<InvitationId>,
        count: usize,
    ) -> Result<Vec<InvitationSummary>, LedgerError> {
        self.read(move |tx| invitations::page(tx, after, count)).await
    }

    /// Adds an invitation, which is valid for so many seconds.
    ///
    /// # Errors
    /// `Refused` with `Busy` when there are [`MOST_INVITATIONS`] that can be used.
    pub(crate) async fn add_invitation(
        &self,
        id: InvitationId,
        invitation: Invitation,
        valid_s: u32,
    ) -> Result<(), LedgerError> {
        self.write(move |tx| invitations::add(tx, id, &invitation, valid_s)).await
    }

    /// Removes an invitation that was not used; `false` when there is none.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn revoke_invitation(&self, id: InvitationId) -> Result<bool, LedgerError> {
        self.write(move |tx| invitations::revoke(tx, id)).await
    }

    /// Uses an invitation and writes the new user, with the state `Creating`: only by whoever has proved to know the
    /// secret of this verifier. The caller has the user's turn.
    ///
    /// # Errors
    /// `Refused` with `NotInvited`, `OtherName` or `NameTaken`; the invitation can be used further on.
    pub(crate) async fn join(
        &self,
        id: InvitationId,
        proved: ScramVerifier,
        account: NewAccount,
    ) -> Result<(), LedgerError> {
        self.write(move |tx| invitations::join(tx, id, &proved, &account)).await
    }

    /// Takes a `join` back whose user could not be made.
    ///
    /// # Errors
    /// `UserExists` when it was made after all, `UserGoing`, `NoSuchUser`.
    pub(crate) async fn take_back_join(
        &self,
        id: InvitationId,
        user: &UserName,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| invitations::take_back(tx, id, &user)).await
    }

    // Users whose sums may be wrong.

    /// The users whose sums must be verified before anything of theirs is changed: after a failed
    /// fsync of staging, or in a ledger that was restored from a backup.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn unverified_users(&self) -> Result<Vec<UserName>, LedgerError> {
        self.read(restored::unverified).await
    }

    /// The user's sums may be wrong. This outlives the daemon, until [`Ledger::corrected`].
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn mark_unverified(&self, user: &UserName) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| restored::mark_unverified(tx, &user)).await
    }

    /// The same for all users at once.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn mark_all_unverified(&self) -> Result<(), LedgerError> {
        self.write(restored::mark_all_unverified).await
    }

    // Sessions.

    /// Sets bytes and entries aside in memory, until an intent, `drop_name` or the session's end.
    ///
    /// # Errors
    /// `Refused` with `QuotaExceeded`, or with `Busy` while too much that was settled waits to be
    /// unlinked or the session has too many names; `NoSuchUser`, `UserGoing`.
    pub(crate) async fn reserve(
        &self,
        user: &UserName,
        session: SessionId,
        growth: u64,
        entries: u64,
    ) -> Result<StagingName, LedgerError> {
        let user = user.clone();
        self.write(move |tx| memory::reserve(tx, &user, session, growth, entries)).await
    }

    /// The same for several files, each of which may be refused by itself.
    ///
    /// # Errors
    /// As `reserve`, but for `QuotaExceeded`, which is one file's.
    pub(crate) async fn reserve_files(
        &self,
        user: &UserName,
        session: SessionId,
        files: Vec<FileReservation>,
    ) -> Result<Vec<ReservationResult>, LedgerError> {
        let user = user.clone();
        self.write(move |tx| memory::reserve_files(tx, &user, session, &files)).await
    }

    /// The same for an upload of unknown size: sets a lease aside, or what is left of the quota and of
    /// `room`, the bytes that the disk has; and says how much that is.
    ///
    /// # Errors
    /// As `reserve`; for the bytes alone it is never refused.
    pub(crate) async fn lease(
        &self,
        user: &UserName,
        session: SessionId,
        entries: u64,
        room: u64,
    ) -> Result<(StagingName, u64), LedgerError> {
        let user = user.clone();
        self.write(move |tx| memory::lease(tx, &user, session, entries, room)).await
    }

    /// Has a reservation in memory grow to at least so many bytes, and by a lease where there is as much;
    /// says how many it has then. A refusal leaves it as it is.
    ///
    /// # Errors
    /// As `reserve`; `Refused` with `DiskFull` for more than `room`; `Protocol` for what is no
    /// reservation of this session.
    pub(crate) async fn extend(
        &self,
        user: &UserName,
        session: SessionId,
        name: StagingName,
        least: u64,
        room: u64,
    ) -> Result<u64, LedgerError> {
        let user = user.clone();
        self.write(move |tx| memory::extend(tx, &user, session, name, least, room)).await
    }

    /// Opens, resumes or supersedes a resumable upload, durably. `room` is the bytes that the disk has.
    ///
    /// # Errors
    /// As `reserve`; `Refused` with `UploadBusy` when this session has this very upload itself, and
    /// with `TooManyUploads`, or with `DiskFull` for a source larger than `room`, for a new one. What is
    /// missing of one that is resumed is known to its filer.
    pub(crate) async fn open_upload(
        &self,
        user: &UserName,
        session: SessionId,
        request: UploadRequest,
        room: u64,
    ) -> Result<UploadOpening, LedgerError> {
        let user = user.clone();
        self.write(move |tx| opening::open(tx, &user, session, &request, room)).await
    }

    /// Makes an upload of the user this session's, so that it can be aborted.
    ///
    /// # Errors
    /// `Refused` with `NoSuchUpload`, or with `UploadBusy` while it is being committed.
    pub(crate) async fn claim(
        &self,
        user: &UserName,
        session: SessionId,
        name: StagingName,
    ) -> Result<Claiming, LedgerError> {
        let user = user.clone();
        self.write(move |tx| uploads::claim(tx, &user, session, name)).await
    }

    /// The time of all uploads that sessions work on begins anew, durably: a session that the daemon does
    /// not outlive cannot say when it was last at work.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn touch_held_uploads(&self) -> Result<(), LedgerError> {
        self.write(uploads::touch_held).await
    }

    /// Makes all uploads of the user this session's that nobody works on and whose time is over.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`.
    pub(crate) async fn claim_expired(
        &self,
        user: &UserName,
        session: SessionId,
    ) -> Result<Vec<StagingName>, LedgerError> {
        let user = user.clone();
        self.write(move |tx| uploads::claim_expired(tx, &user, session)).await
    }

    /// The files of this session's reservation or open upload are gone from staging: forgets it.
    ///
    /// # Errors
    /// `Protocol` when it is neither, or is being committed.
    pub(crate) async fn drop_name(
        &self,
        user: &UserName,
        session: SessionId,
        name: StagingName,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| uploads::drop_name(tx, &user, session, name)).await
    }

    /// Writes intents, all or none, and gives for each its name. Admission is repeated for what
    /// each replaces now: what is reserved becomes exactly what is needed (R2). The ticket is to be
    /// granted only after this.
    ///
    /// # Errors
    /// `Refused` with `QuotaExceeded` or `Busy` as above; `UserGoing`; `Protocol` for a
    /// name that is not the session's reservation or open upload, and for sizes that no file has.
    pub(crate) async fn intent(
        &self,
        user: &UserName,
        session: SessionId,
        items: Vec<IntentItem>,
    ) -> Result<Vec<StagingName>, LedgerError> {
        let user = user.clone();
        self.write(move |tx| intents::write(tx, &user, session, &items)).await
    }

    /// Ends intents, all or none; what they say is durable in the home. The answer is the
    /// acknowledgement.
    ///
    /// # Errors
    /// `Protocol` for what is not an intent of this session, for an outcome of another kind, and
    /// for a growth beyond what the intent reserved; `Imbalance`.
    pub(crate) async fn settle(
        &self,
        user: &UserName,
        session: SessionId,
        items: Vec<SettleItem>,
    ) -> Result<Usage, LedgerError> {
        let user = user.clone();
        self.write(move |tx| intents::settle(tx, &user, session, &items)).await
    }

    /// The settle of one batch and then the intents of the next, in one transaction. Each is refused
    /// by itself, as [`Ledger::settle`] and [`Ledger::intent`] are.
    pub(crate) async fn settle_and_intent(
        &self,
        user: &UserName,
        session: SessionId,
        settles: Vec<SettleItem>,
        items: Vec<IntentItem>,
    ) -> (Result<Usage, LedgerError>, Result<Vec<StagingName>, LedgerError>) {
        let (settling, intending) = (user.clone(), user.clone());
        self.write_both(
            move |tx| intents::settle(tx, &settling, session, &settles),
            move |tx| intents::write(tx, &intending, session, &items),
        )
        .await
    }

    /// Adds to what is used, as a verification found. The user's ticket must be held, and no act be
    /// unsettled.
    ///
    /// # Errors
    /// `NoSuchUser`, `UserGoing`; `Imbalance` for what cannot be.
    pub(crate) async fn correct(
        &self,
        user: &UserName,
        bytes: i64,
        entries: i64,
    ) -> Result<Usage, LedgerError> {
        let user = user.clone();
        self.write(move |tx| account::correct(tx, &user, bytes, entries)).await
    }

    /// Takes note of what a session tells, in this order and all or nothing. In an outage it waits, and is
    /// done at its end before anything that is asked after it and changes something.
    ///
    /// # Errors
    /// `Protocol` for a name of another session, for one that is let go and is no open upload, and for one that is
    /// gone and was not settled; `Unavailable` for good in a damaged ledger, and for one that alone cannot be written.
    ///
    /// # Cancel safety
    /// It has been done before what is asked next is answered, or, in an outage, is never done.
    pub(crate) async fn note(
        &self,
        user: &UserName,
        session: SessionId,
        notes: Vec<Note>,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.take_note(move |tx| memory::note(tx, &user, session, &notes)).await
    }

    /// Limits and usage, reservations in memory included.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn usage(&self, user: &UserName) -> Result<Usage, LedgerError> {
        let user = user.clone();
        self.read(move |tx| users::usage(tx, &user)).await
    }

    /// At most `count` of the user's uploads, by name, after this one; and whether these are the
    /// last.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn uploads(
        &self,
        user: &UserName,
        after: Option<StagingName>,
        count: usize,
    ) -> Result<(Vec<UploadRow>, bool), LedgerError> {
        let user = user.clone();
        self.read(move |tx| uploads::page(tx, &user, after, count)).await
    }

    // After a session's death, and at the daemon's start.

    /// What a session left whose worker and filer are reaped (R10).
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn orphans_of(&self, session: SessionId) -> Result<Orphans, LedgerError> {
        self.read(move |tx| memory::orphans(tx, session)).await
    }

    /// A dead session's intents are replayed: its uploads have no owner from now on. Its other names
    /// are still its own, and count, until they are [`Ledger::removed`].
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn let_go_uploads(&self, session: SessionId) -> Result<(), LedgerError> {
        self.write(move |tx| memory::let_go_uploads(tx, session)).await
    }

    /// Nothing stands any more at these names of a dead session, which have no row: they count no
    /// longer. Names that the session does not have (any more) are ignored.
    ///
    /// # Errors
    /// `Protocol` for an intent or an upload.
    pub(crate) async fn removed(
        &self,
        session: SessionId,
        names: Vec<StagingName>,
    ) -> Result<(), LedgerError> {
        self.write(move |tx| memory::removed(tx, session, &names)).await
    }

    /// Forgets all that the session had in memory: its reservations and names; its uploads have no
    /// owner from now on. Intents that could not be replayed stay, for the next start, and the user
    /// must not change anything until then.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn session_ended(&self, session: SessionId) -> Result<(), LedgerError> {
        self.write(move |tx| memory::session_ended(tx, session)).await
    }

    /// The uploads that were claimed under this number are nobody's again. Nobody has gone on with
    /// them, so that they expire when they would have.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn give_up_claims(&self, session: SessionId) -> Result<(), LedgerError> {
        self.write(move |tx| memory::give_up_claims(tx, session)).await
    }

    /// The user's rows, for the daemon's start.
    ///
    /// # Errors
    /// `NoSuchUser`.
    pub(crate) async fn pending(&self, user: &UserName) -> Result<Pending, LedgerError> {
        let user = user.clone();
        self.read(move |tx| intents::pending(tx, &user)).await
    }

    /// Settles what replay found, all or none. Before it, staging must be durable (R7), and what
    /// [`Removal::Before`] names be removed (R16); after it, what [`Removal::After`] names is to be
    /// (R8, R9), at any time: it is the session's until it is [`Ledger::removed`], or the sweep's.
    ///
    /// # Errors
    /// `NoSuchUser`; `Protocol` for a name that is no intent of this user; `Imbalance`.
    pub(crate) async fn settle_replayed(
        &self,
        user: &UserName,
        verdicts: Vec<(StagingName, Verdict)>,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| intents::settle_replayed(tx, &user, &verdicts)).await
    }

    /// Settles what replay found, makes what is used `used` (bytes, entries), which a walk of the home
    /// found, and takes the user's mark as unverified away; all or none. Nothing of the user's may be under way. Else as `settle_replayed`.
    ///
    /// # Errors
    /// As `settle_replayed`.
    pub(crate) async fn settle_stopped(
        &self,
        user: &UserName,
        verdicts: Vec<(StagingName, Verdict)>,
        used: (i64, i64),
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| intents::settle_stopped(tx, &user, &verdicts, used)).await
    }

    /// Drops open uploads whose files are missing from staging (R13). Names that are none are
    /// ignored.
    ///
    /// # Errors
    /// `NoSuchUser`; `Protocol` for one that an intent commits: it must be replayed first.
    pub(crate) async fn drop_uploads(
        &self,
        user: &UserName,
        names: Vec<StagingName>,
    ) -> Result<(), LedgerError> {
        let user = user.clone();
        self.write(move |tx| uploads::drop_missing(tx, &user, &names)).await
    }

    /// A staging name for the daemon's own use; it belongs to nobody.
    ///
    /// # Errors
    /// `Unavailable` alone.
    pub(crate) async fn mint(&self) -> Result<StagingName, LedgerError> {
        self.write(names::mint).await
    }
}

#[cfg(test)]
mod tests;
