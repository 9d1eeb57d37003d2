//! Local files for tests: content that no compression or hole hides, quickly made and compared.

use std::fs::{File, FileTimes};
use std::io::{BufWriter, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use berth_common::digest::{Md5, Md5Stream, TreeDigest, leaves};
use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};

/// Bytes that look random and are the same for the same seed.
#[derive(Clone, Debug)]
pub struct Content {
    state: u64,
}

impl Content {
    /// The content of this seed.
    #[must_use]
    pub fn seed(seed: u64) -> Self {
        Self { state: seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1 }
    }

    /// The next `size` bytes.
    #[must_use]
    pub fn bytes(&mut self, size: usize) -> Vec<u8> {
        let words = (0..size.div_ceil(8)).flat_map(|_| self.next().to_le_bytes());
        words.take(size).collect()
    }

    /// A number below `bound`.
    #[must_use]
    pub fn below(&mut self, bound: u64) -> u64 {
        (self.next() >> 16) % bound.max(1)
    }

    /// Makes a file of `size` bytes. One megabyte is random and repeated with its number in
    /// each copy, so that a large file is quickly made and still has no two equal blocks.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&mut self, path: &Path, size: u64) {
        let mut block = self.bytes(BLOCK_SIZE.min(usize::try_from(size).unwrap_or(BLOCK_SIZE)));
        let mut file = BufWriter::with_capacity(BLOCK_SIZE, create(path));
        let mut left = size;
        let mut number = 0u64;
        while left > 0 {
            for leaf in block.chunks_mut(LEAF_SIZE).filter(|leaf| leaf.len() >= 8) {
                leaf[..8].copy_from_slice(&number.to_le_bytes());
                number += 1;
            }
            let part = block.len().min(usize::try_from(left).unwrap_or(usize::MAX));
            file.write_all(&block[..part]).unwrap();
            left -= part as u64;
        }
        file.flush().unwrap();
    }

    fn next(&mut self) -> u64 {
        // xorshift64*
        self.state ^= self.state >> 12;
        self.state ^= self.state << 25;
        self.state ^= self.state >> 27;
        self.state.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
}

/// Makes a file of `size` bytes that is one hole, but for some bytes at each of `marks`.
///
/// # Panics
/// When it cannot be written.
pub fn write_sparse(path: &Path, size: u64, marks: &[u64]) {
    let file = create(path);
    file.set_len(size).unwrap();
    for mark in marks {
        file.write_all_at(&mark.to_le_bytes(), *mark).unwrap();
    }
}

/// Changes one byte of a file.
///
/// # Panics
/// When it cannot.
pub fn flip_byte(path: &Path, offset: u64) {
    let file = File::options().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, offset).unwrap();
    file.write_all_at(&[byte[0] ^ 0x55], offset).unwrap();
}

/// The same as a disk does it: size and mtime stay what a stored digest was made for.
///
/// # Panics
/// When it cannot.
pub fn rot(path: &Path, offset: u64) {
    let mtime = path.metadata().unwrap().modified().unwrap();
    flip_byte(path, offset);
    let times = FileTimes::new().set_modified(mtime);
    File::options().write(true).open(path).unwrap().set_times(times).unwrap();
}

/// The plain MD5 of a file, as `md5sum` prints it.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn md5(path: &Path) -> String {
    let mut stream = Md5Stream::new();
    each_block(path, |block| stream.update(block));
    stream.finish().to_string()
}

/// The tree digest of a file.
///
/// # Panics
/// When it cannot be read.
#[must_use]
pub fn tree_digest(path: &Path) -> String {
    let mut tree = TreeDigest::new();
    each_block(path, |block| tree.extend(&leaves(block)));
    let digest: Md5 = tree.finish();
    digest.to_string()
}

/// Claims that two files have the same content.
///
/// # Panics
/// When they have not, or cannot be read.
#[track_caller]
pub fn assert_same(left: &Path, right: &Path) {
    let size = |path: &Path| {
        path.metadata().unwrap_or_else(|error| panic!("{}: {error}", path.display())).len()
    };
    assert_eq!(size(left), size(right), "{} and {}", left.display(), right.display());
    let other = File::open(right).unwrap();
    let mut offset = 0;
    let mut theirs = vec![0; BLOCK_SIZE];
    each_block(left, |ours| {
        let theirs = &mut theirs[..ours.len()];
        other.read_exact_at(theirs, offset).unwrap();
        assert!(ours == theirs, "{} differs near byte {offset}", right.display());
        offset += ours.len() as u64;
    });
}

fn create(path: &Path) -> File {
    File::create(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn each_block(path: &Path, mut use_block: impl FnMut(&[u8])) {
    let mut file = File::open(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut block = Vec::with_capacity(BLOCK_SIZE);
    loop {
        block.clear();
        Read::by_ref(&mut file).take(BLOCK_SIZE as u64).read_to_end(&mut block).unwrap();
        if block.is_empty() {
            return;
        }
        use_block(&block);
    }
}
