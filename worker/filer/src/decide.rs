//! What may be done with what stands at a path, decided without a call and without a ticket.
//!
//! Each operation asks here twice: before its intent, to state sizes and to refuse early, and under the
//! ticket, where the answer counts.

use berth_common::entry::Existing;
use berth_common::error_code::ErrorCode;

use crate::home::{Seen, What};

/// What may be replaced where a staged file is placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Replaceable {
    /// Nothing: the place must be free.
    Nothing,
    /// Whatever file stands there, if one does.
    AnyFile,
    /// This file and no other: it was copied, and what is placed continues it. Whoever states it has the file
    /// open, so that its number is not another file's.
    Only {
        /// Its inode number.
        inode: u64,
        /// Its bytes.
        size: u64,
    },
}

/// What a put does where `target` stands: `None` for a free place, else the size of what it replaces.
///
/// # Errors
/// `Busy` when another file than the only one stands there, or none: the copy is stale.
pub(crate) fn put(
    target: Option<&Seen>,
    replaceable: Replaceable,
) -> Result<Option<u64>, ErrorCode> {
    match (target, replaceable) {
        (None, Replaceable::Nothing | Replaceable::AnyFile) => Ok(None),
        (None, Replaceable::Only { .. }) => Err(ErrorCode::Busy),
        (Some(seen), _) if seen.what == What::Directory => Err(ErrorCode::IsADirectory),
        (Some(_), Replaceable::Nothing) => Err(ErrorCode::AlreadyExists),
        (Some(seen), _) if !seen.is_served_file() => Err(ErrorCode::NotServed),
        (Some(seen), Replaceable::AnyFile) => Ok(Some(seen.size)),
        (Some(seen), Replaceable::Only { inode, size }) => {
            if (seen.inode, seen.size) == (inode, size) {
                Ok(Some(size))
            } else {
                Err(ErrorCode::Busy)
            }
        }
    }
}

/// Bytes and entries by which a home grows when a put of `size` bytes does what it may with what it finds.
pub(crate) fn growth_of(
    target: Option<&Seen>,
    existing: Existing,
    size: u64,
) -> Result<(u64, u64), ErrorCode> {
    Ok(match existing {
        Existing::Keep => growth(size, put(target, Replaceable::Nothing)?),
        Existing::Replace => growth(size, put(target, Replaceable::AnyFile)?),
        // What stands there stays, as the first part of the new file.
        Existing::Append => (size, u64::from(put(target, Replaceable::AnyFile)?.is_none())),
    })
}

/// What a put of unknown size may count on: bytes of the file that it replaces, and entries by which the home grows.
pub(crate) fn room_of(target: Option<&Seen>, existing: Existing) -> Result<(u64, u64), ErrorCode> {
    let (_, entries) = growth_of(target, existing, 0)?;
    let replaced = match existing {
        Existing::Replace => target.map_or(0, |seen| seen.size),
        Existing::Keep | Existing::Append => 0,
    };
    Ok((replaced, entries))
}

/// Whether what a put finds now needs no more than what was admitted for `stated`: the old file is still
/// there and not smaller, or there was none.
pub(crate) fn still_fits(stated: Option<u64>, now: Option<u64>) -> bool {
    match (stated, now) {
        (None, _) => true,
        (Some(stated), Some(now)) => now >= stated,
        (Some(_), None) => false,
    }
}

/// Bytes and entries by which a home grows when `size` bytes come where `replaced` stood.
pub(crate) fn growth(size: u64, replaced: Option<u64>) -> (u64, u64) {
    match replaced {
        None => (size, 1),
        Some(old) => (size.saturating_sub(old), 0),
    }
}

/// Whether a directory may be made where `target` stands.
pub(crate) fn make_directory(target: Option<&Seen>) -> Result<(), ErrorCode> {
    target.map_or(Ok(()), |_| Err(ErrorCode::AlreadyExists))
}

/// How something may be removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Removing {
    /// As it is.
    Whole,
    /// If it has no content.
    IfEmpty,
}

/// How what stands at a path may be removed. A link or special file may go too: it is one entry and no
/// bytes. A file with several names may not, since its bytes would stay.
pub(crate) fn remove(target: Option<&Seen>, recursive: bool) -> Result<Removing, ErrorCode> {
    let seen = target.ok_or(ErrorCode::NotFound)?;
    match seen.what {
        What::Directory if !recursive => Ok(Removing::IfEmpty),
        What::File if seen.links > 1 => Err(ErrorCode::NotServed),
        What::Directory | What::File | What::Symlink | What::Special => Ok(Removing::Whole),
    }
}

/// What a rename is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Renaming {
    /// To a free name, which moves no sum.
    Move,
    /// Over a file of so many bytes.
    Over(u64),
}

/// What a rename from what stands at one path to another path is.
pub(crate) fn rename(
    from: Option<&Seen>,
    to: Option<&Seen>,
    overwrite: bool,
) -> Result<Renaming, ErrorCode> {
    let from = from.ok_or(ErrorCode::NotFound)?;
    if !from.is_served_file() && from.what != What::Directory {
        return Err(ErrorCode::NotServed);
    }
    match to {
        None => Ok(Renaming::Move),
        Some(to) if !overwrite || to.what == What::Directory || from.what == What::Directory => {
            Err(ErrorCode::AlreadyExists)
        }
        Some(to) if to.is_served_file() => Ok(Renaming::Over(to.size)),
        Some(_) => Err(ErrorCode::NotServed),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(what: What, links: u64) -> Seen {
        Seen { what, inode: 1, size: 7, links, mtime_ns: 0, ctime_ns: 0, permissions: 0 }
    }

    const FILE: What = What::File;
    const DIRECTORY: What = What::Directory;

    #[test]
    fn a_put_replaces_files_with_one_name_and_nothing_else() {
        use Replaceable::{AnyFile, Nothing};
        assert_eq!(put(None, Nothing), Ok(None));
        assert_eq!(put(Some(&seen(FILE, 1)), AnyFile), Ok(Some(7)));
        assert_eq!(put(Some(&seen(FILE, 1)), Nothing), Err(ErrorCode::AlreadyExists));
        assert_eq!(put(Some(&seen(FILE, 2)), AnyFile), Err(ErrorCode::NotServed));
        assert_eq!(put(Some(&seen(What::Symlink, 1)), AnyFile), Err(ErrorCode::NotServed));
        assert_eq!(put(Some(&seen(What::Special, 1)), AnyFile), Err(ErrorCode::NotServed));
        assert_eq!(put(Some(&seen(DIRECTORY, 2)), AnyFile), Err(ErrorCode::IsADirectory));
        assert_eq!(put(Some(&seen(DIRECTORY, 2)), Nothing), Err(ErrorCode::IsADirectory));
    }

    #[test]
    fn an_append_continues_the_file_that_was_copied_and_no_other() {
        let only = Replaceable::Only { inode: 1, size: 7 };
        assert_eq!(put(Some(&seen(FILE, 1)), only), Ok(Some(7)));
        let other = [Seen { inode: 2, ..seen(FILE, 1) }, Seen { size: 8, ..seen(FILE, 1) }];
        for seen in other {
            assert_eq!(put(Some(&seen), only), Err(ErrorCode::Busy));
        }
        assert_eq!(put(None, only), Err(ErrorCode::Busy));
        assert_eq!(put(Some(&seen(FILE, 2)), only), Err(ErrorCode::NotServed));
        assert_eq!(put(Some(&seen(DIRECTORY, 2)), only), Err(ErrorCode::IsADirectory));
        let file = seen(FILE, 1);
        assert_eq!(growth_of(Some(&file), Existing::Append, 5), Ok((5, 0)), "all that is added");
        assert_eq!(growth_of(None, Existing::Append, 5), Ok((5, 1)));
        assert_eq!(growth_of(Some(&file), Existing::Replace, 9), Ok((2, 0)));
        assert_eq!(growth_of(Some(&file), Existing::Keep, 9), Err(ErrorCode::AlreadyExists));
    }

    #[test]
    fn a_put_of_unknown_size_counts_on_what_it_replaces_and_on_nothing_else() {
        let file = seen(FILE, 1);
        assert_eq!(room_of(Some(&file), Existing::Replace), Ok((7, 0)));
        assert_eq!(room_of(Some(&file), Existing::Append), Ok((0, 0)), "the old bytes stay");
        assert_eq!(room_of(Some(&file), Existing::Keep), Err(ErrorCode::AlreadyExists));
        for existing in [Existing::Keep, Existing::Replace, Existing::Append] {
            assert_eq!(room_of(None, existing), Ok((0, 1)));
            let directory = seen(DIRECTORY, 2);
            assert_eq!(room_of(Some(&directory), existing), Err(ErrorCode::IsADirectory));
        }
    }

    #[test]
    fn a_put_is_stale_when_it_would_need_more_than_was_admitted() {
        assert!(still_fits(None, None));
        assert!(still_fits(None, Some(3)), "what appeared gives back more");
        assert!(still_fits(Some(3), Some(3)) && still_fits(Some(3), Some(4)));
        assert!(!still_fits(Some(3), Some(2)));
        assert!(!still_fits(Some(0), None), "an entry more");
        assert_eq!(
            (growth(5, None), growth(5, Some(2)), growth(5, Some(9))),
            ((5, 1), (3, 0), (0, 0))
        );
    }

    #[test]
    fn a_remove_looks_at_what_stands_there() {
        assert_eq!(remove(None, true), Err(ErrorCode::NotFound));
        assert_eq!(remove(Some(&seen(FILE, 1)), false), Ok(Removing::Whole));
        assert_eq!(remove(Some(&seen(FILE, 2)), true), Err(ErrorCode::NotServed));
        assert_eq!(remove(Some(&seen(What::Symlink, 1)), false), Ok(Removing::Whole));
        assert_eq!(remove(Some(&seen(What::Special, 2)), false), Ok(Removing::Whole));
        assert_eq!(remove(Some(&seen(DIRECTORY, 5)), false), Ok(Removing::IfEmpty));
        assert_eq!(remove(Some(&seen(DIRECTORY, 5)), true), Ok(Removing::Whole));
    }

    #[test]
    fn a_rename_replaces_only_a_file_by_a_file() {
        let (file, directory) = (seen(FILE, 1), seen(DIRECTORY, 3));
        let (several, link) = (seen(FILE, 2), seen(What::Symlink, 1));
        let table = [
            (None, None, true, Err(ErrorCode::NotFound)),
            (Some(&file), None, false, Ok(Renaming::Move)),
            (Some(&directory), None, true, Ok(Renaming::Move)),
            (Some(&link), None, true, Err(ErrorCode::NotServed)),
            (Some(&several), None, true, Err(ErrorCode::NotServed)),
            (Some(&file), Some(&file), false, Err(ErrorCode::AlreadyExists)),
            (Some(&file), Some(&file), true, Ok(Renaming::Over(7))),
            (Some(&file), Some(&directory), true, Err(ErrorCode::AlreadyExists)),
            (Some(&directory), Some(&file), true, Err(ErrorCode::AlreadyExists)),
            (Some(&directory), Some(&directory), true, Err(ErrorCode::AlreadyExists)),
            (Some(&file), Some(&several), true, Err(ErrorCode::NotServed)),
            (Some(&file), Some(&link), true, Err(ErrorCode::NotServed)),
            (Some(&file), Some(&link), false, Err(ErrorCode::AlreadyExists)),
        ];
        for (from, to, overwrite, expected) in table {
            assert_eq!(rename(from, to, overwrite), expected, "{from:?} {to:?} {overwrite}");
        }
        assert_eq!(make_directory(Some(&file)), Err(ErrorCode::AlreadyExists));
        assert_eq!(make_directory(None), Ok(()));
    }
}
