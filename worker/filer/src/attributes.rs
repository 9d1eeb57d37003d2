//! What is kept on a file beside its bytes: digests, with the size and time they were made for, the
//! permission bits that a client sent, and a note.
//!
//! A digest counts only while the file has that size and that mtime: so rot can be told from a change that
//! an administrator made by hand. The bits count always.
//!
//! Digest and bits share an attribute: ext4 keeps 96 bytes of attributes in an inode of 256 bytes, which both by
//! themselves are too long for, so that each file would have a block more (`docs/decisions/0021`).

use std::os::fd::AsFd;

use berth_common::digest::Md5;
use berth_common::note::{MAX_NOTE_BYTES, Note};
use rustix::fs::XattrFlags;
use rustix::io::Errno;

use crate::home::Seen;

/// The tree digest, and permission bits.
const DIGEST: &str = "user.berth.digest";
/// The plain MD5, kept when somebody asked for it.
const PLAIN_MD5: &str = "user.berth.md5";
/// Permission bits, in octal, of a file without a tree digest; and of every file that has version 1 of that.
const MODE: &str = "user.berth.mode";
/// A note, in UTF-8.
const NOTE: &str = "user.berth.note";

/// Version 1: version u8 | size u64 BE | mtime in ns i64 BE | MD5.
const DIGEST_BYTES: usize = 1 + 8 + 8 + Md5::SIZE;
const VERSION: u8 = 1;

/// Version 2 of the tree digest: the same, and permission bits u16 BE.
const DIGEST_AND_MODE_BYTES: usize = DIGEST_BYTES + 2;
const VERSION_WITH_MODE: u8 = 2;

/// What is stored of a file's content and permissions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Stored {
    /// The tree digest, if it was made for what was seen.
    pub(crate) digest: Option<Md5>,
    /// The permission bits that the client sent, if it sent any.
    pub(crate) mode: Option<u16>,
}

/// What is stored of a file that is as `seen` describes.
pub(crate) fn stored(file: impl AsFd, seen: &Seen) -> Stored {
    let bytes = read::<DIGEST_AND_MODE_BYTES>(&file, DIGEST).unwrap_or_default();
    let (digest, mode) = match <&[u8; DIGEST_AND_MODE_BYTES]>::try_from(&bytes[..]) {
        Ok([VERSION_WITH_MODE, .., high, low]) => {
            let digest = decode_digest(VERSION_WITH_MODE, &bytes[..DIGEST_BYTES], seen);
            (digest, permissions(u16::from_be_bytes([*high, *low])))
        }
        _ => (decode_digest(VERSION, &bytes, seen), None),
    };
    Stored { digest, mode: mode.or_else(|| decode_mode(&read::<8>(file, MODE)?)) }
}

/// The stored plain MD5, if it was made for what `seen` describes.
pub(crate) fn plain_md5(file: impl AsFd, seen: &Seen) -> Option<Md5> {
    decode_digest(VERSION, &read::<DIGEST_BYTES>(file, PLAIN_MD5)?, seen)
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

/// Stores the tree digest of what `seen` describes, and permission bits; setuid, setgid and sticky are left out.
pub(crate) fn store(file: impl AsFd, seen: &Seen, digest: Md5, mode: u16) -> Result<(), Errno> {
    let mut bytes = [0; DIGEST_AND_MODE_BYTES];
    bytes[..DIGEST_BYTES].copy_from_slice(&encode_digest(VERSION_WITH_MODE, seen, digest));
    bytes[DIGEST_BYTES..].copy_from_slice(&(mode & 0o777).to_be_bytes());
    write(file, DIGEST, &bytes)
}

/// Stores the plain MD5 of what `seen` describes.
pub(crate) fn set_plain_md5(file: impl AsFd, seen: &Seen, md5: Md5) -> Result<(), Errno> {
    write(file, PLAIN_MD5, &encode_digest(VERSION, seen, md5))
}

/// Stores the permission bits of a file whose digest nobody knows; setuid, setgid and sticky are left out.
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

fn encode_digest(version: u8, seen: &Seen, md5: Md5) -> [u8; DIGEST_BYTES] {
    let mut bytes = [0; DIGEST_BYTES];
    bytes[0] = version;
    bytes[1..9].copy_from_slice(&seen.size.to_be_bytes());
    bytes[9..17].copy_from_slice(&seen.mtime_ns.to_be_bytes());
    bytes[17..].copy_from_slice(md5.as_bytes());
    bytes
}

fn decode_digest(version: u8, bytes: &[u8], seen: &Seen) -> Option<Md5> {
    let bytes: &[u8; DIGEST_BYTES] = bytes.try_into().ok()?;
    let (made_for, md5) = bytes.split_last_chunk::<{ Md5::SIZE }>()?;
    let expected = encode_digest(version, seen, Md5::from_bytes(*md5));
    (made_for == &expected[..made_for.len()]).then(|| Md5::from_bytes(*md5))
}

fn decode_mode(bytes: &[u8]) -> Option<u16> {
    let octal = !bytes.is_empty() && bytes.iter().all(|byte| (b'0'..=b'7').contains(byte));
    let text = str::from_utf8(bytes).ok().filter(|_| octal)?;
    u16::from_str_radix(text, 8).ok().and_then(permissions)
}

/// The bits, if there are no others.
fn permissions(bits: u16) -> Option<u16> {
    Some(bits).filter(|bits| *bits <= 0o777)
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    fn digest(file: impl AsFd, seen: &Seen) -> Option<Md5> {
        stored(file, seen).digest
    }

    #[test]
    fn a_digest_counts_only_for_the_size_and_time_it_was_made_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let seen = Seen::of(&file).unwrap();
        let md5 = Md5::of(b"x");
        assert_eq!(stored(&file, &seen), Stored::default());
        store(&file, &seen, md5, 0o640).unwrap();
        set_plain_md5(&file, &seen, Md5::of(b"y")).unwrap();
        assert_eq!(stored(&file, &seen), Stored { digest: Some(md5), mode: Some(0o640) });
        assert_eq!(plain_md5(&file, &seen), Some(Md5::of(b"y")));
        let changed = Stored { digest: None, mode: Some(0o640) };
        assert_eq!(stored(&file, &Seen { size: 1, ..seen }), changed);
        assert_eq!(stored(&file, &Seen { mtime_ns: 1, ..seen }), changed);
        // Its own ctime has changed with the attribute; that does not matter.
        let seen_later = Seen::of(&file).unwrap();
        assert_eq!(digest(&file, &seen_later), Some(md5));
        // A descriptor for reading is enough to write an attribute.
        set_plain_md5(File::open(file.path()).unwrap(), &seen, md5).unwrap();
        assert_eq!(plain_md5(&file, &seen), Some(md5));
    }

    #[test]
    fn the_stored_forms_are_pinned() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let seen = Seen {
            what: crate::home::What::File,
            inode: 9,
            size: 0x0102,
            links: 1,
            mtime_ns: -1,
            ctime_ns: 0,
            permissions: 0,
        };
        // Cut by a byte, what is left ends like permission bits.
        let md5 = Md5::from_bytes([0; 16]);
        let made_for = [0, 0, 0, 0, 0, 0, 1, 2, 255, 255, 255, 255, 255, 255, 255, 255];
        let first = [&[1][..], &made_for, &[0; 16]].concat();
        let second = [&[2][..], &made_for, &[0; 16], &[1, 0o244]].concat();
        set_plain_md5(&file, &seen, md5).unwrap();
        assert_eq!(read::<64>(&file, PLAIN_MD5), Some(first.clone()));
        store(&file, &seen, md5, 0o4644).unwrap();
        assert_eq!(read::<64>(&file, DIGEST), Some(second.clone()));
        // As files have them that were put before there was version 2.
        set_mode(&file, 0o600).unwrap();
        let bits = |mode| Stored { digest: Some(md5), mode: Some(mode) };
        assert_eq!(stored(&file, &seen), bits(0o644));
        write(&file, DIGEST, &first).unwrap();
        assert_eq!(stored(&file, &seen), bits(0o600));
        let (mut third, mut too_many) = (second.clone(), second.clone());
        third[0] = 3;
        too_many[33] = 2;
        for bad in [
            &third[..],
            &second[..34],
            &[2, 1, 0o244],
            &first[..32],
            &[&first[..], &[0]].concat(),
            b"",
        ] {
            write(&file, DIGEST, bad).unwrap();
            assert_eq!(stored(&file, &seen), Stored { digest: None, mode: Some(0o600) }, "{bad:?}");
        }
        write(&file, DIGEST, &too_many).unwrap();
        assert_eq!(stored(&file, &seen), bits(0o600), "bits that are no permissions");
    }

    #[test]
    fn a_mode_is_octal_text_without_special_bits() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let seen = Seen::of(&file).unwrap();
        assert_eq!(stored(&file, &seen).mode, None);
        set_mode(&file, 0o4755).unwrap();
        assert_eq!(stored(&file, &seen).mode, Some(0o755));
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
