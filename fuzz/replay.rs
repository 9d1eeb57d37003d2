//! Runs a fuzz target's corpus by the stable compiler: the inputs as they are kept, and random changes of them.
//!
//! The tests of the fuzzed crates include this file, so that they need no crate in common for it. It is no match
//! for a fuzzer, which sees what its inputs reach; it shows in every build that what was found once stays mended,
//! and finds coarse mistakes. `FUZZ_REPLAY_SECONDS` lets it go on for longer.

use std::fs;
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

/// Changed inputs that are tried in any case.
const CHANGED: u32 = 1000;

/// Longest input that is made.
const MOST_BYTES: usize = 4096;

/// Runs the corpus of `target`.
pub(super) fn replay(target: &str, run: fn(&[u8])) {
    // The crate that includes this file lies somewhere below the project's directory.
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    let fuzz = above.map(|path| path.join("fuzz")).find(|fuzz| fuzz.is_dir()).unwrap();
    let corpus = read_all(&fuzz.join("corpus").join(target));
    assert!(!corpus.is_empty(), "{target} has no corpus");
    for (path, input) in &corpus {
        // Shown when it fails.
        println!("{}", path.display());
        run(input);
    }
    let seconds = std::env::var("FUZZ_REPLAY_SECONDS").ok().and_then(|text| text.parse().ok());
    let until = Instant::now() + Duration::from_secs(seconds.unwrap_or(0));
    let mut random = Random(if seconds.is_some() { seed() } else { 1 });
    let mut rounds = 0;
    while rounds < CHANGED || Instant::now() < until {
        rounds += 1;
        let (path, input) = &corpus[random.below(corpus.len())];
        let (_, other) = &corpus[random.below(corpus.len())];
        let input = changed(input, other, &mut random);
        if let Err(panic) = panic::catch_unwind(AssertUnwindSafe(|| run(&input))) {
            let artifacts = fuzz.join("artifacts").join(target);
            fs::create_dir_all(&artifacts).unwrap();
            let found = artifacts.join(format!("replay-{rounds}"));
            fs::write(&found, &input).unwrap();
            println!("{}, changed from {}", found.display(), path.display());
            panic::resume_unwind(panic);
        }
    }
    println!("{target}: {} inputs, {rounds} changed ones", corpus.len());
}

fn read_all(directory: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = entries.collect();
    paths.sort();
    paths.into_iter().map(|path| (path.clone(), fs::read(path).unwrap())).collect()
}

/// An input with a few changes: parts left out, doubled, or taken from another one, and other bytes.
fn changed(input: &[u8], other: &[u8], random: &mut Random) -> Vec<u8> {
    let mut new = input.to_vec();
    for _ in 0..=random.below(4) {
        let at = random.below(new.len() + 1);
        // Most rows of operations are of pairs.
        let at = if random.below(4) > 0 { at & !1 } else { at };
        let end = (at + random.below(9)).min(new.len());
        match random.below(6) {
            0 => drop(new.drain(at..end)),
            1 => {
                let part = new[at..end].to_vec();
                new.splice(at..at, part);
            }
            2 | 3 if !other.is_empty() => {
                let from = random.below(other.len()) & !1;
                let to = (from + 2 * (1 + random.below(8))).min(other.len());
                new.splice(at..at, other[from..to].iter().copied());
            }
            _ if at < new.len() => new[at] = random.below(256) as u8,
            _ => new.push(random.below(256) as u8),
        }
    }
    new.truncate(MOST_BYTES);
    new
}

fn seed() -> u64 {
    let clock = std::time::UNIX_EPOCH.elapsed().unwrap_or_default();
    clock.as_nanos() as u64 | 1
}

/// Xorshift: nothing here needs a better one.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }
}
