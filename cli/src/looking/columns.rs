//! Names in columns, down and then across, as `ls` prints them.
//!
//! A cell's width is what a terminal makes of it, so a cell is escaped before it is measured, and measured before it
//! is coloured.

use unicode_width::UnicodeWidthStr as _;

/// Between two columns.
const GAP: usize = 2;

/// More would be wider than any screen, and only cost time.
const MOST_COLUMNS: usize = 256;

/// A text and the columns of the terminal that it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    text: String,
    width: usize,
}

impl Cell {
    /// Of an escaped name.
    pub(crate) fn new(text: String) -> Self {
        Self { width: width(&text), text }
    }

    /// The same with this text, which takes as much room: coloured.
    pub(crate) fn shown_as(self, text: String) -> Self {
        Self { text, ..self }
    }
}

/// The columns of a terminal that an escaped text takes.
pub(crate) fn width(text: &str) -> usize {
    text.width()
}

/// A text with blanks behind it until it has so many columns.
pub(crate) fn left(text: &str, columns: usize) -> String {
    format!("{text}{}", " ".repeat(columns.saturating_sub(width(text))))
}

/// A text with blanks before it until it has so many columns.
pub(crate) fn right(text: &str, columns: usize) -> String {
    format!("{}{text}", " ".repeat(columns.saturating_sub(width(text))))
}

/// The last of a text that fits these columns, with a sign before it that something is left out.
pub(crate) fn end_within(text: &str, columns: usize) -> String {
    if width(text) <= columns {
        return text.to_owned();
    }
    let room = columns.saturating_sub(1);
    let starts = text.char_indices().rev().map(|(at, _)| at);
    let start = starts.take_while(|at| width(&text[*at..]) <= room).last();
    format!("…{}", &text[start.unwrap_or(text.len())..])
}

/// The lines of all cells, in as few lines as `screen` columns allow.
pub(crate) fn lines(cells: &[Cell], screen: usize) -> impl Iterator<Item = String> {
    let widths: Vec<usize> = cells.iter().map(|cell| cell.width).collect();
    let Grid { rows, columns } = fit(&widths, screen);
    (0..rows).map(move |row| {
        let mut line = String::new();
        let mut padding = 0;
        for (cell, column) in cells.iter().skip(row).step_by(rows).zip(&columns) {
            line.extend(std::iter::repeat_n(' ', padding));
            line.push_str(&cell.text);
            padding = column + GAP - cell.width;
        }
        line
    })
}

/// How many rows, and how wide each column is without the gap.
#[derive(Debug, PartialEq, Eq)]
struct Grid {
    rows: usize,
    columns: Vec<usize>,
}

/// The grid with the most columns that is narrower than the screen, so that no line touches its edge; one column where
/// none is.
fn fit(widths: &[usize], screen: usize) -> Grid {
    let narrowest = widths.iter().min().copied().unwrap_or(0);
    let most = (screen + GAP) / (narrowest + GAP);
    for count in (2..=most.min(MOST_COLUMNS).min(widths.len())).rev() {
        let rows = widths.len().div_ceil(count);
        if widths.len().div_ceil(rows) < count {
            // The last columns would be empty.
            continue;
        }
        let columns: Vec<usize> =
            widths.chunks(rows).map(|column| column.iter().max().copied().unwrap_or(0)).collect();
        if columns.iter().sum::<usize>() + GAP * (count - 1) < screen {
            return Grid { rows, columns };
        }
    }
    Grid { rows: widths.len(), columns: widths.iter().max().copied().into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::output::escaped;

    fn laid_out(names: &[&str], screen: usize) -> Vec<String> {
        let cells: Vec<Cell> =
            names.iter().map(|name| Cell::new(escaped(name).into_owned())).collect();
        lines(&cells, screen).collect()
    }

    #[test]
    fn names_go_down_and_then_across() {
        let names = ["a", "bb", "ccc", "d", "e"];
        assert_eq!(laid_out(&names, 80), ["a  bb  ccc  d  e"]);
        assert_eq!(laid_out(&names, 12), ["a   ccc  e", "bb  d"]);
        assert_eq!(laid_out(&names, 3), ["a", "bb", "ccc", "d", "e"]);
        assert_eq!(laid_out(&[], 80), [""; 0]);
        assert_eq!(laid_out(&["longer than the screen"], 5), ["longer than the screen"]);
    }

    #[test]
    fn wide_characters_take_two_columns() {
        let names = ["日本語", "b", "写真", "🚢.png", "é", "e\u{301}"];
        let lines = laid_out(&names, 17);
        assert_eq!(lines, ["日本語  🚢.png", "b       é", "写真    e\u{301}"]);
        for line in &lines {
            let second = line.find(['🚢', 'é', 'e']).unwrap();
            assert_eq!(width(&line[..second]), 8, "{line}");
        }
        assert_eq!(width("👨\u{200d}👩\u{200d}👧"), 2);
    }

    #[test]
    fn what_drives_a_terminal_is_measured_as_it_is_escaped() {
        let lines = laid_out(&["\x1b[2J", "a\nb", "x"], 30);
        assert_eq!(lines, ["\\u{1b}[2J  a\\nb  x"]);
    }

    #[test]
    fn colours_take_no_room() {
        let cells: Vec<Cell> = ["a", "b"]
            .map(|name| Cell::new(name.to_owned()).shown_as(format!("\x1b[1m{name}\x1b[0m")))
            .into();
        let shown: Vec<_> = lines(&cells, 80).collect();
        assert_eq!(shown, ["\x1b[1ma\x1b[0m  \x1b[1mb\x1b[0m"]);
    }

    #[test]
    fn a_long_text_keeps_its_end() {
        assert_eq!(end_within("short.iso", 9), "short.iso");
        assert_eq!(end_within("longer.iso", 9), "…nger.iso");
        assert_eq!(end_within("日本語.iso", 9), "…本語.iso");
        assert_eq!(end_within("日本語.iso", 8), "…語.iso");
        assert_eq!(end_within("日", 1), "…");
    }

    proptest! {
        #[test]
        fn every_name_is_shown_once_and_no_line_is_too_wide(
            names in prop::collection::vec("[a-z語]{1,12}", 0..60), screen in 0usize..120
        ) {
            let cells: Vec<Cell> = names.iter().cloned().map(Cell::new).collect();
            let shown: Vec<String> = lines(&cells, screen).collect();
            let widest = names.iter().map(|name| width(name)).max().unwrap_or(0);
            for line in &shown {
                prop_assert!(width(line) < screen || width(line) <= widest);
            }
            let mut words: Vec<&str> =
                shown.iter().flat_map(|line| line.split_whitespace()).collect();
            let mut names: Vec<&str> = names.iter().map(String::as_str).collect();
            words.sort_unstable();
            names.sort_unstable();
            prop_assert_eq!(words, names);
        }
    }
}
