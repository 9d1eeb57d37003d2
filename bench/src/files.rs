//! Files to move: made once, and compared with what arrived. Nothing here is timed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use crate::account;
use crate::workload::{IN_DIRECTORY, SMALL};

/// How much is written and compared at once.
const BUFFER: usize = 1 << 20;

/// Bytes that do not compress, the same for a seed (splitmix64).
struct Noise(u64);

impl Noise {
    fn fill(&mut self, buffer: &mut [u8]) {
        for word in buffer.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut mixed = self.0;
            mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            word.copy_from_slice(&(mixed ^ (mixed >> 31)).to_le_bytes()[..word.len()]);
        }
    }
}

/// Makes a file of this size, for the ordinary user.
pub(crate) fn make_large(path: &Path, size: u64) -> io::Result<()> {
    let mut file = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let (mut noise, mut buffer) = (Noise(size), vec![0; BUFFER]);
    let mut left = size;
    while left > 0 {
        let part = usize::try_from(left).unwrap_or(BUFFER).min(BUFFER);
        noise.fill(&mut buffer[..part]);
        file.write_all(&buffer[..part])?;
        left -= part as u64;
    }
    file.flush()?;
    account::give(path)
}

/// Makes a tree of small files, for the ordinary user.
pub(crate) fn make_tree(root: &Path, files: u64) -> io::Result<()> {
    make_dir(root)?;
    let mut small = vec![0; usize::try_from(SMALL).unwrap_or_default()];
    for number in 0..files {
        let directory = root.join(format!("dir-{:04}", number / IN_DIRECTORY));
        if number % IN_DIRECTORY == 0 {
            make_dir(&directory)?;
        }
        Noise(number).fill(&mut small);
        let path = directory.join(format!("file-{:02}", number % IN_DIRECTORY));
        fs::write(&path, &small)?;
        account::give(&path)?;
    }
    Ok(())
}

/// Makes a directory, for the ordinary user.
pub(crate) fn make_dir(path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    account::give(path)
}

/// Removes all that is in a directory, which stays.
pub(crate) fn empty(directory: &Path) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// The regular files below a directory (or the file itself), with their sizes.
pub(crate) fn walk(root: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let (mut waiting, mut found) = (vec![root.to_owned()], Vec::new());
    while let Some(path) = waiting.pop() {
        let metadata = fs::symlink_metadata(&path)?;
        if metadata.is_dir() {
            for entry in fs::read_dir(&path)? {
                waiting.push(entry?.path());
            }
        } else {
            found.push((path, metadata.len()));
        }
    }
    Ok(found)
}

/// What differs between what was sent and what arrived; `None` when nothing does. Contents are compared only on
/// request, names in their last two parts: some programs put a directory into the target, others what is in it.
pub(crate) fn difference(
    sent: &Path,
    arrived: &Path,
    contents: bool,
) -> io::Result<Option<String>> {
    let (sent, arrived) = (by_name(sent)?, by_name(arrived)?);
    if sent.len() != arrived.len() {
        return Ok(Some(format!("{} files were sent, {} arrived", sent.len(), arrived.len())));
    }
    // A single file may have any name.
    let pairs = sent.into_iter().zip(arrived);
    for ((name, (here, size)), (other, (there, arrived))) in pairs {
        if name.contains('/') && name != other {
            return Ok(Some(format!("{name} did not arrive")));
        }
        if size != arrived || (contents && !same_contents(&here, &there)?) {
            return Ok(Some(format!("{name} arrived with another content")));
        }
    }
    Ok(None)
}

fn by_name(root: &Path) -> io::Result<BTreeMap<String, (PathBuf, u64)>> {
    let walked = walk(root)?;
    let alone = walked.len() == 1;
    let names = walked.into_iter().map(|(path, size)| {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let parent = path.parent().and_then(Path::file_name).unwrap_or_default();
        let name =
            if alone { name.into_owned() } else { format!("{}/{name}", parent.to_string_lossy()) };
        (name, (path, size))
    });
    Ok(names.collect())
}

fn same_contents(one: &Path, other: &Path) -> io::Result<bool> {
    let (mut one, mut other) = (File::open(one)?, File::open(other)?);
    let (mut left, mut right) = (vec![0; BUFFER], vec![0; BUFFER]);
    loop {
        let read = one.read(&mut left)?;
        if read == 0 {
            return Ok(other.read(&mut right)? == 0);
        }
        match other.read_exact(&mut right[..read]) {
            Ok(()) if left[..read] == right[..read] => {}
            Ok(()) => return Ok(false),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;

    use super::*;

    fn directories() -> (TempDir, PathBuf, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let (sent, arrived) = (directory.path().join("sent"), directory.path().join("arrived"));
        fs::create_dir(&arrived).unwrap();
        (directory, sent, arrived)
    }

    #[test]
    fn a_tree_has_a_hundred_files_a_directory() {
        let (_directory, sent, _) = directories();
        make_tree(&sent, 250).unwrap();
        assert_eq!(fs::read_dir(&sent).unwrap().count(), 3);
        let walked = walk(&sent).unwrap();
        assert_eq!(walked.len(), 250);
        assert!(walked.iter().all(|(_, size)| *size == SMALL));
    }

    #[test]
    fn a_copy_is_no_different_wherever_the_tree_stands_in_the_target() {
        let (_directory, sent, arrived) = directories();
        make_tree(&sent, 101).unwrap();
        make_tree(&arrived.join("sent"), 101).unwrap();
        assert_eq!(difference(&sent, &arrived, true).unwrap(), None);
    }

    #[test]
    fn what_is_missing_renamed_or_changed_is_told() {
        let (_directory, sent, arrived) = directories();
        make_tree(&sent, 3).unwrap();
        make_tree(&arrived, 3).unwrap();
        let last = arrived.join("dir-0000/file-02");
        let mut content = fs::read(&last).unwrap();
        content[7] ^= 1;
        fs::write(&last, &content).unwrap();
        assert_eq!(difference(&sent, &arrived, false).unwrap(), None);
        assert!(difference(&sent, &arrived, true).unwrap().is_some());
        fs::write(&last, &content[1..]).unwrap();
        assert!(difference(&sent, &arrived, false).unwrap().is_some());
        fs::rename(&last, arrived.join("dir-0000/file-99")).unwrap();
        let told = difference(&sent, &arrived, false).unwrap();
        assert_eq!(told.as_deref(), Some("dir-0000/file-02 did not arrive"));
        empty(&arrived).unwrap();
        assert!(difference(&sent, &arrived, false).unwrap().is_some());
    }

    #[test]
    fn a_large_file_may_arrive_under_another_name() {
        let (_directory, sent, arrived) = directories();
        make_large(&sent, 3_000_000).unwrap();
        make_large(&arrived.join("other"), 3_000_000).unwrap();
        assert_eq!(difference(&sent, &arrived, true).unwrap(), None);
        make_large(&arrived.join("other"), 3_000_001).unwrap();
        assert!(difference(&sent, &arrived, false).unwrap().is_some());
    }
}
