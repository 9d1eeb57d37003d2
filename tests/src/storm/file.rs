//! A file of the storm's: one content, or several that were appended to it, one behind the other.
//!
//! [`Reader`] tells from a file's bytes, in pieces of any size, which ones they are, and compares every
//! byte. It keeps no content.

use std::fmt;
use std::sync::Arc;

use super::content::{Content, HEADER};

/// What a file holds. Contents without bytes leave no trace in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct File(Arc<[Content]>);

impl File {
    /// The file that a put makes.
    #[must_use]
    pub fn of(content: Content) -> Self {
        Self::default().with(content)
    }

    /// The file after an append.
    #[must_use]
    pub fn with(&self, content: Content) -> Self {
        let all = self.0.iter().copied().chain([content]);
        Self(all.filter(|content| content.size > 0).collect())
    }

    /// Its contents, in their order.
    #[must_use]
    pub fn contents(&self) -> &[Content] {
        &self.0
    }
}

impl fmt::Display for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0.iter().map(|Content { number, size }| format!("{number:x} ({size})"));
        write!(f, "{}", parts.collect::<Vec<_>>().join(" + "))
    }
}

/// Reads a file from its bytes.
#[derive(Debug, Default)]
pub struct Reader {
    whole: Vec<Content>,
    /// The first bytes of a content, until they name it.
    start: Vec<u8>,
    /// What is being read, and how much of it was.
    current: Option<(Content, u64)>,
}

impl Reader {
    /// Takes the next bytes. Whether they can be those of a file.
    #[must_use]
    pub fn take(&mut self, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            let Some((content, at)) = self.current else {
                self.start.push(bytes[0]);
                bytes = &bytes[1..];
                self.name();
                // A header that names nothing, or nothing that begins so.
                if self.current.is_none() && self.start.len() as u64 >= HEADER {
                    return false;
                }
                continue;
            };
            let most = usize::try_from(content.size - at).unwrap_or(usize::MAX);
            let (these, rest) = bytes.split_at(bytes.len().min(most));
            if !content.has_at(at, these) {
                return false;
            }
            self.read(content, at + these.len() as u64);
            bytes = rest;
        }
        true
    }

    /// The file, if all of it has come.
    #[must_use]
    pub fn finish(self) -> Option<File> {
        let is_whole = self.start.is_empty() && self.current.is_none();
        is_whole.then(|| File(self.whole.into()))
    }

    fn name(&mut self) {
        if let Some(content) = Content::claimed_by(&self.start)
            && content.has_at(0, &self.start)
        {
            let at = self.start.len() as u64;
            self.start.clear();
            self.read(content, at);
        }
    }

    fn read(&mut self, content: Content, at: u64) {
        self.current = (at < content.size).then_some((content, at));
        if self.current.is_none() {
            self.whole.push(content);
        }
    }
}

#[cfg(test)]
mod tests {
    use berth_common::limits::LEAVES_PER_BLOCK;

    use super::*;

    fn bytes(content: Content) -> Vec<u8> {
        let blocks = (0..content.leaf_count()).step_by(LEAVES_PER_BLOCK);
        blocks.flat_map(|first| content.block(first).0).collect()
    }

    fn read(bytes: &[u8], piece: usize) -> Option<File> {
        let mut reader = Reader::default();
        bytes.chunks(piece).all(|piece| reader.take(piece)).then(|| reader.finish())?
    }

    #[test]
    fn a_file_is_read_from_its_bytes_however_they_come() {
        let sizes: [&[u64]; 7] = [
            &[],
            &[0],
            &[5],
            &[3, 1, 15, 16, 0, 17],
            &[131_072, 1, 131_073],
            &[40, 300_000, 2, 131_056],
            &[16, 16, 16],
        ];
        for sizes in sizes {
            let contents: Vec<Content> =
                (7..).zip(sizes).map(|(number, size)| Content::new(number, *size)).collect();
            let file = contents.iter().fold(File::default(), |file, content| file.with(*content));
            let all: Vec<u8> = contents.iter().flat_map(|content| bytes(*content)).collect();
            for piece in [1, 15, 100_000, 131_072, 1 << 20] {
                assert_eq!(read(&all, piece).as_ref(), Some(&file), "{sizes:?} by {piece}");
            }
        }
    }

    #[test]
    fn a_file_that_is_cut_mixed_or_foreign_is_none() {
        let parts = [bytes(Content::new(5, 300_000)), bytes(Content::new(6, 40))];
        let whole = parts.concat();
        assert!(read(&whole, 4096).is_some());
        for cut in [1, 10, 299_990, whole.len() - 1] {
            assert_eq!(read(&whole[..cut], 4096), None, "cut at {cut}");
        }
        assert_eq!(read(&whole[1..], 4096), None);
        assert_eq!(read(&[&whole[..], b"?"].concat(), 4096), None);
        let partly = [&parts[1][..20], &parts[0][..]].concat();
        assert_eq!(read(&partly, 4096), None, "half an append, then a whole one");
        for at in [7, 20, 200_000, 300_039] {
            let mut changed = whole.clone();
            changed[at] ^= 1;
            assert_eq!(read(&changed, 4096), None, "another byte at {at}");
        }
    }
}
