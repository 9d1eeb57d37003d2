//! What a journal promises after a killed process, a power cut and a mix-up.

use super::*;
use std::fs::File;

const SOURCE: [u8; 16] = [7; 16];
const BOOT: BootId = BootId::from_bytes([1; 16]);
const NEXT_BOOT: BootId = BootId::from_bytes([2; 16]);

fn leaf(number: u64) -> Md5 {
    Md5::of(&number.to_le_bytes())
}

fn leaves(range: Range<u64>) -> Vec<Md5> {
    range.map(leaf).collect()
}

fn contents(file: &File) -> Vec<u8> {
    let mut bytes = vec![0; file_len(file).unwrap() as usize];
    file.read_exact_at(&mut bytes, 0).unwrap();
    bytes
}

fn file_with(bytes: &[u8]) -> File {
    let file = tempfile::tempfile().unwrap();
    file.write_all_at(bytes, 0).unwrap();
    file
}

fn open(bytes: &[u8], boot: BootId) -> Result<Opened, JournalError> {
    Journal::open(file_with(bytes), SOURCE, boot)
}

/// A journal of `verified` leaves whose marks were set at each of `durable`.
fn journal(verified: u64, durable: &[u64]) -> Vec<u8> {
    let mut journal = Journal::create(tempfile::tempfile().unwrap(), SOURCE, BOOT).unwrap();
    journal.append(&leaves(0..verified)).unwrap();
    for mark in durable {
        journal.mark_durable(*mark).unwrap();
    }
    contents(&journal.file)
}

#[test]
fn round_trips_in_the_same_boot() {
    let opened = open(&journal(10, &[4]), BOOT).unwrap();
    assert_eq!(opened.leaves, leaves(0..10));
    assert!(opened.unconfirmed.is_empty());
    let mut journal = opened.journal;
    assert_eq!((journal.verified(), journal.durable()), (10, 4));
    assert_eq!(journal.read_leaves(3..6).unwrap(), leaves(3..6));
    assert!(journal.read_leaves(6..6).unwrap().is_empty());
    assert!(matches!(
        journal.read_leaves(9..11),
        Err(JournalError::OutOfRange { leaf: 11, available: 10 })
    ));
    journal.append(&leaves(10..12)).unwrap();
    journal.append(&[]).unwrap();
    let opened = open(&contents(&journal.file), BOOT).unwrap();
    assert_eq!(opened.leaves, leaves(0..12));
}

#[test]
fn a_journal_that_is_opened_unread_gives_the_same_leaves_part_by_part() {
    let file = file_with(&journal(10, &[4]));
    let mut journal = Journal::open_unread(file, SOURCE, NEXT_BOOT).unwrap();
    assert_eq!((journal.verified(), journal.unconfirmed()), (4, 6));
    assert_eq!(journal.read_leaves(0..4).unwrap(), leaves(0..4));
    assert_eq!(journal.read_unconfirmed(4..7).unwrap(), leaves(4..7));
    assert_eq!(journal.read_unconfirmed(7..10).unwrap(), leaves(7..10));
    for outside in [3..5, 9..11] {
        assert!(matches!(
            journal.read_unconfirmed(outside),
            Err(JournalError::OutOfRange { available: 10, .. })
        ));
    }
    journal.accept(5).unwrap();
    assert_eq!((journal.verified(), journal.unconfirmed()), (9, 0));
    assert_eq!(journal.read_leaves(0..9).unwrap(), leaves(0..9));
    assert!(journal.read_unconfirmed(9..9).unwrap().is_empty());
}

#[test]
fn a_journal_that_was_given_up_vouches_for_nothing() {
    let mut journal = Journal::open_unread(file_with(&journal(10, &[4])), SOURCE, BOOT).unwrap();
    journal.give_up().unwrap();
    assert!(matches!(journal.append(&leaves(10..11)), Err(JournalError::FlushFailed)));
    assert!(matches!(open(&contents(&journal.file), BOOT), Err(JournalError::Truncated)));
}

#[test]
fn creating_over_an_old_journal_forgets_it() {
    let file = file_with(&journal(10, &[4, 8]));
    let journal = Journal::create(file, SOURCE, BOOT).unwrap();
    assert_eq!((journal.verified(), journal.durable()), (0, 0));
    assert_eq!(contents(&journal.file).len(), HEADER_SIZE);
}

#[test]
fn a_process_killed_at_any_byte_leaves_whole_entries_only() {
    let whole = journal(5, &[]);
    for len in 0..=whole.len() {
        let opened = open(&whole[..len], BOOT);
        if len < HEADER_SIZE {
            assert!(matches!(opened, Err(JournalError::Truncated)), "{len}");
            continue;
        }
        let opened = opened.unwrap();
        let entries = (len - HEADER_SIZE) as u64 / 16;
        assert_eq!(opened.leaves, leaves(0..entries), "{len}");
        let mut journal = opened.journal;
        journal.append(&leaves(entries..5)).unwrap();
        assert_eq!(contents(&journal.file), whole, "goes on as if never cut at {len}");
    }
}

#[test]
fn another_boot_trusts_only_the_durable_mark() {
    let bytes = journal(10, &[2, 4]);
    for boot in [NEXT_BOOT, BootId::UNKNOWN] {
        let opened = open(&bytes, boot).unwrap();
        assert_eq!(opened.leaves, leaves(0..4));
        assert_eq!(opened.unconfirmed, leaves(4..10));
        let mut journal = opened.journal;
        assert!(matches!(journal.append(&[leaf(4)]), Err(JournalError::Unconfirmed(6))));
        assert!(matches!(journal.mark_durable(4), Err(JournalError::Unconfirmed(6))));
        assert!(matches!(journal.accept(7), Err(JournalError::OutOfRange { .. })));
        journal.accept(3).unwrap();
        assert_eq!((journal.verified(), journal.durable()), (7, 4));
        assert_eq!(journal.read_leaves(0..7).unwrap(), leaves(0..7));
        journal.append(&leaves(7..9)).unwrap();
        // The process is killed: in the same boot all is trusted, unless the boot is unknown.
        let again = open(&contents(&journal.file), boot).unwrap();
        let trusted = if boot == BootId::UNKNOWN { 4 } else { 9 };
        assert_eq!(again.leaves, leaves(0..trusted));
        assert_eq!(again.unconfirmed, leaves(trusted..9));
        // The power is cut again.
        let later = open(&contents(&journal.file), BootId::from_bytes([3; 16])).unwrap();
        assert_eq!((later.leaves.len(), later.unconfirmed.len()), (4, 5));
    }
}

#[test]
fn a_process_killed_before_it_accepted_leaves_them_unconfirmed() {
    let file = file_with(&journal(10, &[4]));
    drop(Journal::open(file.try_clone().unwrap(), SOURCE, NEXT_BOOT).unwrap());
    let again = Journal::open(file, SOURCE, NEXT_BOOT).unwrap();
    assert_eq!(again.unconfirmed.len(), 6);
}

#[test]
fn a_boot_without_unconfirmed_leaves_takes_the_journal_over_at_once() {
    let bytes = journal(4, &[4]);
    let mut journal = open(&bytes, NEXT_BOOT).unwrap().journal;
    journal.append(&leaves(4..6)).unwrap();
    assert_eq!(open(&contents(&journal.file), NEXT_BOOT).unwrap().leaves.len(), 6);
    assert_eq!(open(&contents(&journal.file), BOOT).unwrap().leaves.len(), 4);
}

#[test]
fn zeros_after_a_power_cut_are_not_trusted() {
    let mut bytes = journal(10, &[4]);
    bytes[HEADER_SIZE + 4 * 16..].fill(0);
    bytes.extend([0; 4096]);
    let opened = open(&bytes, NEXT_BOOT).unwrap();
    assert_eq!(opened.leaves, leaves(0..4));
    let data = tempfile::tempfile().unwrap();
    data.set_len(20 * crate::limits::LEAF_SIZE as u64).unwrap();
    assert_eq!(reverify(&data, 4, &opened.unconfirmed, None).unwrap(), 0);

    let nothing = vec![0; bytes.len()];
    assert!(matches!(open(&nothing, NEXT_BOOT), Err(JournalError::NotAJournal)));
    // Both slots lost with an intact header: nothing is trusted, even in the same boot.
    bytes[64..HEADER_SIZE].fill(0);
    let opened = open(&bytes, BOOT).unwrap();
    assert!(opened.leaves.is_empty());
}

#[test]
fn a_torn_mark_falls_back_to_the_other_slot() {
    // Marks 2 and 4 stand in different slots; mark 6 goes where mark 2 was.
    let before = journal(10, &[2, 4]);
    let after = journal(10, &[2, 4, 6]);
    let slot = (64..HEADER_SIZE).find(|at| before[*at] != after[*at]).unwrap() / 64 * 64;
    for torn in 0..=64 {
        let mut bytes = before.clone();
        bytes[slot..slot + torn].copy_from_slice(&after[slot..slot + torn]);
        let trusted = open(&bytes, NEXT_BOOT).unwrap().leaves.len();
        assert_eq!(trusted, if torn >= 48 { 6 } else { 4 }, "{torn} bytes");
    }
    for damaged in 0..48 {
        let mut bytes = after.clone();
        bytes[slot + damaged] ^= 0x80;
        assert_eq!(open(&bytes, NEXT_BOOT).unwrap().leaves.len(), 4, "byte {damaged}");
    }
}

#[test]
fn marks_never_go_back_nor_beyond_what_is_verified() {
    let mut journal = open(&journal(10, &[4]), BOOT).unwrap().journal;
    assert!(matches!(journal.mark_durable(11), Err(JournalError::OutOfRange { .. })));
    journal.mark_durable(3).unwrap();
    assert_eq!(journal.durable(), 4);
    journal.mark_durable(10).unwrap();
    assert_eq!(journal.durable(), 10);
    let opened = open(&contents(&journal.file), NEXT_BOOT).unwrap();
    assert_eq!(opened.leaves, leaves(0..10));
}

#[test]
fn a_mark_of_more_entries_than_there_are_is_damage() {
    let bytes = journal(10, &[4]);
    let cut = open(&bytes[..HEADER_SIZE + 3 * 16], NEXT_BOOT);
    assert!(matches!(cut, Err(JournalError::Truncated)));
}

#[test]
fn foreign_files_mean_starting_over() {
    let bytes = journal(3, &[]);
    let other = Journal::open(file_with(&bytes), [8; 16], BOOT).unwrap_err();
    assert!(matches!(other, JournalError::OtherSource));
    assert!(other.means_start_over());
    for at in 0..12 {
        let mut bytes = bytes.clone();
        bytes[at] ^= 1;
        let error = open(&bytes, BOOT).unwrap_err();
        assert!(matches!(error, JournalError::NotAJournal), "{at}");
    }
    // A slot of another journal does not pass here: its checksum covers the fingerprint.
    let mut foreign = Journal::create(tempfile::tempfile().unwrap(), [8; 16], BOOT).unwrap();
    foreign.append(&leaves(0..3)).unwrap();
    foreign.mark_durable(3).unwrap();
    let mut mixed = bytes;
    mixed[64..HEADER_SIZE].copy_from_slice(&contents(&foreign.file)[64..HEADER_SIZE]);
    assert!(open(&mixed, BOOT).unwrap().leaves.is_empty());
}

#[test]
fn a_failed_flush_is_final() {
    // A pipe end takes no fdatasync (EINVAL), which stands in for a failing disk.
    let mut journal = open(&journal(3, &[]), BOOT).unwrap().journal;
    let (_, writer) = std::io::pipe().unwrap();
    let disk = std::mem::replace(&mut journal.file, File::from(std::os::fd::OwnedFd::from(writer)));
    assert!(matches!(journal.mark_durable(3), Err(JournalError::Io(_))));
    journal.file = disk;
    assert!(matches!(journal.mark_durable(3), Err(JournalError::FlushFailed)));
    assert!(matches!(journal.append(&[leaf(3)]), Err(JournalError::FlushFailed)));
}

proptest::proptest! {
    #[test]
    fn garbage_never_panics_and_is_never_trusted_beyond_its_length(
        mut bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        keep in 0..64_usize,
    ) {
        let good = journal(2, &[1]);
        let keep = keep.min(bytes.len());
        bytes[..keep].copy_from_slice(&good[..keep]);
        if let Ok(opened) = open(&bytes, BOOT) {
            proptest::prop_assert!(opened.leaves.len() * 16 + HEADER_SIZE <= bytes.len());
        }
    }
}
