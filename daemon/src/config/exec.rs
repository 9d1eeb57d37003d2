//! What the configuration says of programs that users run: where they lie, and what each may use.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use berth_common::exec::MOST_PROGRAMS;

use super::file::FileConfig;

const MIB: i64 = 1 << 20;

/// The checked values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ExecConfig {
    /// Where programs are looked for, in this order; absolute.
    pub(crate) path: Vec<PathBuf>,
    /// For how long one may run.
    pub(crate) seconds: u32,
    /// How much of the processor it may use.
    pub(crate) cpu_seconds: u32,
    /// How much address space it may have.
    pub(crate) memory_bytes: u64,
    /// How much it may write, to both of its streams together.
    pub(crate) output_bytes: u64,
    /// How many of a session run at once.
    pub(crate) max_programs_per_session: u32,
    /// How many of all run at once.
    pub(crate) max_programs: u32,
}

impl ExecConfig {
    /// Checks them; `number` complains of what is out of its range.
    pub(super) fn check(
        raw: &FileConfig,
        mut number: impl FnMut(&str, i64, RangeInclusive<i64>) -> u64,
    ) -> Self {
        const DAY: i64 = 24 * 60 * 60;
        Self {
            path: raw.exec_path.clone(),
            seconds: number("exec_seconds", raw.exec_seconds, 1..=DAY) as u32,
            cpu_seconds: number("exec_cpu_seconds", raw.exec_cpu_seconds, 1..=DAY) as u32,
            // A program of no use loads its libraries into less than the least.
            memory_bytes: number(
                "exec_memory_bytes",
                raw.exec_memory_bytes,
                16 * MIB..=65_536 * MIB,
            ),
            output_bytes: number("exec_output_bytes", raw.exec_output_bytes, 1..=i64::MAX),
            // Each holds descriptors in a worker, which may have few.
            max_programs_per_session: number(
                "max_programs_per_session",
                raw.max_programs_per_session,
                1..=MOST_PROGRAMS as i64,
            ) as u32,
            max_programs: number("max_programs", raw.max_programs, 0..=1000) as u32,
        }
    }

    /// What is wrong with the directories.
    pub(super) fn complain(&self, complaints: &mut Vec<String>) {
        for path in &self.path {
            if !path.is_absolute() {
                complaints.push(format!("exec_path: {path:?} is not an absolute path"));
            }
        }
    }
}
