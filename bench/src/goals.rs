//! What Berth is to reach beside its peers, and whether it does. Each goal is a row, also one that is not measured here.

use crate::figures::Figures;
use crate::peers::Name;
use crate::workload::Work;

/// A goal with its verdict.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) number: &'static str,
    pub(crate) text: String,
    pub(crate) verdict: Verdict,
}

/// What a run says of a goal.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    /// Berth's rate divided by the peer's, and what was wanted.
    Ratio { reached: f64, wanted: f64 },
    /// Seconds of processor time, Berth's and the peer's: told, without a bound.
    Beside { berth: f64, peer: f64 },
    /// What Berth reached by itself, what was wanted if anything was, and whether it is that.
    Alone { reached: String, wanted: Option<String>, holds: Option<bool> },
    /// Why there is no figure.
    NotMeasured(String),
}

impl Verdict {
    pub(crate) fn holds(&self) -> Option<bool> {
        match self {
            Self::Ratio { reached, wanted } => Some(reached >= wanted),
            Self::Alone { holds, .. } => *holds,
            Self::Beside { .. } | Self::NotMeasured(_) => None,
        }
    }
}

/// Ratios of rates that are to be reached.
const RATIOS: [(&str, Work, Name, f64); 9] = [
    ("1", Work::GetDiscard, Name::Nginx, 1.0),
    ("1", Work::GetDiscard, Name::Ftps, 2.0),
    ("2", Work::PutMemory, Name::Rsync, 1.0),
    ("2", Work::PutDisk, Name::RsyncFsync, 1.0),
    // Where the disk is the limit.
    ("2", Work::PutDisk, Name::Dd, 0.85),
    ("3", Work::PutTreeDisk, Name::Rsync, 1.0),
    ("3", Work::GetTreeDisk, Name::Rsync, 1.0),
    ("3", Work::PutTreeMemory, Name::Rsync, 1.0),
    ("3", Work::GetTreeMemory, Name::Rsync, 1.0),
];

/// Processor time of the server, told beside these.
const CPU: [(Work, Name); 3] = [
    (Work::GetDiscard, Name::Nginx),
    (Work::GetDiscard, Name::Ftps),
    (Work::PutMemory, Name::Ftps),
];

/// All goals, in their order.
pub(crate) fn rows(figures: &Figures) -> Vec<Row> {
    let mut rows = Vec::new();
    for (number, work, name, wanted) in RATIOS {
        let text = format!("{}: rate ÷ {}", work.title(figures.sizes), name.text());
        let verdict = match figures.ratio(work, name) {
            Some(reached) => Verdict::Ratio { reached, wanted },
            None => Verdict::NotMeasured(why_not(figures, work, name)),
        };
        rows.push(Row { number, text, verdict });
    }
    for (work, name) in CPU {
        let title = work.title(figures.sizes);
        let text = format!("{title}: server's CPU seconds a GiB, Berth and {}", name.text());
        let both = figures.server_cpu(work, Name::Berth).zip(figures.server_cpu(work, name));
        let verdict = match both {
            Some((berth, peer)) => Verdict::Beside { berth, peer },
            None if figures.ratio(work, name).is_some() => {
                Verdict::NotMeasured(format!("{} does not tell it", name.text()))
            }
            None => Verdict::NotMeasured(why_not(figures, work, name)),
        };
        rows.push(Row { number: "6", text, verdict });
    }
    rows.extend(figures.alone().iter().cloned());
    rows.sort_by_key(|row| row.number);
    rows
}

/// The reason, Berth's first.
fn why_not(figures: &Figures, work: Work, name: Name) -> String {
    if !figures.works.contains(&work) {
        return "not asked for in this run".to_owned();
    }
    for name in [Name::Berth, name] {
        let figure = figures.of(work).into_iter().find(|figure| figure.name == name);
        let absent = figures.absent().iter().find(|(absent, _)| *absent == name);
        let reason = match (figure.map(|figure| &figure.runs), absent) {
            (Some(Ok(_)), _) => continue,
            (Some(Err(reason)), _) | (None, Some((_, reason))) => reason,
            (None, None) => "it did not run",
        };
        return format!("{}: {reason}", name.text());
    }
    "no run was counted".to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alone::Subject;
    use crate::figures::tests::figures;

    fn row<'a>(rows: &'a [Row], number: &str, part: &str) -> &'a Row {
        rows.iter().find(|row| row.number == number && row.text.contains(part)).unwrap()
    }

    #[test]
    fn a_goal_holds_from_its_ratio_on() {
        let figures = figures(&[
            (Work::GetDiscard, Name::Berth, &[1.0]),
            (Work::GetDiscard, Name::Nginx, &[1.0]),
            (Work::GetDiscard, Name::Ftps, &[1.9]),
        ]);
        let rows = rows(&figures);
        assert_eq!(row(&rows, "1", "nginx").verdict.holds(), Some(true));
        assert_eq!(row(&rows, "1", "FTPS").verdict.holds(), Some(false));
    }

    #[test]
    fn every_goal_has_a_row_and_one_without_figures_says_why() {
        let mut figures = figures(&[(Work::PutMemory, Name::Berth, &[1.0])]);
        figures.add_absent(Name::Rsync, "rsync is not installed".to_owned());
        figures.add_alone(Subject::ALL.into_iter().map(|subject| subject.left_out()));
        let rows = rows(&figures);
        for number in ["1", "2", "3", "4", "5", "6", "7"] {
            assert!(rows.iter().any(|row| row.number == number), "goal {number}");
        }
        let told = Verdict::NotMeasured("rsync daemon, no TLS: rsync is not installed".to_owned());
        assert_eq!(row(&rows, "2", "rsync daemon, no TLS").verdict, told);
        assert_eq!(told.holds(), None);
    }
}
