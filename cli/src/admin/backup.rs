//! `berthctl ledger backup`: a copy of the ledger into a file, whole or not at all.
//!
//! berthd makes and checks the copy and sends its bytes; here they are written beside the file, compared
//! with their MD5, made durable and given the file's name.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use berth_common::admin_protocol::{AdminToDaemon, DaemonToAdmin};
use berth_common::digest::{Md5, Md5Stream};
use rust_i18n::t;
use serde_json::json;

use super::args::LedgerCommand;
use super::failure::Failure;
use super::show::{self, Printer};
use super::socket::AdminSocket;
use crate::human;

const BUFFER: usize = 256 * 1024;

/// Carries out one of the commands.
///
/// # Errors
/// Whatever keeps it from being carried out. Nothing stands under the file's name then that was not there
/// before, unless the error says so: the last step makes the name durable.
pub(super) fn carry_out(
    command: LedgerCommand,
    socket: &AdminSocket,
    printer: &Printer,
) -> Result<(), Failure> {
    let LedgerCommand::Backup { file, force } = command;
    // Told before the copy is made; that nobody was quicker is made sure of at the end.
    if !force && file.symlink_metadata().is_ok() {
        return Err(Failure::FileExists(file));
    }
    let (answer, mut stream) = socket.ask_for_more(&AdminToDaemon::LedgerBackup)?;
    let (bytes, md5, version, users) = match answer {
        DaemonToAdmin::LedgerBackup { bytes, md5, version, users } => (bytes, md5, version, users),
        DaemonToAdmin::Refused(error) => return Err(error.into()),
        _ => return Err(Failure::OtherAnswer),
    };
    let target = Target { file, force };
    target.write(&mut stream, bytes, md5).map_err(|failure| match failure {
        WriteError::Source(error) => socket.explain(error).into(),
        WriteError::Damaged => Failure::Damaged,
        WriteError::Exists => Failure::FileExists(target.file.clone()),
        WriteError::File(error) => Failure::File { path: target.file.clone(), error },
    })?;
    let text = [
        (t!("file"), target.file.display().to_string()),
        (t!("size"), human::size(bytes)),
        (t!("users"), users.to_string()),
        (t!("ledger version"), version.to_string()),
    ];
    let object = json!({
        "file": target.file.display().to_string(),
        "bytes": bytes,
        "md5": md5.to_string(),
        "users": users,
        "version": version,
    });
    Ok(printer.print(&show::properties(&text), &object)?)
}

#[derive(Debug)]
enum WriteError {
    Source(io::Error),
    Damaged,
    Exists,
    File(io::Error),
}

impl From<io::Error> for WriteError {
    fn from(error: io::Error) -> Self {
        Self::File(error)
    }
}

/// Where a copy goes.
struct Target {
    file: PathBuf,
    force: bool,
}

impl Target {
    fn write(&self, source: &mut impl Read, bytes: u64, md5: Md5) -> Result<(), WriteError> {
        let beside = self.beside();
        let written = self.write_beside(&beside, source, bytes, md5);
        if written.is_err() {
            drop(fs::remove_file(&beside));
        }
        written
    }

    /// A name in the same directory, which tells whose it is when it is left over.
    fn beside(&self) -> PathBuf {
        let mut name = OsString::from(".");
        name.push(self.file.file_name().unwrap_or_default());
        name.push(format!(".{}.new", std::process::id()));
        self.file.with_file_name(name)
    }

    fn write_beside(
        &self,
        beside: &Path,
        source: &mut impl Read,
        bytes: u64,
        md5: Md5,
    ) -> Result<(), WriteError> {
        // It has password verifiers, so that nobody else may ever read it.
        let made =
            OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(beside);
        let mut copy = made?;
        let mut buffer = vec![0; BUFFER];
        let mut left = bytes;
        while left > 0 {
            let most = buffer.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            let count = source.read(&mut buffer[..most]).map_err(WriteError::Source)?;
            if count == 0 {
                return Err(WriteError::Source(io::ErrorKind::UnexpectedEof.into()));
            }
            copy.write_all(&buffer[..count])?;
            left -= count as u64;
        }
        copy.sync_all()?;
        // What is in the file, not what has come.
        copy.rewind()?;
        if digest(&mut copy, &mut buffer)? != md5 {
            return Err(WriteError::Damaged);
        }
        self.name(beside)?;
        self.sync_directory().map_err(|error| {
            let text = t!(
                "the backup is there, but its directory cannot be synced: %{error}",
                error = human::reason(&error)
            );
            WriteError::File(io::Error::new(error.kind(), text))
        })
    }

    fn sync_directory(&self) -> io::Result<()> {
        let parent = self.file.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(parent.unwrap_or(Path::new(".")))?.sync_all()
    }

    fn name(&self, beside: &Path) -> Result<(), WriteError> {
        if self.force {
            return Ok(fs::rename(beside, &self.file)?);
        }
        // Unlike a rename, a link never takes the place of what is there.
        match fs::hard_link(beside, &self.file) {
            Ok(()) => Ok(fs::remove_file(beside)?),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(WriteError::Exists),
            // A file system without links, as of a memory stick.
            Err(_) if self.file.symlink_metadata().is_err() => Ok(fs::rename(beside, &self.file)?),
            Err(_) => Err(WriteError::Exists),
        }
    }
}

fn digest(file: &mut File, buffer: &mut [u8]) -> io::Result<Md5> {
    let mut md5 = Md5Stream::new();
    loop {
        match file.read(buffer)? {
            0 => return Ok(md5.finish()),
            count => md5.update(&buffer[..count]),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    const COPY: &[u8] = b"a ledger";

    fn target(force: bool) -> (tempfile::TempDir, Target) {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("backup.sqlite");
        (dir, Target { file, force })
    }

    fn write(target: &Target, mut source: &[u8], md5: Md5) -> Result<(), WriteError> {
        target.write(&mut source, COPY.len() as u64, md5)
    }

    fn names(dir: &tempfile::TempDir) -> usize {
        fs::read_dir(dir.path()).unwrap().count()
    }

    #[test]
    fn a_copy_is_there_whole_and_for_its_owner_alone() {
        for force in [false, true] {
            let (dir, target) = target(force);
            write(&target, COPY, Md5::of(COPY)).unwrap();
            assert_eq!(fs::read(&target.file).unwrap(), COPY);
            let mode = fs::metadata(&target.file).unwrap().permissions().mode();
            assert_eq!((mode & 0o777, names(&dir)), (0o600, 1));
        }
    }

    #[test]
    fn a_copy_that_is_cut_off_or_damaged_leaves_nothing() {
        let (dir, target) = target(true);
        fs::write(&target.file, b"older").unwrap();
        let cut = write(&target, &COPY[..3], Md5::of(COPY));
        assert!(matches!(cut, Err(WriteError::Source(_))), "{cut:?}");
        let other = write(&target, COPY, Md5::of(b"another"));
        assert!(matches!(other, Err(WriteError::Damaged)), "{other:?}");
        assert_eq!((fs::read(&target.file).unwrap().as_slice(), names(&dir)), (&b"older"[..], 1));
    }

    #[test]
    fn what_is_there_is_replaced_only_by_force() {
        let (dir, mut target) = target(false);
        fs::write(&target.file, b"older").unwrap();
        let refused = write(&target, COPY, Md5::of(COPY));
        assert!(matches!(refused, Err(WriteError::Exists)), "{refused:?}");
        assert_eq!((fs::read(&target.file).unwrap().as_slice(), names(&dir)), (&b"older"[..], 1));
        target.force = true;
        write(&target, COPY, Md5::of(COPY)).unwrap();
        assert_eq!((fs::read(&target.file).unwrap().as_slice(), names(&dir)), (COPY, 1));
    }
}
