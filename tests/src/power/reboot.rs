//! After a power cut the machine has another boot id: the journals below a directory are changed as
//! if they had been written in another boot than this one.
//!
//! The layout is that of `berth_common::journal`: a record's slot is at 64 and at 128, its boot's id
//! at 16 in it, and its checksum, the MD5 of the fingerprint (at 16 in the file) and the record's
//! 32 bytes, behind that.

use std::fs;
use std::path::Path;

use berth_common::digest::Md5;

/// Changes the boot of every whole record in every journal, and says how many records there were
/// that mark leaves as durable.
///
/// # Panics
/// When a file cannot be read or written.
pub fn reboot(directory: &Path) -> u64 {
    let mut durable = 0;
    let mut waiting = vec![directory.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                waiting.push(path);
            } else {
                let mut bytes = fs::read(&path).unwrap();
                if bytes.starts_with(b"berthjnl") && bytes.len() >= 192 {
                    durable += change(&mut bytes);
                    fs::write(&path, bytes).unwrap();
                }
            }
        }
    }
    durable
}

fn change(journal: &mut [u8]) -> u64 {
    let fingerprint = journal[16..32].to_vec();
    let mut durable = 0;
    for slot in [64, 128] {
        let sum = |record: &[u8]| Md5::of(&[&fingerprint, record].concat());
        let record = &mut journal[slot..slot + 48];
        if sum(&record[..32]).as_bytes() != &record[32..] {
            // Never written, or torn.
            continue;
        }
        durable += u64::from(record[8..16].iter().any(|byte| *byte != 0));
        record[16..32].iter_mut().for_each(|byte| *byte = !*byte);
        let checksum = sum(&record[..32]);
        record[32..].copy_from_slice(checksum.as_bytes());
    }
    durable
}
