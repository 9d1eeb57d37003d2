//! A get's file while it is being received: found again, begun anew, and at last given its name.
//!
//! `NAME.part.meta` says that `NAME.part` is ours and of which file in the home; it goes last. It
//! needs no care against tearing: the journal belongs to its fingerprint, and a meta file that does
//! not agree with the journal means starting over. The part is locked while it is written, so that
//! two processes cannot receive the same file. Which files are ours at all is decided in `names`.

mod names;

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;

use berth_common::digest::Md5;
use berth_common::entry::{Entry, HomeFingerprint};
use berth_common::journal::{BootId, Journal, JournalError, reverify};
use berth_common::limits::BLOCK_SIZE;
use rustix::fs::{FlockOperation, Mode, OFlags, RawMode, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use super::local::timespec;
use super::plan::bytes_of;
use super::{TransferError, Tried};
use names::{Names, local, open, remove, write_meta};

/// What an earlier try has left.
#[derive(Debug)]
pub(super) struct Earlier {
    /// Of which file in the home.
    pub(super) fingerprint: HomeFingerprint,
    /// Its leaves that are verified and in the part.
    pub(super) leaves: Vec<Md5>,
}

/// What giving a part its name has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Committed {
    /// Whether something that stood there is gone.
    pub(super) replaced: bool,
    /// Whether the file system has taken time and mode.
    pub(super) attributes_kept: bool,
}

/// The part of one get, locked.
#[derive(Debug)]
pub(super) struct Part {
    names: Names,
    file: Option<Arc<File>>,
    journal: Option<Journal>,
}

impl Part {
    /// Finds what an earlier try has left beside `target`, and makes sure that nobody else works
    /// on it. Nothing is made. Blocks, for long only after a reboot.
    pub(super) fn find(target: &Path) -> Result<(Self, Option<Earlier>), TransferError> {
        let names = Names::beside(target);
        let (file, fingerprint) = names.find_ours()?;
        let mut part = Self { names, file: None, journal: None };
        let Some(file) = file else {
            return Ok((part, None));
        };
        lock(&file, &part.names)?;
        let file = Arc::new(file);
        part.file = Some(file.clone());
        let Some(fingerprint) = fingerprint else {
            return Ok((part, None));
        };
        let leaves = part.open_journal(&file, &fingerprint)?;
        if leaves.is_empty() {
            part.journal = None;
            return Ok((part, None));
        }
        Ok((part, Some(Earlier { fingerprint, leaves })))
    }

    /// Removes the journal and the meta file of a part that has become the target already: a crash
    /// right after the rename leaves them. What is not ours, or has a part, is left alone.
    pub(super) fn tidy(target: &Path) {
        let names = Names::beside(target);
        let is_ours = matches!(names::read_meta(&names.meta), Ok(names::Meta::Ours(_)));
        if is_ours && matches!(names.find_ours(), Ok((None, _))) {
            // The file is in place; what cannot be removed is only untidy.
            let _ = remove(&names.journal);
            let _ = remove(&names.meta);
        }
    }

    /// Opens the journal and checks what it vouches for; no leaves mean starting over.
    fn open_journal(
        &mut self,
        file: &File,
        fingerprint: &HomeFingerprint,
    ) -> Result<Vec<Md5>, TransferError> {
        let path = &self.names.journal;
        let Ok(journal) = open(path, OFlags::NONBLOCK) else {
            return Ok(Vec::new());
        };
        let failed = |source| TransferError::Journal { path: path.clone(), source };
        let opened = match Journal::open(journal, fingerprint.journal_key(), boot()) {
            Ok(opened) => opened,
            Err(error) if error.means_start_over() => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let (mut journal, mut leaves) = (opened.journal, opened.leaves);
        let size = fingerprint.size;
        if !opened.unconfirmed.is_empty() {
            let first = leaves.len() as u64;
            let same = reverify(file, first, &opened.unconfirmed, Some(size))
                .map_err(local(Tried::Read, &self.names.part))?;
            journal.accept(same as u64).map_err(failed)?;
            leaves.extend_from_slice(&opened.unconfirmed[..same]);
        }
        let held = file.metadata().map_or(0, |metadata| metadata.len());
        // Somebody has cut the part, or the journal claims more than the file has.
        let too_many = leaves.len() as u64 > super::plan::leaves_of(size);
        if too_many || held < bytes_of(leaves.len() as u64, size) {
            return Ok(Vec::new());
        }
        self.journal = Some(journal);
        Ok(leaves)
    }

    /// Begins anew with the file in the home that this fingerprint stands for. When it fails,
    /// nothing of it stays.
    pub(super) fn start_over(mut self, now: &HomeFingerprint) -> Result<Self, TransferError> {
        match self.begin(now) {
            Ok(()) => Ok(self),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    fn begin(&mut self, now: &HomeFingerprint) -> Result<(), TransferError> {
        let names = self.names.clone();
        // The part comes first: nothing else is touched by one who does not have its lock. An
        // empty part is ours also without a meta file.
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let created = open(&names.part, OFlags::CREATE | OFlags::EXCL);
                let file = created.map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => {
                        TransferError::Busy { path: names.target.clone() }
                    }
                    _ => local(Tried::Create, &names.part)(error),
                })?;
                lock(&file, &names)?;
                Arc::new(file)
            }
        };
        self.file = Some(file.clone());
        // The old journal is gone before the meta file says something new.
        self.journal = None;
        remove(&names.journal).map_err(local(Tried::Remove, &names.journal))?;
        write_meta(&names.meta, now).map_err(local(Tried::Write, &names.meta))?;
        file.set_len(0).map_err(local(Tried::Write, &names.part))?;
        // A single block is verified as a whole: there is nothing to remember.
        if now.size > BLOCK_SIZE as u64 {
            let journal = open(&names.journal, OFlags::CREATE | OFlags::EXCL)
                .map_err(local(Tried::Create, &names.journal))?;
            let journal = Journal::create(journal, now.journal_key(), boot());
            self.journal = Some(journal.map_err(|error| self.journal_error(error))?);
        }
        Ok(())
    }

    /// Refuses to go on with what the disk has no room for. Bytes of a part that will be emptied
    /// (`starts_over`) are room too.
    pub(super) fn check_room(&self, needed: u64, starts_over: bool) -> Result<(), TransferError> {
        let Ok(stat) = rustix::fs::statvfs(self.names.directory()) else {
            return Ok(());
        };
        let held = match &self.file {
            Some(file) if starts_over => file.metadata().map_or(0, |found| found.blocks() * 512),
            _ => 0,
        };
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > available.saturating_add(held) {
            return Err(TransferError::NoRoom {
                path: self.names.target.clone(),
                available,
                needed,
            });
        }
        Ok(())
    }

    pub(super) fn file(&self) -> Result<&Arc<File>, TransferError> {
        let none = || local(Tried::Write, &self.names.part)(io::ErrorKind::NotFound.into());
        self.file.as_ref().ok_or_else(none)
    }

    pub(super) fn path(&self) -> &Path {
        &self.names.part
    }

    pub(super) fn journal_mut(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    pub(super) fn journal_error(&self, source: JournalError) -> TransferError {
        TransferError::Journal { path: self.names.journal.clone(), source }
    }

    /// Makes the part the target. In this order: its bytes and time, the disk; its mode, the disk;
    /// its name, the disk. The mode comes last because a part that is read-only could not be gone
    /// on with.
    pub(super) fn commit(self, entry: &Entry, force: bool) -> Result<Committed, TransferError> {
        let (file, names) = (self.file()?.clone(), self.names.clone());
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: timespec(entry.mtime_ns),
        };
        let time_kept = kept(rustix::fs::futimens(&file, &times))
            .map_err(local(Tried::SetTime, &names.part))?;
        let this = self.on_disk(&file)?;
        let still_ours = names.lead_to(&file).map_err(local(Tried::LookAt, &names.part))?;
        if !still_ours {
            return Err(TransferError::PartGone { path: names.part.clone() });
        }
        let mode = Mode::from_raw_mode(RawMode::from(entry.mode & 0o777));
        let mode_kept =
            kept(rustix::fs::fchmod(&file, mode)).map_err(local(Tried::SetMode, &names.part))?;
        let this = this.on_disk(&file)?;
        let replaced = force && fs::symlink_metadata(&names.target).is_ok();
        let renamed = if force {
            fs::rename(&names.part, &names.target)
        } else {
            rename_without_replacing(&names.part, &names.target)
        };
        if let Err(error) = renamed {
            // It stays a part, which the next try has to be able to open.
            let _ = rustix::fs::fchmod(&file, Mode::RUSR | Mode::WUSR);
            return Err(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    TransferError::Exists { path: names.target.clone() }
                }
                _ => local(Tried::Write, &names.target)(error),
            });
        }
        File::open(names.directory())
            .and_then(|directory| directory.sync_all())
            .map_err(local(Tried::Write, names.directory()))?;
        drop(this);
        // The file is in place; what cannot be removed is only untidy.
        let _ = remove(&names.journal);
        let _ = remove(&names.meta);
        Ok(Committed { replaced, attributes_kept: time_kept && mode_kept })
    }

    /// Flushes the part. A failed flush is final: what is in it then is anybody's guess.
    fn on_disk(self, file: &File) -> Result<Self, TransferError> {
        match file.sync_all() {
            Ok(()) => Ok(self),
            Err(error) => {
                let failed = local(Tried::Write, &self.names.part)(error);
                self.discard();
                Err(failed)
            }
        }
    }

    /// Removes all of it, because it is of no use.
    pub(super) fn discard(self) {
        let Self { names, file, journal } = self;
        if file.is_some() {
            let _ = remove(&names.part);
            let _ = remove(&names.journal);
            let _ = remove(&names.meta);
        }
        // Only now is the lock given up, so that nobody's new part was removed.
        drop((file, journal));
    }
}

/// Whether a time or a mode was kept. A file of ours refuses it only where the file system has no
/// such thing, as on a memory stick; the bytes are worth more.
fn kept(set: rustix::io::Result<()>) -> io::Result<bool> {
    match set {
        Ok(()) => Ok(true),
        Err(Errno::PERM | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Locks the part, and makes sure that its name still leads to it: the process that had the lock
/// before may have finished it in between.
fn lock(file: &File, names: &Names) -> Result<(), TransferError> {
    let busy = || TransferError::Busy { path: names.target.clone() };
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(Errno::WOULDBLOCK) => return Err(busy()),
        // Some network file systems have no locks; they are not refused for it.
        Err(_) => return Ok(()),
    }
    let leads = names.lead_to(file);
    if leads.map_err(local(Tried::LookAt, &names.part))? { Ok(()) } else { Err(busy()) }
}

/// `RENAME_NOREPLACE`, or a link and an unlink where the file system or the system has none.
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS) => {}
            done => return Ok(done?),
        }
    }
    fs::hard_link(from, to)?;
    fs::remove_file(from)
}

fn boot() -> BootId {
    let text = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default();
    BootId::parse(&text).unwrap_or(BootId::UNKNOWN)
}

#[cfg(test)]
mod tests;
