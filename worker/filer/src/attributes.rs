//! What is kept on a file beside its bytes: digests, with the size and time they were made for, the
//! permission bits that a client sent, and a note.
//!
//! A digest counts only while the file has that size and that mtime: so rot can be told from a change that
//! an administrator made by hand.

use std::os::fd::AsFd;

use berth_common::digest::Md5;
use berth_common::note::{MAX_NOTE_BYTES, Note};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::home::Seen;

/// The tree digest.
const DIGEST: &str = "user.berth.digest";
/// The plain MD5, kept when somebody asked for it.
const PLAIN_MD5: &str = "user.berth.md5";
/// Permission bits, in octal.
const MODE: &str = "user.berth.mode";
/// A note, in UTF-8.
const NOTE: &str = "user.berth.note";

/// version 1 | size u64 BE | mtime in ns i64 BE | MD5.
const DIGEST_BYTES: usize = 1 + 8 + 8 + Md5::SIZE;
const VERSION: u8 = 1;

/// The stored tree digest, if it was made for what `seen` describes.
pub(crate) fn digest(file: impl AsFd, seen: &Seen) -> Option<Md5> {
    decode_digest(&read::<DIGEST_BYTES>(file, DIGEST)?, seen)
}

/// The stored plain MD5, if it was made for what `seen` describes.
pub(crate) fn plain_md5(file: impl AsFd, seen: &Seen) -> Option<Md5> {
    decode_digest(&read::<DIGEST_BYTES>(file, PLAIN_MD5)?, seen)
}

/// The permission bits that the client sent, if it sent any.
pub(crate) fn mode(file: impl AsFd) -> Option<u16> {
    decode_mode(&read::<8>(file, MODE)?)
}

/// The note that is kept with the file. What an administrator stored there and is no note is none.
pub(crate) fn note(file: impl AsFd) -> Result<Option<Note>, Errno> {
    let mut bytes = [0; MAX_NOTE_BYTES];
    match rustix::fs::fgetxattr(file, NOTE, &mut bytes[..]) {
        Ok(length) => {
            let text = bytes.get(..length).and_then(|bytes| str::from_utf8(bytes).ok());
            Ok(text.and_then(|text| Note::new(text).ok()))
        }
        // There is none, or one that is too long, or there can be none on this file system.
        Err(Errno::NODATA | Errno::RANGE | Errno::OPNOTSUPP) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Stores a note, or removes whatever is stored as one. What stands there already is not written again, so that the
/// file's ctime does not change.
pub(crate) fn set_note(file: impl AsFd, wanted: Option<&Note>) -> Result<(), Errno> {
    let Some(wanted) = wanted else {
        return match rustix::fs::fremovexattr(file, NOTE) {
            Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(()),
            removed => removed,
        };
    };
    match note(&file)? {
        Some(stored) if stored == *wanted => Ok(()),
        _ => write(file, NOTE, wanted.as_str().as_bytes()),
    }
}

/// Stores the tree digest of what `seen` describes.
pub(crate) fn set_digest(file: impl AsFd, seen: &Seen, md5: Md5) -> Result<(), Errno> {
    write(file, DIGEST, &encode_digest(seen, md5))
}

/// Stores the plain MD5 of what `seen` describes.
pub(crate) fn set_plain_md5(file: impl AsFd, seen: &Seen, md5: Md5) -> Result<(), Errno> {
    write(file, PLAIN_MD5, &encode_digest(seen, md5))
}

/// Stores permission bits; setuid, setgid and sticky are left out.
pub(crate) fn set_mode(file: impl AsFd, mode: u16) -> Result<(), Errno> {
    write(file, MODE, format!("{:o}", mode & 0o777).as_bytes())
}

/// `None` when there is none, when it is longer than `N`, and on a file system without attributes.
fn read<const N: usize>(file: impl AsFd, name: &str) -> Option<Vec<u8>> {
    let mut bytes = [0; N];
    let length = rustix::fs::fgetxattr(file, name, &mut bytes[..]).ok()?;
    bytes.get(..length).map(<[u8]>::to_vec)
}

fn write(file: impl AsFd, name: &str, value: &[u8]) -> Result<(), Errno> {
    rustix::fs::fsetxattr(file, name, value, XattrFlags::empty())
}

fn encode_digest(seen: &Seen, md5: Md5) -> [u8; DIGEST_BYTES] {
    let mut bytes = [0; DIGEST_BYTES];
    bytes[0] = VERSION;
    bytes[1..9].copy_from_slice(&seen.size.to_be_bytes());
    bytes[9..17].copy_from_slice(&seen.mtime_ns.to_be_bytes());
    bytes[17..].copy_from_slice(md5.as_bytes());
    bytes
}

fn decode_digest(bytes: &[u8], seen: &Seen) -> Option<Md5> {
    let bytes: &[u8; DIGEST_BYTES] = bytes.try_into().ok()?;
    let (made_for, md5) = bytes.split_last_chunk::<{ Md5::SIZE }>()?;
    let expected = encode_digest(seen, Md5::from_bytes(*md5));
    (made_for == &expected[..made_for.len()]).then(|| Md5::from_bytes(*md5))
}

fn decode_mode(bytes: &[u8]) -> Option<u16> {
    let octal = !bytes.is_empty() && bytes.iter().all(|byte| (b'0'..=b'7').contains(byte));
    let text = str::from_utf8(bytes).ok().filter(|_| octal)?;
    u16::from_str_radix(text, 8).ok().filter(|mode| *mode <= 0o777)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_digest_counts_only_for_the_size_and_time_it_was_made_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let seen = Seen::of(&file).unwrap();
        let md5 = Md5::of(b"x");
        assert_eq!(digest(&file, &seen), None);
        set_digest(&file, &seen, md5).unwrap();
        set_plain_md5(&file, &seen, Md5::of(b"y")).unwrap();
        assert_eq!(digest(&file, &seen), Some(md5));
        assert_eq!(plain_md5(&file, &seen), Some(Md5::of(b"y")));
        assert_eq!(digest(&file, &Seen { size: 1, ..seen }), None);
        assert_eq!(digest(&file, &Seen { mtime_ns: 1, ..seen }), None);
        // Its own ctime has changed with the attribute; that does not matter.
        let seen_later = Seen::of(&file).unwrap();
        assert_eq!(digest(&file, &seen_later), Some(md5));
        // A descriptor for reading is enough to write an attribute.
        set_plain_md5(File::open(file.path()).unwrap(), &seen, md5).unwrap();
        assert_eq!(plain_md5(&file, &seen), Some(md5));
    }

    #[test]
    fn the_stored_form_is_pinned() {
        let seen = Seen {
            what: crate::home::What::File,
            inode: 9,
            size: 0x0102,
            links: 1,
            mtime_ns: -1,
            ctime_ns: 0,
            permissions: 0,
        };
        let bytes = encode_digest(&seen, Md5::from_bytes([7; 16]));
        assert_eq!(
            bytes[..17],
            [1, 0, 0, 0, 0, 0, 0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255]
        );
        assert_eq!(bytes[17..], [7; 16]);
        assert_eq!(decode_digest(&bytes, &seen), Some(Md5::from_bytes([7; 16])));
        let mut other = bytes;
        other[0] = 2;
        for bad in [&other[..], &bytes[..32], &[bytes.as_slice(), &[0]].concat(), b""] {
            assert_eq!(decode_digest(bad, &seen), None);
        }
    }

    #[test]
    fn a_mode_is_octal_text_without_special_bits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(mode(&file), None);
        set_mode(&file, 0o4755).unwrap();
        assert_eq!(mode(&file), Some(0o755));
        assert_eq!(decode_mode(b"0"), Some(0));
        for bad in [&b""[..], b"8", b"+7", b"1777", b"77777777", b"7 "] {
            assert_eq!(decode_mode(bad), None, "{bad:?}");
        }
    }

    #[test]
    fn a_note_is_stored_as_its_text_and_what_is_none_is_not_shown() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(note(&file), Ok(None));
        assert_eq!(set_note(&file, None), Ok(()));
        let first = Note::new("from the scanner").unwrap();
        set_note(&file, Some(&first)).unwrap();
        assert_eq!(note(&file), Ok(Some(first.clone())));
        assert_eq!(read::<64>(&file, NOTE).as_deref(), Some(&b"from the scanner"[..]));
        let ctime_ns = Seen::of(&file).unwrap().ctime_ns;
        set_note(&file, Some(&first)).unwrap();
        assert_eq!(Seen::of(&file).unwrap().ctime_ns, ctime_ns, "it stands there already");
        let longest = Note::new(&"n".repeat(MAX_NOTE_BYTES)).unwrap();
        set_note(&file, Some(&longest)).unwrap();
        assert_eq!(note(&file), Ok(Some(longest)));
        let too_long = [b'n'; MAX_NOTE_BYTES + 1];
        for by_hand in [&b""[..], b"a\nb", b"\xff", b" ", &too_long] {
            write(&file, NOTE, by_hand).unwrap();
            assert_eq!(note(&file), Ok(None), "{by_hand:?}");
        }
        set_note(&file, None).unwrap();
        assert_eq!(read::<64>(&file, NOTE), None);
    }
}
