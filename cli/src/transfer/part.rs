//! The files beside the target of a get: `NAME.part`, its journal, and whose content they hold.
//!
//! `NAME.part.meta` says that the part is ours and of which file in the home; it is written before
//! the part is made and goes last. It needs no care against tearing: the journal belongs to its
//! fingerprint, and a meta file that does not agree with the journal means starting over. The part
//! is locked while it is written, so that two processes cannot receive the same file.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use berth_common::codec;
use berth_common::digest::Md5;
use berth_common::entry::{Entry, HomeFingerprint};
use berth_common::journal::{BootId, Journal, JournalError, reverify};
use berth_common::limits::{BLOCK_SIZE, MAX_NAME_BYTES};
use rustix::fs::{FlockOperation, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};

use super::TransferError;
use super::local::timespec;
use super::plan::bytes_of;

/// What a meta file begins with; a record of [`HomeFingerprint`] follows.
const META_MAGIC: &[u8] = b"berth get 1\n";

/// The names of the files, all in the target's directory.
#[derive(Clone, Debug)]
struct Names {
    target: PathBuf,
    part: PathBuf,
    journal: PathBuf,
    meta: PathBuf,
}

impl Names {
    fn beside(target: &Path) -> Self {
        let stem = stem(target.file_name().unwrap_or_default());
        let with = |end: &str| {
            let mut name = stem.clone();
            name.push(end);
            target.with_file_name(name)
        };
        Self {
            target: target.to_owned(),
            part: with(".part"),
            journal: with(".part.journal"),
            meta: with(".part.meta"),
        }
    }

    fn directory(&self) -> &Path {
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }
}

/// The target's name, or for one that leaves no room for an ending its beginning and a digest.
fn stem(name: &OsStr) -> OsString {
    const LONGEST_ENDING: usize = ".part.journal".len();
    if name.len() + LONGEST_ENDING <= MAX_NAME_BYTES {
        return name.to_owned();
    }
    let digest = Md5::of(name.as_bytes()).to_string();
    let mut cut = MAX_NAME_BYTES - LONGEST_ENDING - digest.len() - 1;
    // Not within a character.
    while cut > 0 && name.as_bytes()[cut] & 0xc0 == 0x80 {
        cut -= 1;
    }
    let stem = [&name.as_bytes()[..cut], b"~", digest.as_bytes()].concat();
    OsString::from_vec(stem)
}

/// What an earlier try has left.
#[derive(Debug)]
pub(super) struct Earlier {
    /// Of which file in the home.
    pub(super) fingerprint: HomeFingerprint,
    /// Its leaves that are verified and in the part.
    pub(super) leaves: Vec<Md5>,
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
        let mut part = Self {
            names,
            file: None,
            journal: None,
        };
        let Some(file) = part.open_ours()? else {
            return Ok((part, None));
        };
        lock(&file, &part.names)?;
        let file = Arc::new(file);
        part.file = Some(file.clone());
        let Some(fingerprint) = read_meta(&part.names.meta) else {
            return Ok((part, None));
        };
        let leaves = part.open_journal(&file, &fingerprint)?;
        if leaves.is_empty() {
            part.journal = None;
            return Ok((part, None));
        }
        Ok((
            part,
            Some(Earlier {
                fingerprint,
                leaves,
            }),
        ))
    }

    /// Opens the part if there is one, and refuses one that is not ours.
    fn open_ours(&self) -> Result<Option<File>, TransferError> {
        let path = &self.names.part;
        let foreign = || TransferError::ForeignPart { path: path.clone() };
        let file = match open(path, OFlags::NOFOLLOW | OFlags::NONBLOCK) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) => {
                return Err(foreign());
            }
            Err(error) => return Err(TransferError::local("cannot open", path)(error)),
        };
        let metadata = file
            .metadata()
            .map_err(TransferError::local("cannot read", path))?;
        // After a power cut the meta file may be empty; that it exists is what counts.
        let ours = metadata.len() == 0 || fs::symlink_metadata(&self.names.meta).is_ok();
        if metadata.is_file() && ours {
            Ok(Some(file))
        } else {
            Err(foreign())
        }
    }

    /// Opens the journal and checks what it vouches for; no leaves mean starting over.
    fn open_journal(
        &mut self,
        file: &File,
        fingerprint: &HomeFingerprint,
    ) -> Result<Vec<Md5>, TransferError> {
        let path = &self.names.journal;
        let Ok(journal) = open(path, OFlags::NOFOLLOW) else {
            return Ok(Vec::new());
        };
        let failed = |source| TransferError::Journal {
            path: path.clone(),
            source,
        };
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
                .map_err(TransferError::local("cannot read", &self.names.part))?;
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

    /// Begins anew with the file in the home that this fingerprint stands for.
    pub(super) fn start_over(&mut self, now: &HomeFingerprint) -> Result<(), TransferError> {
        let names = self.names.clone();
        let local = TransferError::local::<io::Error>;
        // The old journal is emptied before the meta file says something new.
        self.journal = None;
        remove(&names.journal).map_err(local("cannot remove", &names.journal))?;
        write_meta(&names.meta, now).map_err(local("cannot write", &names.meta))?;
        let file = match &self.file {
            Some(file) => file.clone(),
            None => {
                let created = open(
                    &names.part,
                    OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW,
                );
                let file = created.map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => TransferError::Busy {
                        path: names.part.clone(),
                    },
                    _ => local("cannot create", &names.part)(error),
                })?;
                lock(&file, &names)?;
                Arc::new(file)
            }
        };
        file.set_len(0)
            .map_err(local("cannot write", &names.part))?;
        self.file = Some(file);
        // A single block is verified as a whole: there is nothing to remember.
        if now.size > BLOCK_SIZE as u64 {
            let journal = open(&names.journal, OFlags::CREATE | OFlags::NOFOLLOW)
                .map_err(local("cannot create", &names.journal))?;
            let journal = Journal::create(journal, now.journal_key(), boot());
            self.journal = Some(journal.map_err(|error| self.journal_error(error))?);
        }
        Ok(())
    }

    /// Refuses to begin what the disk has no room for.
    pub(super) fn check_room(&self, needed: u64) -> Result<(), TransferError> {
        let path = self.names.target.clone();
        let Ok(stat) = rustix::fs::statvfs(self.names.directory()) else {
            return Ok(());
        };
        let available = stat.f_bavail.saturating_mul(stat.f_frsize);
        if needed > available {
            return Err(TransferError::NoRoom {
                path,
                available,
                needed,
            });
        }
        Ok(())
    }

    pub(super) fn file(&self) -> Result<&Arc<File>, TransferError> {
        let none =
            || TransferError::local("cannot write", &self.names.part)(io::ErrorKind::NotFound);
        self.file.as_ref().ok_or_else(none)
    }

    pub(super) fn path(&self) -> &Path {
        &self.names.part
    }

    pub(super) fn journal_mut(&mut self) -> Option<&mut Journal> {
        self.journal.as_mut()
    }

    pub(super) fn journal_error(&self, source: JournalError) -> TransferError {
        TransferError::Journal {
            path: self.names.journal.clone(),
            source,
        }
    }

    /// Makes the part the target: its time and mode, then the disk, then its name, then the disk.
    /// Says whether it replaced something.
    pub(super) fn commit(mut self, entry: &Entry, force: bool) -> Result<bool, TransferError> {
        let file = self.file()?.clone();
        let names = self.names.clone();
        let local = TransferError::local::<io::Error>;
        let times = Timestamps {
            last_access: Timespec {
                tv_sec: 0,
                tv_nsec: UTIME_OMIT,
            },
            last_modification: timespec(entry.mtime_ns),
        };
        rustix::fs::futimens(&file, &times)
            .map_err(|error| local("cannot set the time of", &names.part)(error.into()))?;
        let mode = Mode::from_raw_mode(u32::from(entry.mode & 0o777));
        rustix::fs::fchmod(&file, mode)
            .map_err(|error| local("cannot set the mode of", &names.part)(error.into()))?;
        // A failed flush is final: what is in the part then is anybody's guess.
        if let Err(error) = file.sync_all() {
            self.discard();
            return Err(local("cannot write", &names.part)(error));
        }
        let replaced = force && fs::symlink_metadata(&names.target).is_ok();
        let renamed = if force {
            fs::rename(&names.part, &names.target)
        } else {
            rename_without_replacing(&names.part, &names.target)
        };
        renamed.map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => TransferError::Exists {
                path: names.target.clone(),
            },
            _ => local("cannot write", &names.target)(error),
        })?;
        File::open(names.directory())
            .and_then(|directory| directory.sync_all())
            .map_err(local("cannot write", names.directory()))?;
        self.journal = None;
        // The file is in place; what cannot be removed is only untidy.
        let _ = remove(&names.journal);
        let _ = remove(&names.meta);
        Ok(replaced)
    }

    /// Removes all of it, because it is of no use.
    pub(super) fn discard(self) {
        let Self {
            names,
            file,
            journal,
        } = self;
        if file.is_some() {
            let _ = remove(&names.part);
            let _ = remove(&names.journal);
            let _ = remove(&names.meta);
        }
        // Only now is the lock given up, so that nobody's new part was removed.
        drop((file, journal));
    }
}

fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(flags.contains(OFlags::CREATE))
        .mode(0o600)
        .custom_flags(flags.difference(OFlags::CREATE).bits() as i32)
        .open(path)
}

/// Locks the part, and makes sure that its name still leads to it: the process that had the lock
/// before may have finished it in between.
fn lock(file: &File, names: &Names) -> Result<(), TransferError> {
    let busy = || TransferError::Busy {
        path: names.target.clone(),
    };
    match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Err(busy()),
        // Some network file systems have no locks; they are not refused for it.
        Err(_) => return Ok(()),
    }
    let open = file
        .metadata()
        .map_err(TransferError::local("cannot read", &names.part))?;
    let named = fs::symlink_metadata(&names.part).map_err(|_| busy())?;
    if (open.dev(), open.ino()) == (named.dev(), named.ino()) {
        Ok(())
    } else {
        Err(busy())
    }
}

fn read_meta(path: &Path) -> Option<HomeFingerprint> {
    let bytes = fs::read(path).ok()?;
    codec::decode(bytes.strip_prefix(META_MAGIC)?).ok()
}

fn write_meta(path: &Path, fingerprint: &HomeFingerprint) -> io::Result<()> {
    let mut bytes = META_MAGIC.to_vec();
    codec::encode_into(fingerprint, &mut bytes).map_err(io::Error::other)?;
    let file = open(path, OFlags::CREATE | OFlags::NOFOLLOW)?;
    file.set_len(0)?;
    std::os::unix::fs::FileExt::write_all_at(&file, &bytes, 0)
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// `RENAME_NOREPLACE`, or a link and an unlink where the file system or the system has none.
fn rename_without_replacing(from: &Path, to: &Path) -> io::Result<()> {
    #[cfg(any(target_os = "linux", target_os = "macos"))]
    {
        use rustix::fs::{CWD, RenameFlags, renameat_with};
        match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::NOSYS) => {}
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
