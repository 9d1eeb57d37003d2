//! The command line. `tools/bench.sh` gives the directories; sizes and runs are the caller's.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum as _};

use crate::alone::Subject;
use crate::peers::Name;
use crate::runs::Turns;
use crate::workload::{Sizes, Work};

const MIB: u64 = 1 << 20;

/// Measure Berth beside the file-transfer programs that are installed, on loopback
#[derive(Clone, Debug, Parser)]
#[command(name = "berth-bench")]
pub(crate) struct Args {
    /// Directory with Berth's programs
    #[arg(long, value_name = "DIR")]
    pub(crate) programs: PathBuf,
    /// Empty directory on a disk
    #[arg(long, value_name = "DIR")]
    pub(crate) disk: PathBuf,
    /// Empty directory in memory (tmpfs)
    #[arg(long, value_name = "DIR")]
    pub(crate) memory: PathBuf,
    /// Directory to write the table and the plot to
    #[arg(long, value_name = "DIR", default_value = "docs/performance")]
    pub(crate) output: PathBuf,
    /// Counted runs of each program for each work, after one that is not counted [default: 7, short: 3]
    #[arg(long, value_name = "N")]
    runs: Option<usize>,
    /// Size of the large file in MiB [default: 1024, short: 256]
    #[arg(long, value_name = "MIB")]
    large: Option<u64>,
    /// Number of small files, in directories of 100 [default: 10000, short: 1000]
    #[arg(long, value_name = "N")]
    files: Option<u64>,
    /// Only this work beside other programs; may be repeated
    #[arg(long, value_name = "WORK")]
    only: Vec<Work>,
    /// Only beside this program; may be repeated
    #[arg(long, value_name = "PROGRAM")]
    beside: Vec<Name>,
    /// Only this of what Berth is measured at by itself; may be repeated
    #[arg(long, value_name = "SUBJECT")]
    alone: Vec<Subject>,
    /// Smaller files and fewer runs, to see that all of it works
    #[arg(long)]
    short: bool,
}

impl Args {
    pub(crate) fn runs(&self) -> usize {
        self.runs.unwrap_or(if self.short { 3 } else { 7 }).max(1)
    }

    /// Whether less is measured, to see that all of it works.
    pub(crate) fn is_short(&self) -> bool {
        self.short
    }

    /// How many runs are wanted of each program, and how long they may take for one work.
    pub(crate) fn turns(&self) -> Turns {
        let seconds = if self.short { 20 } else { 60 };
        Turns { wanted: self.runs(), patience: Duration::from_secs(seconds) }
    }

    pub(crate) fn sizes(&self) -> Sizes {
        Sizes {
            large: MIB * self.large.unwrap_or(if self.short { 256 } else { 1024 }).max(1),
            files: self.files.unwrap_or(if self.short { 1_000 } else { 10_000 }).max(1),
        }
    }

    /// What to type for the same again.
    pub(crate) fn repeated_by(&self) -> String {
        let mut options = Vec::new();
        options.extend(self.short.then(|| "--short".to_owned()));
        options.extend(self.runs.map(|runs| format!("--runs {runs}")));
        options.extend(self.large.map(|mib| format!("--large {mib}")));
        options.extend(self.files.map(|files| format!("--files {files}")));
        let works = self.only.iter().filter_map(Work::to_possible_value);
        options.extend(works.map(|name| format!("--only {}", name.get_name())));
        let peers = self.beside.iter().filter_map(Name::to_possible_value);
        options.extend(peers.map(|name| format!("--beside {}", name.get_name())));
        let subjects = self.alone.iter().filter_map(Subject::to_possible_value);
        options.extend(subjects.map(|name| format!("--alone {}", name.get_name())));
        if options.is_empty() {
            return "make bench".to_owned();
        }
        format!("make bench ARGS=\"{}\"", options.join(" "))
    }

    pub(crate) fn works(&self) -> Vec<Work> {
        let asked = |work: &Work| self.asks_for_all() || self.only.contains(work);
        Work::ALL.into_iter().filter(asked).collect()
    }

    /// Whether this program takes part.
    pub(crate) fn takes_part(&self, name: Name) -> bool {
        name == Name::Berth || self.beside.is_empty() || self.beside.contains(&name)
    }

    /// Whether this is to be measured.
    pub(crate) fn asks_for(&self, subject: Subject) -> bool {
        self.asks_for_all() || self.alone.contains(&subject)
    }

    fn asks_for_all(&self) -> bool {
        self.only.is_empty() && self.alone.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    fn parse(line: &str) -> Args {
        let fixed = "berth-bench --programs p --disk d --memory m ";
        Args::try_parse_from((fixed.to_owned() + line).split_whitespace()).unwrap()
    }

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn short_changes_what_is_not_given() {
        assert_eq!(parse("").sizes(), Sizes { large: 1 << 30, files: 10_000 });
        let short = parse("--short --large 16");
        assert_eq!(short.sizes(), Sizes { large: 16 * MIB, files: 1_000 });
        assert_eq!((short.runs(), parse("").runs()), (3, 7));
    }

    #[test]
    fn berth_is_measured_beside_those_that_are_named() {
        let args = parse("--beside rsync --beside rsync-fsync");
        let taking_part: Vec<Name> =
            Name::ALL.into_iter().filter(|name| args.takes_part(*name)).collect();
        assert_eq!(taking_part, [Name::Berth, Name::Rsync, Name::RsyncFsync]);
        assert!(Name::ALL.into_iter().all(|name| parse("").takes_part(name)));
    }

    #[test]
    fn only_selects_works_by_their_names() {
        assert_eq!(parse("").works(), Work::ALL);
        assert_eq!(parse("--only put-memory").works(), [Work::PutMemory]);
    }

    #[test]
    fn a_work_or_a_subject_that_is_asked_for_leaves_out_all_others() {
        let resume = parse("--alone resume");
        assert_eq!(resume.works(), []);
        let asked = |args: &Args| Subject::ALL.into_iter().filter(|s| args.asks_for(*s)).count();
        assert_eq!([&resume, &parse("--only put-disk"), &parse("")].map(asked), [1, 0, 8]);
    }

    #[test]
    fn the_command_for_the_same_again_has_what_was_given() {
        assert_eq!(parse("").repeated_by(), "make bench");
        let command = parse("--alone resume --only put-disk --short --runs 5").repeated_by();
        let same = "make bench ARGS=\"--short --runs 5 --only put-disk --alone resume\"";
        assert_eq!(command, same);
    }
}
