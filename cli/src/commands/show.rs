//! How entries, times and usage are shown, as text and as JSON.

use berth_common::entry::{Entry, EntryKind, Usage};
use berth_common::note::Note;
use berth_common::thresholds;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use rust_i18n::t;
use serde_json::{Value, json};

use crate::human;
use crate::language::message;

/// `drwxr-x---`, as `ls -l` shows it.
pub(super) fn mode(entry: &Entry) -> String {
    let mut text = String::with_capacity(10);
    text.push(match entry.kind {
        EntryKind::File => '-',
        EntryKind::Directory => 'd',
        EntryKind::Symlink => 'l',
        EntryKind::Other => '?',
    });
    for (bit, letter) in (0..9).rev().zip("rwxrwxrwx".chars()) {
        text.push(if entry.mode >> bit & 1 == 1 { letter } else { '-' });
    }
    text
}

/// A size for a column: in bytes, or with a unit.
pub(super) fn size(bytes: u64, human: bool) -> String {
    if human { human::size(bytes) } else { bytes.to_string() }
}

/// What it is, in one word.
pub(super) fn kind(kind: EntryKind) -> &'static str {
    match kind {
        EntryKind::File => message!("file"),
        EntryKind::Directory => message!("directory"),
        EntryKind::Symlink => message!("symlink"),
        EntryKind::Other => message!("other"),
    }
}

/// A time for people, in the zone of this machine: `2026-03-01 12:00:59`.
pub(super) fn local_time(nanoseconds: i64) -> String {
    let time = timestamp(nanoseconds).to_zoned(TimeZone::system());
    time.strftime("%Y-%m-%d %H:%M:%S").to_string()
}

/// A time for programs: RFC 3339 in UTC.
pub(super) fn utc_time(nanoseconds: i64) -> String {
    timestamp(nanoseconds).to_string()
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    // 64 bits of nanoseconds are less than what a timestamp can hold.
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// An entry as JSON, under the path that leads to it.
pub(super) fn entry(path: &str, entry: &Entry) -> Value {
    let mut value = json!({
        "path": path,
        "name": entry.name,
        "kind": kind(entry.kind),
        "size": entry.size,
        "mode": format!("{:04o}", entry.mode),
        "mtime": utc_time(entry.mtime_ns),
        "mtime_ns": entry.mtime_ns,
    });
    let mut tell = |key: &str, text: Option<String>| {
        if let (Some(text), Some(object)) = (text, value.as_object_mut()) {
            object.insert(key.to_owned(), text.into());
        }
    };
    tell("digest", entry.digest.map(|digest| digest.to_string()));
    tell("note", entry.note.as_ref().map(Note::to_string));
    value
}

/// Limits and usage as JSON; a limit that is `null` is unlimited.
pub(super) fn usage(usage: &Usage) -> Value {
    json!({
        "bytes": {
            "used": usage.used_bytes,
            "reserved": usage.reserved_bytes,
            "limit": usage.limits.bytes,
            "percent": thresholds::percent(usage.used_bytes, usage.limits.bytes),
            "threshold": thresholds::reached(usage.used_bytes, usage.limits.bytes),
        },
        "entries": {
            "used": usage.used_entries,
            "reserved": usage.reserved_entries,
            "limit": usage.limits.entries,
            "percent": thresholds::percent(usage.used_entries, usage.limits.entries),
            "threshold": thresholds::reached(usage.used_entries, usage.limits.entries),
        },
    })
}

/// The share of a limit that is used and reserved, in percent; `None` where there is no limit.
pub(super) fn share(used: i64, reserved: u64, limit: Option<u64>) -> Option<u64> {
    let taken = u64::try_from(i128::from(used).max(0) + i128::from(reserved)).unwrap_or(u64::MAX);
    let limit = limit?;
    // Nothing of nothing is no reason to worry.
    Some(if limit == 0 && taken == 0 { 0 } else { human::percent(taken, limit) })
}

/// What to tell somebody whose quota is nearly used up, by the thresholds that the daemon logs too: what
/// is reserved does not count.
pub(super) fn quota_remark(usage: &Usage) -> Option<String> {
    let share = |used, limit| thresholds::percent(used, limit);
    let bytes = share(usage.used_bytes, usage.limits.bytes);
    let entries = share(usage.used_entries, usage.limits.entries);
    let of_entries = entries > bytes;
    let (used, limit) = if of_entries {
        (usage.used_entries, usage.limits.entries)
    } else {
        (usage.used_bytes, usage.limits.bytes)
    };
    let (percent, threshold) = (share(used, limit)?, thresholds::reached(used, limit)?);
    let warns = threshold >= thresholds::WARNING;
    let (used, limit) = (u64::try_from(used).unwrap_or(0), limit?);
    let numbers = if of_entries {
        t!("%{used} of %{limit} files and directories", used = used, limit = limit)
    } else {
        t!("%{used} of %{limit}", used = human::size(used), limit = human::size(limit))
    };
    let remark = if warns {
        t!(
            "warning: %{percent}% of your quota is used (%{numbers})",
            percent = percent,
            numbers = numbers
        )
    } else {
        t!(
            "note: %{percent}% of your quota is used (%{numbers})",
            percent = percent,
            numbers = numbers
        )
    };
    Some(remark.into_owned())
}

#[cfg(test)]
mod tests {
    use berth_common::entry::Limits;

    use super::*;

    #[test]
    fn an_entry_is_shown_as_ls_and_as_json() {
        let mut file = Entry {
            name: "a\nb".into(),
            kind: EntryKind::File,
            size: 3,
            mtime_ns: 1_600_000_000_500_000_000,
            mode: 0o640,
            digest: None,
            note: None,
        };
        assert_eq!(mode(&file), "-rw-r-----");
        let value = entry("/a\nb", &file);
        assert_eq!(value["mtime"], "2020-09-13T12:26:40.5Z");
        assert_eq!((value["mode"].as_str(), value.get("digest")), (Some("0640"), None));
        assert_eq!(value.get("note"), None);
        file.note = Some(Note::new("from the scanner").unwrap());
        assert_eq!(entry("/a", &file)["note"], "from the scanner");
        file.kind = EntryKind::Directory;
        file.mode = 0o755;
        assert_eq!(mode(&file), "drwxr-xr-x");
        for extreme in [i64::MIN, i64::MAX, -1] {
            assert!(utc_time(extreme).ends_with('Z'));
            assert_eq!(local_time(extreme).len(), 19);
        }
    }

    #[test]
    fn a_quota_is_remarked_upon_when_it_is_nearly_used() {
        let usage = |used_bytes, limit, used_entries| Usage {
            limits: Limits { bytes: limit, entries: Some(10) },
            used_bytes,
            used_entries,
            reserved_bytes: 1,
            reserved_entries: 0,
        };
        let remark = |used_bytes, limit, entries| quota_remark(&usage(used_bytes, limit, entries));
        assert_eq!(remark(79, Some(100), 1), None, "what is reserved does not count");
        for (used_bytes, text) in [
            (80, "note: 80% of your quota is used (80 B of 100 B)"),
            (94, "note: 94% of your quota is used (94 B of 100 B)"),
            (95, "warning: 95% of your quota is used (95 B of 100 B)"),
            (300, "warning: 300% of your quota is used (300 B of 100 B)"),
        ] {
            assert_eq!(remark(used_bytes, Some(100), 1).as_deref(), Some(text));
        }
        let of_entries = "note: 90% of your quota is used (9 of 10 files and directories)";
        assert_eq!(remark(5, None, 9).as_deref(), Some(of_entries));
        assert_eq!(remark(-5, Some(0), 1), None);
        assert_eq!(share(-5, 0, Some(0)), Some(0));
        assert_eq!(share(i64::MAX, u64::MAX, Some(1)).map(|share| share > 100), Some(true));
    }
}
