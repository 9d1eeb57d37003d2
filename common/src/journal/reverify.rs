//! Hashes leaves of a data file again, after a boot in which they may not have reached the disk.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;

use crate::digest::{self, Md5};
use crate::limits::{LEAF_SIZE, LEAVES_PER_BLOCK};

/// Hashes the leaves of `data` from `first_leaf` on and says how many in a row are as expected.
///
/// It stops at the first leaf that differs or that the file does not have. A leaf that the file
/// ends within is hashed as far as it goes. With `file_len_limit`, bytes, nothing from there on
/// counts, as if the file ended there (a data file may be longer than what was sent so far).
/// It reads one block at a time and keeps the file's position.
///
/// # Errors
/// When the file cannot be read.
pub fn reverify(
    data: &File,
    first_leaf: u64,
    expected: &[Md5],
    file_len_limit: Option<u64>,
) -> io::Result<usize> {
    let end = file_len_limit.unwrap_or(u64::MAX);
    let mut block = vec![0; LEAF_SIZE * LEAVES_PER_BLOCK.min(expected.len())];
    let mut offset = first_leaf.saturating_mul(LEAF_SIZE as u64);
    let mut matching = 0;
    for wanted in expected.chunks(LEAVES_PER_BLOCK) {
        let room = usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX);
        let buffer = &mut block[..room.min(wanted.len() * LEAF_SIZE)];
        let read = read_up_to(data, buffer, offset)?;
        let found = digest::leaves(&block[..read]);
        let same = found.iter().zip(wanted).take_while(|(found, wanted)| found == wanted).count();
        matching += same;
        if same < wanted.len() {
            break;
        }
        offset = offset.saturating_add(read as u64);
    }
    Ok(matching)
}

/// Fills the buffer as far as the file goes; how far that is.
///
/// # Errors
/// The system call's.
pub fn read_up_to(data: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match data.read_at(&mut buffer[filled..], offset + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(len: usize) -> (File, Vec<Md5>) {
        let bytes: Vec<u8> = (0..len).map(|at| (at / 100 + at % 251) as u8).collect();
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        (file, digest::leaves(&bytes))
    }

    #[test]
    fn counts_the_leaves_that_match_in_a_row() {
        let (file, leaves) = data(11 * LEAF_SIZE + 10);
        assert_eq!(reverify(&file, 0, &leaves, None).unwrap(), 12);
        assert_eq!(reverify(&file, 3, &leaves[3..], None).unwrap(), 9);
        assert_eq!(reverify(&file, 0, &[], None).unwrap(), 0);
        file.write_all_at(&[0xff], 9 * LEAF_SIZE as u64).unwrap();
        assert_eq!(reverify(&file, 0, &leaves, None).unwrap(), 9);
        assert_eq!(reverify(&file, 9, &leaves[9..], None).unwrap(), 0);
        assert_eq!(reverify(&file, 10, &leaves[10..], None).unwrap(), 2);
    }

    #[test]
    fn never_counts_what_the_file_does_not_have() {
        let (file, leaves) = data(2 * LEAF_SIZE);
        let more = [leaves.clone(), vec![Md5::of(b""); 9]].concat();
        assert_eq!(reverify(&file, 0, &more, None).unwrap(), 2);
        assert_eq!(reverify(&file, 5, &more, None).unwrap(), 0);
        assert_eq!(reverify(&file, u64::MAX, &more, None).unwrap(), 0);
        let limit = |bytes| reverify(&file, 0, &leaves, Some(bytes)).unwrap();
        assert_eq!(limit(2 * LEAF_SIZE as u64), 2);
        assert_eq!(limit(2 * LEAF_SIZE as u64 - 1), 1);
        assert_eq!(limit(0), 0);
    }

    #[test]
    fn a_short_last_leaf_ends_at_the_limit() {
        let (file, _) = data(3 * LEAF_SIZE);
        let mut sent = vec![0; LEAF_SIZE + 77];
        file.read_exact_at(&mut sent, 0).unwrap();
        let leaves = digest::leaves(&sent);
        assert_eq!(reverify(&file, 0, &leaves, Some(sent.len() as u64)).unwrap(), 2);
        assert_eq!(reverify(&file, 0, &leaves, None).unwrap(), 1);
    }
}
