//! A screen as an SVG: text as text, in cells, with its colours, in the frame of a window.
//!
//! The window is dark by itself, so it can be read on light pages and on dark ones. Each word has the width of
//! its cells stated (`textLength`), so that the columns stand whatever fonts there are.

use std::collections::BTreeMap;

use berth_tests::terminal::Screen;
use svg::node::element::{Circle, Rectangle, Style, Text};
use svg::{Document, Node};

const CELL_WIDTH: f64 = 8.4;
const LINE_HEIGHT: f64 = 20.0;
const FONT_SIZE: u32 = 14;
/// Between the window's edge and the text.
const MARGIN: f64 = 16.0;
/// The bar above the text.
const TITLE: f64 = 32.0;

const BACKGROUND: &str = "#1c2128";
const EDGE: &str = "#545d68";
const TEXT: &str = "#d5dbe3";
/// The sixteen colours of a terminal, readable on the background.
const COLOURS: [&str; 16] = [
    "#545d68", "#f47067", "#6bc46d", "#daaa3f", "#6cb6ff", "#dcbdfb", "#56d4dd", "#d5dbe3",
    "#768390", "#ff938a", "#8ddb8c", "#eac55f", "#96d0ff", "#eedcff", "#76e3ea", "#ffffff",
];

/// A screen of so many columns and rows.
pub(crate) fn draw(screen: &Screen, (columns, rows): (u16, u16)) -> String {
    let width = f64::from(columns) * CELL_WIDTH + 2.0 * MARGIN;
    let height = TITLE + f64::from(rows) * LINE_HEIGHT + MARGIN;
    let mut picture = Document::new()
        .set("viewBox", (0, 0, width.ceil() as u32, height.ceil() as u32))
        .set("width", width.ceil() as u32)
        .set("height", height.ceil() as u32)
        .set("role", "img")
        .set("font-size", FONT_SIZE)
        .add(Style::new(
            "text{font-family:ui-monospace,'DejaVu Sans Mono','Liberation Mono',Menlo,Consolas,\
             'Noto Sans Mono CJK JP',monospace}",
        ))
        .add(window(width, height));
    for (place, colour) in [(20.0, "#f47067"), (40.0, "#daaa3f"), (60.0, "#6bc46d")] {
        let light = Circle::new().set("cx", place).set("cy", TITLE / 2.0).set("r", 6);
        picture = picture.add(light.set("fill", colour));
    }
    for row in 0..rows {
        for run in runs(screen, row, columns) {
            picture.append(run.text(row));
        }
    }
    format!("{picture}\n")
}

fn window(width: f64, height: f64) -> Rectangle {
    let edge = Rectangle::new().set("x", 0.5).set("y", 0.5).set("rx", 9).set("stroke", EDGE);
    edge.set("width", width.floor() - 1.0)
        .set("height", height.floor() - 1.0)
        .set("fill", BACKGROUND)
}

/// Letters of one look that stand side by side, without blanks between them.
#[derive(Debug, PartialEq)]
struct Run {
    column: u16,
    cells: u16,
    letters: String,
    look: Look,
}

#[derive(Clone, Debug, PartialEq)]
struct Look {
    colour: String,
    bold: bool,
    wide: bool,
}

impl Run {
    fn text(&self, row: u16) -> Text {
        let round = |value: f64| (value * 10.0).round() / 10.0;
        let baseline = TITLE + f64::from(row) * LINE_HEIGHT + LINE_HEIGHT * 0.7;
        let attributes = BTreeMap::from([
            ("x", round(MARGIN + f64::from(self.column) * CELL_WIDTH)),
            ("y", round(baseline)),
            ("textLength", round(f64::from(self.cells) * CELL_WIDTH)),
        ]);
        let mut text = Text::new(&self.letters).set("fill", self.look.colour.as_str());
        for (name, value) in attributes {
            text.assign(name, value);
        }
        if self.look.bold {
            text.assign("font-weight", "bold");
        }
        text
    }
}

/// What stands in a row.
fn runs(screen: &Screen, row: u16, columns: u16) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for column in 0..columns {
        let cell = screen.cell(row, column);
        if cell.is_wide_continuation() || !cell.has_contents() || cell.contents() == " " {
            continue;
        }
        let cells = if cell.is_wide() { 2 } else { 1 };
        let look = Look { colour: colour(cell.fgcolor()), bold: cell.bold(), wide: cell.is_wide() };
        let is_next = |run: &&mut Run| run.look == look && run.column + run.cells == column;
        // A wide letter stands by itself: what a font has for it may have another width than two cells.
        match runs.last_mut().filter(|_| !cell.is_wide()).filter(is_next) {
            Some(run) => {
                run.letters.push_str(cell.contents());
                run.cells += cells;
            }
            None => {
                runs.push(Run { column, cells, letters: cell.contents().to_owned(), look });
            }
        }
    }
    runs
}

fn colour(colour: vt100::Color) -> String {
    match colour {
        vt100::Color::Default => TEXT.to_owned(),
        vt100::Color::Idx(index) => match COLOURS.get(usize::from(index)) {
            Some(named) => (*named).to_owned(),
            None => of_cube(index),
        },
        vt100::Color::Rgb(red, green, blue) => format!("#{red:02x}{green:02x}{blue:02x}"),
    }
}

/// One of the 216 colours and the greys behind the first sixteen.
fn of_cube(index: u8) -> String {
    let level = |step: u8| if step == 0 { 0 } else { 55 + 40 * step };
    let [red, green, blue] = match index {
        232.. => [8 + 10 * (index - 232); 3],
        _ => [(index - 16) / 36, (index - 16) / 6 % 6, (index - 16) % 6].map(level),
    };
    format!("#{red:02x}{green:02x}{blue:02x}")
}
