//! What the kernel tells of the mount that a directory lies on, from `/proc` and `/sys`. What cannot be
//! read is not known, and the table then decides for the safe side.

use std::fs::read_to_string;
use std::os::fd::AsRawFd as _;
use std::path::Path;

use rustix::fd::BorrowedFd;

use super::table::Ext4;

/// A mount; all empty where nothing is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Mount {
    /// The type's name.
    pub(super) file_system: String,
    /// Options of the mount and of the file system, with commas between them.
    pub(super) options: String,
    /// `major:minor`.
    device: String,
}

/// The mount of an open directory. By its number: a path may be hidden, and a device be mounted twice.
pub(super) fn of(directory: BorrowedFd<'_>) -> Option<Mount> {
    let info = read_to_string(format!("/proc/self/fdinfo/{}", directory.as_raw_fd())).ok()?;
    let id = info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim();
    parse(&read_to_string("/proc/self/mountinfo").ok()?, id)
}

/// Finds the mount of this number: `id parent device root point options [tag…] - type source options`.
fn parse(table: &str, id: &str) -> Option<Mount> {
    table.lines().find_map(|line| {
        let (place, system) = line.split_once(" - ")?;
        let place: Vec<_> = place.split(' ').collect();
        let system: Vec<_> = system.split(' ').collect();
        let (own, device, options) = (place.first()?, place.get(2)?, place.get(5)?);
        (*own == id).then(|| Mount {
            file_system: system[0].to_owned(),
            options: format!("{options},{}", system.get(2).unwrap_or(&"")),
            device: (*device).to_owned(),
        })
    })
}

/// What ext4 tells of itself.
pub(super) fn ext4(mount: &Mount) -> Ext4 {
    let block = Path::new("/sys/dev/block").join(&mount.device);
    let Some(device) = std::fs::canonicalize(block).ok() else {
        return Ext4::default();
    };
    let Some(device) = device.file_name().and_then(|name| name.to_str()) else {
        return Ext4::default();
    };
    let journal = read_to_string(format!("/sys/fs/ext4/{device}/journal_task")).ok();
    let commits = read_to_string(format!("/proc/fs/ext4/{device}/fc_info")).ok();
    Ext4 {
        journal: journal.map(|task| task.trim() != "<none>"),
        fast_commit: commits.as_deref().and_then(has_fast_commits),
    }
}

/// With fast commits every fsync is counted, as one or as one that could be none; without, none is.
fn has_fast_commits(info: &str) -> Option<bool> {
    let count = |what: &str| -> Option<u64> {
        info.lines().find_map(|line| line.trim().strip_suffix(what)?.trim().parse().ok())
    };
    Some(count(" commits")? > 0 || count(" ineligible")? > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_its_number_with_or_without_tags() {
        let table = "21 1 0:19 / /proc rw,nosuid shared:5 master:2 - proc proc rw\n\
                     27 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard\n\
                     31 27 0:40 /a /srv\\040x ro - nfs4 host:/x rw,xino=on\n";
        let root = parse(table, "27").unwrap();
        assert_eq!((root.file_system.as_str(), root.device.as_str()), ("ext4", "254:0"));
        assert_eq!(root.options, "rw,relatime,rw,discard");
        assert_eq!(parse(table, "21").unwrap().file_system, "proc");
        assert_eq!(parse(table, "31").unwrap().file_system, "nfs4");
        assert_eq!(parse(table, "2"), None);
        assert_eq!(parse("garbage\n - \n", "garbage"), None);
    }

    #[test]
    fn this_directory_lies_on_a_mount_that_has_a_name() {
        use rustix::fd::AsFd as _;
        let here = std::fs::File::open("/").unwrap();
        assert!(!of(here.as_fd()).unwrap().file_system.is_empty());
    }

    #[test]
    fn fast_commits_are_told_by_what_was_counted() {
        let info = |commits, ineligible| {
            format!("fc stats:\n{commits} commits\n{ineligible} ineligible\n3 numblks\n")
        };
        assert_eq!(has_fast_commits(&info(0, 0)), Some(false));
        assert_eq!(has_fast_commits(&info(2, 0)), Some(true));
        assert_eq!(has_fast_commits(&info(0, 1)), Some(true));
        assert_eq!(has_fast_commits("something else"), None);
    }
}
