//! What is written of a measurement: a table for readers, and a plot.

mod plot;
mod table;

use std::fs;
use std::io;
use std::path::Path;

use crate::figures::Figures;
use crate::machine::Machine;

/// A measurement, and what it was made on.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) figures: Figures,
    pub(crate) machine: Machine,
    /// Counted runs that were wanted.
    pub(crate) runs: usize,
    /// What to type for the same again.
    pub(crate) command: String,
}

const TABLE: &str = "table.md";
const PLOT: &str = "plot.svg";

/// Writes both into a directory.
pub(crate) fn write(report: &Report, directory: &Path) -> io::Result<()> {
    fs::create_dir_all(directory)?;
    fs::write(directory.join(TABLE), table::table(report, PLOT))?;
    fs::write(directory.join(PLOT), plot::plot(report))
}
