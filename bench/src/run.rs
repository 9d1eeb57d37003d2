//! From arguments to the written report, in order.

use std::io;
use std::path::Path;

use crate::alone;
use crate::args::Args;
use crate::client::RunError;
use crate::figures::Figures;
use crate::machine::Machine;
use crate::measure::measure;
use crate::peers;
use crate::place::Place;
use crate::report::{self, Report};
use crate::workload::{Medium, Work};

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    #[error("{0} cannot be prepared: {1}")]
    Place(String, io::Error),
    #[error(transparent)]
    Run(#[from] RunError),
    #[error("the report cannot be written: {0}")]
    Report(io::Error),
}

/// Measures what was asked for, and writes the report.
pub(crate) fn run(args: &Args) -> Result<(), Failure> {
    let mut figures = Figures::new(args.sizes(), args.works());
    let machine = Machine::look(&args.programs, &args.disk);
    println!("{}", machine.described());
    for (medium, root) in [(Medium::Memory, &args.memory), (Medium::Disk, &args.disk)] {
        on_one_medium(medium, root, args, &mut figures)?;
    }
    figures.add_alone(alone::measure(args));
    let report = Report { figures, machine, runs: args.runs(), command: args.repeated_by() };
    report::write(&report, &args.output).map_err(Failure::Report)?;
    println!("written to {}", args.output.display());
    Ok(())
}

/// All works of a medium, with servers that run as long.
fn on_one_medium(
    medium: Medium,
    root: &Path,
    args: &Args,
    figures: &mut Figures,
) -> Result<(), Failure> {
    let mut works = args.works();
    works.retain(|work: &Work| work.medium() == medium);
    if works.is_empty() {
        return Ok(());
    }
    let place = Place::make(root, medium, &works, figures.sizes)
        .map_err(|error| Failure::Place(root.display().to_string(), error))?;
    let peers = peers::start(&place, &args.programs, |name| args.takes_part(name));
    for (name, reason) in peers.absent {
        println!("{}: not started: {reason}", name.text());
        figures.add_absent(name, reason);
    }
    for work in works {
        measure(&place, &peers.running, work, args.turns(), figures)?;
    }
    Ok(())
}
