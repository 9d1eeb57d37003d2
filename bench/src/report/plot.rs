//! The report as a plot: for each work a bar for each program, Berth's in another colour.
//!
//! Each work has a scale of its own, from nothing to its fastest program.

use svg::node::element::{Rectangle, Text};
use svg::{Document, Node};

use super::Report;
use crate::peers::Name;
use crate::workload::Work;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
/// Where bars begin, behind the programs' names.
const BARS: f64 = 220.0;
/// The longest bar; its figure stands behind it.
const LONGEST: f64 = 400.0;
const BAR: f64 = 16.0;
const STEP: f64 = 22.0;
const TITLE: f64 = 34.0;

const BERTH: &str = "#1f6feb";
const PEER: &str = "#9aa4b1";
const INK: &str = "#1f2328";

/// The plot.
pub(super) fn plot(report: &Report) -> String {
    let figures = &report.figures;
    // On white, since a page may be dark.
    let ground = Rectangle::new().set("width", "100%").set("height", "100%").set("fill", "white");
    let mut drawing = Drawing { document: Document::new().add(ground), y: MARGIN };
    for work in &figures.works {
        let rates: Vec<_> = Name::ALL
            .into_iter()
            .filter_map(|name| Some((name, figures.rate(*work, name)?)))
            .collect();
        if !rates.is_empty() {
            drawing.work(&work.title(figures.sizes), *work, rates);
        }
    }
    let runs = report.runs;
    drawing.note(&format!("medians of {runs} interleaved runs; {}", report.machine.described()));
    drawing.finished()
}

struct Drawing {
    document: Document,
    /// How far down has been drawn.
    y: f64,
}

impl Drawing {
    /// One work, the fastest program above.
    fn work(&mut self, title: &str, work: Work, mut rates: Vec<(Name, f64)>) {
        rates.sort_by(|(_, one), (_, other)| other.total_cmp(one));
        let fastest = rates.first().map_or(1.0, |(_, rate)| *rate);
        self.y += TITLE;
        self.text(MARGIN, self.y - 12.0, "start", 14, &format!("{title} ({})", work.unit()), true);
        for (name, rate) in rates {
            let (middle, length) = (self.y + BAR * 0.75, LONGEST * rate / fastest);
            let (colour, bold) = if name == Name::Berth { (BERTH, true) } else { (PEER, false) };
            self.text(BARS - 8.0, middle, "end", 12, name.text(), bold);
            self.rectangle((BARS, self.y), (length, BAR), colour);
            self.text(BARS + length + 6.0, middle, "start", 12, &format!("{rate:.0}"), bold);
            self.y += STEP;
        }
    }

    fn note(&mut self, text: &str) {
        self.y += STEP;
        self.text(MARGIN, self.y, "start", 10, text, false);
    }

    fn rectangle(&mut self, (x, y): (f64, f64), (width, height): (f64, f64), colour: &str) {
        let rectangle = Rectangle::new()
            .set("x", x)
            .set("y", y)
            .set("width", (width * 10.0).round() / 10.0)
            .set("height", height)
            .set("fill", colour);
        self.add(rectangle);
    }

    fn text(&mut self, x: f64, y: f64, anchor: &str, size: u32, text: &str, bold: bool) {
        let text = Text::new(text)
            .set("x", (x * 10.0).round() / 10.0)
            .set("y", y)
            .set("text-anchor", anchor)
            .set("font-size", size)
            .set("font-weight", if bold { "bold" } else { "normal" })
            .set("fill", INK);
        self.add(text);
    }

    fn add(&mut self, element: impl Into<Box<dyn Node>>) {
        let document = std::mem::replace(&mut self.document, Document::new());
        self.document = document.add(element);
    }

    fn finished(self) -> String {
        let height = self.y + MARGIN;
        let whole = self
            .document
            .set("viewBox", (0, 0, WIDTH, height))
            .set("width", WIDTH)
            .set("height", height)
            .set("font-family", "sans-serif");
        format!("{whole}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::super::table::tests::report;
    use super::*;

    #[test]
    fn each_measured_program_has_a_bar_as_long_as_its_rate() {
        let plot = plot(&report());
        let bars: Vec<_> = plot.lines().filter(|line| line.contains("height=\"16\"")).collect();
        assert_eq!(bars.len(), 2, "{plot}");
        assert!(bars[0].contains(BERTH) && bars[0].contains("width=\"400\""), "{plot}");
        assert!(bars[1].contains(PEER) && bars[1].contains("width=\"200\""), "{plot}");
    }

    #[test]
    fn names_and_figures_stand_beside_the_bars() {
        let plot = plot(&report());
        assert!(plot.starts_with("<svg "), "{plot}");
        for said in ["get, 1 GiB, in memory (tmpfs) (MB/s)", "nginx, HTTPS", "1074", "537"] {
            assert!(plot.contains(said), "{said}: {plot}");
        }
    }
}
