//! What was measured, and what is worked out of it: rates, their spread, and ratios to Berth's.

use crate::goals::Row;
use crate::peers::Name;
use crate::runs::median;
use crate::workload::{Sizes, Work};

/// The counted runs of one peer at one work.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Runs {
    /// Seconds of each, from the client's start to its end.
    pub(crate) seconds: Vec<f64>,
    /// Seconds of processor time that the server took in each.
    pub(crate) server_cpu: Vec<f64>,
}

/// What became of one peer at one work.
#[derive(Clone, Debug)]
pub(crate) struct Figure {
    pub(crate) work: Work,
    pub(crate) name: Name,
    /// The runs, or why there are none.
    pub(crate) runs: Result<Runs, String>,
}

/// All of a measurement.
#[derive(Clone, Debug)]
pub(crate) struct Figures {
    pub(crate) sizes: Sizes,
    pub(crate) works: Vec<Work>,
    figures: Vec<Figure>,
    /// Peers that could not be started, with the reason, each once.
    absent: Vec<(Name, String)>,
    /// Goals that Berth is measured at by itself.
    alone: Vec<Row>,
}

impl Figures {
    pub(crate) fn new(sizes: Sizes, works: Vec<Work>) -> Self {
        Self { sizes, works, figures: Vec::new(), absent: Vec::new(), alone: Vec::new() }
    }

    pub(crate) fn add(&mut self, figure: Figure) {
        self.figures.push(figure);
    }

    pub(crate) fn add_absent(&mut self, name: Name, reason: String) {
        if !self.absent.iter().any(|(absent, _)| *absent == name) {
            self.absent.push((name, reason));
        }
    }

    pub(crate) fn add_alone(&mut self, rows: impl IntoIterator<Item = Row>) {
        self.alone.extend(rows);
    }

    pub(crate) fn alone(&self) -> &[Row] {
        &self.alone
    }

    pub(crate) fn absent(&self) -> &[(Name, String)] {
        &self.absent
    }

    /// What is known of a work, in the order of the names.
    pub(crate) fn of(&self, work: Work) -> Vec<&Figure> {
        let one = |name| self.figure(work, name);
        Name::ALL.into_iter().filter_map(one).collect()
    }

    fn figure(&self, work: Work, name: Name) -> Option<&Figure> {
        self.figures.iter().find(|figure| figure.work == work && figure.name == name)
    }

    fn runs(&self, work: Work, name: Name) -> Option<&Runs> {
        self.figure(work, name)?.runs.as_ref().ok()
    }

    /// The rate of the median run, in the work's unit.
    pub(crate) fn rate(&self, work: Work, name: Name) -> Option<f64> {
        Some(work.amount(self.sizes) / median(&self.runs(work, name)?.seconds)?)
    }

    /// The rates of the slowest and the fastest run.
    pub(crate) fn spread(&self, work: Work, name: Name) -> Option<(f64, f64)> {
        let seconds = &self.runs(work, name)?.seconds;
        let longest = seconds.iter().copied().reduce(f64::max)?;
        let shortest = seconds.iter().copied().reduce(f64::min)?;
        let amount = work.amount(self.sizes);
        Some((amount / longest, amount / shortest))
    }

    /// How many times as fast as this peer Berth is.
    pub(crate) fn ratio(&self, work: Work, name: Name) -> Option<f64> {
        Some(self.rate(work, Name::Berth)? / self.rate(work, name)?)
    }

    /// Seconds of processor time that the server takes for a GiB, or for 10,000 files.
    pub(crate) fn server_cpu(&self, work: Work, name: Name) -> Option<f64> {
        Some(median(&self.runs(work, name)?.server_cpu)? / work.portions(self.sizes))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Works with runs of these seconds.
    pub(crate) fn figures(of: &[(Work, Name, &[f64])]) -> Figures {
        let works = Work::ALL.to_vec();
        let mut figures = Figures::new(Sizes { large: 1 << 30, files: 10_000 }, works);
        for (work, name, seconds) in of {
            let runs = Runs { seconds: seconds.to_vec(), server_cpu: vec![0.5; seconds.len()] };
            figures.add(Figure { work: *work, name: *name, runs: Ok(runs) });
        }
        figures
    }

    #[test]
    fn a_ratio_is_of_the_medians_and_above_one_when_berth_is_faster() {
        let figures = figures(&[
            (Work::PutTreeDisk, Name::Berth, &[1.0, 50.0, 2.0]),
            (Work::PutTreeDisk, Name::Rsync, &[4.0]),
        ]);
        assert_eq!(figures.rate(Work::PutTreeDisk, Name::Berth), Some(5_000.0));
        assert_eq!(figures.spread(Work::PutTreeDisk, Name::Berth), Some((200.0, 10_000.0)));
        assert_eq!(figures.ratio(Work::PutTreeDisk, Name::Rsync), Some(2.0));
        assert_eq!(figures.ratio(Work::PutTreeDisk, Name::Sftp), None);
        assert_eq!(figures.ratio(Work::GetMemory, Name::Rsync), None);
    }

    #[test]
    fn processor_time_is_told_for_a_gibibyte() {
        let mut figures = figures(&[(Work::GetMemory, Name::Nginx, &[1.0])]);
        figures.sizes.large = 256 << 20;
        assert_eq!(figures.server_cpu(Work::GetMemory, Name::Nginx), Some(2.0));
    }
}
