//! The report in Markdown: what ran where, each goal with its verdict, each work with each program.

use std::fmt::{self, Write};

use super::Report;
use crate::figures::Figure;
use crate::goals::{self, Verdict};
use crate::peers::Name;
use crate::workload::{Shape, Work};

const NOTHING: &str = "—";

/// The whole page. The plot stands beside it under this name.
pub(super) fn table(report: &Report, plot: &str) -> String {
    let mut page = String::new();
    // Writing to a string does not fail.
    let _ = write_page(&mut page, report, plot);
    page
}

fn write_page(page: &mut String, report: &Report, plot: &str) -> fmt::Result {
    writeln!(page, "# Berth beside its peers\n")?;
    writeln!(page, "Written by `{}`; `docs/PERFORMANCE.md` says how it measures.", report.command)?;
    writeln!(page, "{}.", report.machine.described())?;
    writeln!(
        page,
        "Client and server on that one machine, over loopback; its load before the first run was {}.",
        report.machine.load
    )?;
    writeln!(page, "{}.", report.machine.versions.join("; "))?;
    writeln!(
        page,
        "Medians of {} interleaved runs, after one that is not counted; compare ratios, not times.",
        report.runs
    )?;
    writeln!(page, "\n![rates]({plot})\n\n## Goals")?;
    write_goals(page, report)?;
    for work in &report.figures.works {
        write_work(page, report, *work)?;
    }
    if !report.figures.absent().is_empty() {
        writeln!(page, "\n## Not started\n")?;
        for (name, reason) in report.figures.absent() {
            writeln!(page, "- {}: {reason}", name.text())?;
        }
    }
    Ok(())
}

fn write_goals(page: &mut String, report: &Report) -> fmt::Result {
    writeln!(page, "\n| goal | what | reached | wanted | holds |")?;
    writeln!(page, "| --- | --- | ---: | ---: | --- |")?;
    for row in goals::rows(&report.figures) {
        let (reached, wanted) = match &row.verdict {
            Verdict::Ratio { reached, wanted } => (format!("{reached:.2}"), format!("{wanted:.2}")),
            Verdict::Beside { berth, peer } => {
                (format!("{berth:.2} and {peer:.2}"), NOTHING.to_owned())
            }
            Verdict::Alone { reached, wanted, .. } => {
                (reached.clone(), wanted.clone().unwrap_or_else(|| NOTHING.to_owned()))
            }
            Verdict::NotMeasured(_) => (NOTHING.to_owned(), NOTHING.to_owned()),
        };
        let holds = match (row.verdict.holds(), &row.verdict) {
            (Some(true), _) => "yes".to_owned(),
            (Some(false), _) => "**no**".to_owned(),
            (None, Verdict::NotMeasured(reason)) => format!("not measured: {reason}"),
            (None, _) => NOTHING.to_owned(),
        };
        writeln!(page, "| {} | {} | {reached} | {wanted} | {holds} |", row.number, row.text)?;
    }
    Ok(())
}

fn write_work(page: &mut String, report: &Report, work: Work) -> fmt::Result {
    let title = work.title(report.figures.sizes);
    let cpu = match work.shape() {
        Shape::Large => "server's CPU s/GiB",
        Shape::Tree => "server's CPU s/10,000",
    };
    writeln!(page, "\n## {}\n", capitalised(&title))?;
    writeln!(page, "| program | {} | slowest–fastest | Berth ÷ it | {cpu} | runs |", work.unit())?;
    writeln!(page, "| --- | ---: | ---: | ---: | ---: | ---: |")?;
    for figure in report.figures.of(work) {
        let cells = cells(report, work, figure);
        writeln!(page, "| {} | {} |", figure.name.text(), cells.join(" | "))?;
    }
    Ok(())
}

fn cells(report: &Report, work: Work, figure: &Figure) -> [String; 5] {
    let (figures, name) = (&report.figures, figure.name);
    let runs = match &figure.runs {
        Ok(runs) => runs.seconds.len(),
        Err(reason) => {
            let empty = || NOTHING.to_owned();
            return [format!("not measured: {reason}"), empty(), empty(), empty(), empty()];
        }
    };
    let shown = |value: Option<String>| value.unwrap_or_else(|| NOTHING.to_owned());
    let ratio = figures.ratio(work, name).filter(|_| name != Name::Berth);
    [
        shown(figures.rate(work, name).map(|rate| format!("{rate:.0}"))),
        shown(figures.spread(work, name).map(|(low, high)| format!("{low:.0}–{high:.0}"))),
        shown(ratio.map(|ratio| format!("{ratio:.2}"))),
        shown(figures.server_cpu(work, name).map(|cpu| format!("{cpu:.2}"))),
        runs.to_string(),
    ]
}

fn capitalised(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters.next().map(|first| first.to_ascii_uppercase());
    first.into_iter().chain(characters).collect()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::figures::tests::figures;
    use crate::machine::Machine;

    pub(in crate::report) fn report() -> Report {
        let mut figures = figures(&[
            (Work::GetMemory, Name::Berth, &[1.0, 2.0, 1.0]),
            (Work::GetMemory, Name::Nginx, &[2.0]),
        ]);
        let reason = "this berth has no -r".to_owned();
        figures.add(Figure { work: Work::PutTreeDisk, name: Name::Berth, runs: Err(reason) });
        figures.add_absent(Name::Sftp, "sshd is not installed".to_owned());
        let machine = Machine {
            processors: 2,
            model: "Some Processor".to_owned(),
            virtual_machine: true,
            memory_gib: 24,
            kernel: "6.18".to_owned(),
            disk: "ext4".to_owned(),
            load: "0.10".to_owned(),
            versions: vec!["berth 0.1.0".to_owned()],
        };
        Report { figures, machine, runs: 3, command: "make bench".to_owned() }
    }

    #[test]
    fn a_work_has_a_row_for_each_program_with_its_ratio() {
        let page = table(&report(), "plot.svg");
        assert!(page.contains("| Berth | 1074 | 537–1074 | — | 0.50 | 3 |"), "{page}");
        assert!(page.contains("| nginx, HTTPS | 537 | 537–537 | 2.00 | 0.50 | 1 |"), "{page}");
    }

    #[test]
    fn what_was_not_measured_says_why() {
        let page = table(&report(), "plot.svg");
        assert!(page.contains("| Berth | not measured: this berth has no -r | — |"), "{page}");
        assert!(page.contains("- OpenSSH sftp: sshd is not installed"), "{page}");
    }

    #[test]
    fn the_page_says_what_it_was_made_on_and_by_which_command() {
        let page = table(&report(), "plot.svg");
        for said in ["`make bench`", "Some Processor", "Medians of 3", "![rates]"] {
            assert!(page.contains(said), "{said}: {page}");
        }
    }

    #[test]
    fn a_table_has_as_many_cells_in_each_of_its_rows() {
        let page = table(&report(), "plot.svg");
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with('|')).collect();
        let cells: Vec<_> = rows.iter().map(|row| row.matches('|').count()).collect();
        assert!(cells.iter().all(|count| [6, 7].contains(count)), "{page}");
    }
}
