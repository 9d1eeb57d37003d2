//! The files beside the target of a get: what they are called, how they are opened, and which of
//! them are ours. Nothing that berth did not make is opened for writing, followed or removed.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, Metadata};
use std::io::{self, Read as _};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use berth_common::codec;
use berth_common::digest::Md5;
use berth_common::entry::HomeFingerprint;
use berth_common::limits::MAX_NAME_BYTES;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::super::{TransferError, Tried};

/// What a meta file begins with; a record of [`HomeFingerprint`] follows.
const META_MAGIC: &[u8] = b"berth get 1\n";

/// No meta file is longer.
const MOST_META_BYTES: u64 = 1024;

/// The names of the files, all in the target's directory.
#[derive(Clone, Debug)]
pub(super) struct Names {
    pub(super) target: PathBuf,
    pub(super) part: PathBuf,
    pub(super) journal: PathBuf,
    pub(super) meta: PathBuf,
}

/// What stands at the name of a meta file.
pub(super) enum Meta {
    /// Nothing.
    Missing,
    /// A file that is ours, or was before a power cut; without a fingerprint it tells nothing.
    Ours(Option<HomeFingerprint>),
    /// Something that berth did not make.
    Foreign,
}

impl Names {
    pub(super) fn beside(target: &Path) -> Self {
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

    pub(super) fn directory(&self) -> &Path {
        match self.target.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => parent,
            _ => Path::new("."),
        }
    }

    /// Looks at what stands at the three names, and refuses what is not ours. Says for which file
    /// in the home an earlier try received, and gives its part if there is one.
    pub(super) fn find_ours(
        &self,
    ) -> Result<(Option<File>, Option<HomeFingerprint>), TransferError> {
        let foreign = |path: &Path| TransferError::ForeignPart { path: path.to_owned() };
        let meta = read_meta(&self.meta).map_err(local(Tried::Read, &self.meta))?;
        let (known, fingerprint) = match meta {
            Meta::Missing => (false, None),
            Meta::Ours(fingerprint) => (true, fingerprint),
            Meta::Foreign => return Err(foreign(&self.meta)),
        };
        match fs::symlink_metadata(&self.journal) {
            // Without a meta file the journal is somebody's whom we know nothing of.
            Ok(found) if !found.is_file() || (!known && found.len() > 0) => {
                return Err(foreign(&self.journal));
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(local(Tried::LookAt, &self.journal)(error));
            }
            _ => {}
        }
        let part = match open(&self.part, OFlags::NONBLOCK) {
            Ok(part) => part,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok((None, None)),
            Err(error) => {
                // A link, a directory, a socket, or a file without our permission to write.
                return Err(match fs::symlink_metadata(&self.part) {
                    Ok(found) if is_private(&found) && known => {
                        local(Tried::Open, &self.part)(error)
                    }
                    Ok(_) => foreign(&self.part),
                    Err(_) => local(Tried::Open, &self.part)(error),
                });
            }
        };
        let found = part.metadata().map_err(local(Tried::Read, &self.part))?;
        // After a power cut the meta file may be missing: then nothing was received either.
        if is_private(&found) && (known || found.len() == 0) {
            Ok((Some(part), fingerprint))
        } else {
            Err(foreign(&self.part))
        }
    }

    /// Whether the part's name still leads to this open file.
    pub(super) fn lead_to(&self, part: &File) -> io::Result<bool> {
        let open = part.metadata()?;
        match fs::symlink_metadata(&self.part) {
            Ok(named) => Ok((open.dev(), open.ino()) == (named.dev(), named.ino())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

/// A regular file of ours without another name. Another user's, in a directory that all may write
/// to, could be changed by its owner after its bytes were verified.
fn is_private(found: &Metadata) -> bool {
    found.is_file() && found.nlink() == 1 && found.uid() == rustix::process::geteuid().as_raw()
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

/// Opens for reading and writing, never through a link.
pub(super) fn open(path: &Path, flags: OFlags) -> io::Result<File> {
    File::options()
        .read(true)
        .write(true)
        .create(flags.contains(OFlags::CREATE))
        .mode(0o600)
        .custom_flags((flags.difference(OFlags::CREATE) | OFlags::NOFOLLOW).bits() as i32)
        .open(path)
}

/// Reads a meta file without waiting for a writer, as one would of a FIFO. One that a power cut
/// left empty, full of zeros or cut short is ours all the same.
pub(super) fn read_meta(path: &Path) -> io::Result<Meta> {
    let file = File::options()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    let file = match file {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Meta::Missing),
        Err(error) if error.raw_os_error() == Some(Errno::LOOP.raw_os_error()) => {
            return Ok(Meta::Foreign);
        }
        Err(error) => return Err(error),
    };
    if !file.metadata()?.is_file() {
        return Ok(Meta::Foreign);
    }
    let mut bytes = Vec::new();
    file.take(MOST_META_BYTES + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > MOST_META_BYTES {
        return Ok(Meta::Foreign);
    }
    Ok(match bytes.strip_prefix(META_MAGIC) {
        Some(record) => Meta::Ours(codec::decode(record).ok()),
        None if META_MAGIC.starts_with(&bytes) || bytes.iter().all(|byte| *byte == 0) => {
            Meta::Ours(None)
        }
        None => Meta::Foreign,
    })
}

pub(super) fn write_meta(path: &Path, fingerprint: &HomeFingerprint) -> io::Result<()> {
    let mut bytes = META_MAGIC.to_vec();
    codec::encode_into(fingerprint, &mut bytes).map_err(io::Error::other)?;
    let file = open(path, OFlags::CREATE)?;
    file.set_len(0)?;
    file.write_all_at(&bytes, 0)
}

/// Removes a file that may be gone already.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// For `map_err` on an operation on one of the files.
pub(super) fn local(tried: Tried, path: &Path) -> impl FnOnce(io::Error) -> TransferError + use<> {
    let path = path.to_owned();
    move |source| TransferError::Local { tried, path, source }
}
