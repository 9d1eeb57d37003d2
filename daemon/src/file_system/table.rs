//! Which file systems are refused, and how staging is made durable on the others: by name. Pure.
//!
//! A filer makes staging durable before an intent and before a settle. Each rename that it makes for
//! the ledger touches staging, so that on a file system with *one ordered journal* an fsync of staging
//! makes all of them durable, also the home's side. On any other one only `syncfs` promises that.
//! That is also what an unknown one gets. `docs/OPERATIONS.md` has this table for administrators.

use berth_common::ledger_protocol::StagingSync;

/// What is said of a file system that can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) sync: StagingSync,
    pub(super) why: &'static str,
    pub(super) warning: Option<&'static str>,
}

/// What an ext4 file system has, where it can be told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Ext4 {
    pub(super) journal: Option<bool>,
    pub(super) fast_commit: Option<bool>,
}

const NETWORK: &str = "another machine may change it, its inode numbers and leases are not kept, and an \
    fsync promises little; use a local file system";
const FUSE: &str =
    "what it promises is up to a program that cannot be asked; use a local file system";
const NO_JOURNAL_NO_INODES: &str =
    "it has no inode numbers of its own, and a power cut may leave a rename half done";
const READ_ONLY: &str = "nothing can be written to it";
const STACKED: &str = "its inode numbers may change with a mount, and the ledger's recovery tells files \
    by them; use the file system below it";
const UNION: &str = "its inode numbers may change with a mount unless it is mounted with xino=on, and \
    the ledger's recovery tells files by them; use a volume on a local file system";

/// Those that a probe would not see through.
const REFUSED: [(&str, &str); 29] = [
    ("nfs", NETWORK),
    ("nfs4", NETWORK),
    ("cifs", NETWORK),
    ("smb3", NETWORK),
    ("smbfs", NETWORK),
    ("9p", NETWORK),
    ("virtiofs", NETWORK),
    ("ceph", NETWORK),
    ("afs", NETWORK),
    ("coda", NETWORK),
    ("ncpfs", NETWORK),
    ("lustre", NETWORK),
    ("gfs2", NETWORK),
    ("ocfs2", NETWORK),
    ("orangefs", NETWORK),
    ("fuse", FUSE),
    ("fuseblk", FUSE),
    ("vfat", NO_JOURNAL_NO_INODES),
    ("msdos", NO_JOURNAL_NO_INODES),
    ("exfat", NO_JOURNAL_NO_INODES),
    ("ntfs", NO_JOURNAL_NO_INODES),
    ("ntfs3", NO_JOURNAL_NO_INODES),
    ("aufs", STACKED),
    ("unionfs", STACKED),
    ("ecryptfs", STACKED),
    ("iso9660", READ_ONLY),
    ("squashfs", READ_ONLY),
    ("erofs", READ_ONLY),
    ("proc", READ_ONLY),
];

/// What takes a `syncfs`, and why.
const SYNC_FS: [(&str, &str); 9] = [
    ("ext2", "it has no journal"),
    ("ext3", "its journal was not examined for this"),
    ("btrfs", "its log of an fsync need not have the other directory of a rename"),
    ("bcachefs", "an fsync need not write the other directory of a rename"),
    ("f2fs", "an fsync need not write the other directory of a rename"),
    ("zfs", "an fsync need not write the other directory of a rename"),
    ("jfs", "its journal was not examined for this"),
    ("tmpfs", "nothing of it outlives a power cut, and a sync costs nothing"),
    ("overlay", "it is as the file system below it, which is not known"),
];

const NO_JOURNAL: &str = "it has no journal: a power cut may leave a rename half done, and what was \
    acknowledged shortly before lost; use one with a journal";

/// Decides about a file system by its name and its mount options.
///
/// # Errors
/// Why it cannot be used.
pub(super) fn verdict(
    name: &str,
    options: &str,
    ext4: impl FnOnce() -> Ext4,
) -> Result<Verdict, &'static str> {
    if name == "overlay" && !options.split(',').any(|option| option == "xino=on") {
        return Err(UNION);
    }
    // `fuse.sshfs` and the like.
    let family = name.split('.').next().unwrap_or(name);
    if let Some((_, why)) = REFUSED.iter().find(|(refused, _)| *refused == family) {
        return Err(why);
    }
    let directory = |why| Verdict { sync: StagingSync::Directory, why, warning: None };
    let file_system = |why, warning| Verdict { sync: StagingSync::FileSystem, why, warning };
    let known = SYNC_FS.iter().find(|(known, _)| *known == name);
    Ok(match name {
        "xfs" => directory("it has one ordered log"),
        "ext4" => match ext4() {
            Ext4 { journal: Some(true), fast_commit: Some(false) } => {
                directory("it has one ordered journal")
            }
            Ext4 { journal: Some(false), .. } => file_system("it has no journal", Some(NO_JOURNAL)),
            Ext4 { fast_commit: Some(true), .. } => {
                file_system("fast commits do not write its whole journal", None)
            }
            Ext4 { .. } => {
                file_system("it cannot be told whether its journal is an ordered one", None)
            }
        },
        "ext2" => file_system("it has no journal", Some(NO_JOURNAL)),
        _ => match known {
            Some((_, why)) => file_system(why, None),
            None => file_system(
                "it is not known here",
                Some("it is not known whether it keeps inode numbers and renames over a power cut"),
            ),
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sync(name: &str, options: &str, ext4: Ext4) -> Result<StagingSync, &'static str> {
        verdict(name, options, || ext4).map(|verdict| verdict.sync)
    }

    #[test]
    fn only_one_ordered_journal_does_with_an_fsync_of_staging() {
        use StagingSync::{Directory, FileSystem};
        let unknown = Ext4::default();
        let ext4 = |journal, fast| Ext4 { journal, fast_commit: fast };
        let table = [
            ("xfs", unknown, Directory),
            ("ext4", ext4(Some(true), Some(false)), Directory),
            ("ext4", ext4(Some(true), Some(true)), FileSystem),
            ("ext4", ext4(Some(true), None), FileSystem),
            ("ext4", ext4(Some(false), Some(false)), FileSystem),
            ("ext4", unknown, FileSystem),
            ("ext3", ext4(Some(true), Some(false)), FileSystem),
            ("ext2", ext4(Some(true), Some(false)), FileSystem),
            ("btrfs", unknown, FileSystem),
            ("tmpfs", unknown, FileSystem),
            ("", unknown, FileSystem),
            ("newfs", unknown, FileSystem),
        ];
        for (name, ext4, expected) in table {
            assert_eq!(sync(name, "rw", ext4), Ok(expected), "{name} {ext4:?}");
        }
    }

    #[test]
    fn what_a_probe_cannot_see_is_refused_by_name() {
        let unknown = Ext4::default();
        for name in ["nfs4", "fuse", "fuse.sshfs", "fuseblk", "9p", "vfat", "overlay", "cifs"] {
            assert!(sync(name, "rw,relatime", unknown).is_err(), "{name}");
        }
        assert!(sync("overlay", "rw,xino=on", unknown).is_ok());
        assert!(sync("overlay", "rw,xino=only", unknown).is_err());
    }

    #[test]
    fn who_has_no_journal_and_who_is_unknown_is_warned_of() {
        let warning = |name, journal| {
            let ext4 = || Ext4 { journal, fast_commit: Some(false) };
            verdict(name, "", ext4).unwrap().warning.is_some()
        };
        assert!(warning("ext4", Some(false)) && warning("ext2", None) && warning("newfs", None));
        assert!(!warning("ext4", Some(true)) && !warning("btrfs", None));
    }
}
