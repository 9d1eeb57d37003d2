//! The tutorial is walked: every command of `docs/TUTORIAL.md` is carried out in order against a real server,
//! and what can be seen on the terminal has to be what stands there.
//!
//! `BERTH_TUTORIAL_WRITE=1 cargo test -p berth-tests --test tutorial` writes what was seen into the document
//! instead: type the new command, and behind it the lines in which something is typed.
//!
//! What the test understands of the document:
//! - In a block that begins with three backticks and `console`, `$ ` begins a command of the user's and `# ` one of
//!   the administrator's; what follows is all that can be seen on the terminal. Each command is run by
//!   `sh -c` on a terminal of its own, `$?` being the exit code of the one before.
//! - A line that begins with a question of `berth` or the prompt of its shell is waited for, and what stands
//!   behind it is typed ([`typing`] has the list). Where a password is asked for, [`typing::PASSWORD`] is typed, which
//!   the text has to name.
//! - A line that ends with `^C` is a progress bar in the middle of its way, at which Ctrl-C is pressed: the
//!   connection of that command gets no further than [`scene::CUT_AFTER`] bytes.
//! - `<!-- tutorial: … -->` does what no command does; [`scene`] has the list.
//! - The server is called `files.example.org`, the user's home `/home/alice`, the data directory `/var/lib/berth`, and
//!   two fingerprints have a place of their own ([`scene`]): they are replaced both ways.
//! - Times, durations, rates, IDs and codes only have to look alike ([`compare`] has the list). A code or ID
//!   of the document stands for the one that was seen in its place from then on.
//!
//! - A block that begins with three backticks and `rust` stands in the documentation of the library, which is compiled.
//!
//! All else has to be equal, line by line.

mod compare;
mod document;
mod scene;
mod typing;

use std::fs;
use std::path::Path;

use document::{Document, Item};
use scene::Scene;

const WRITE: &str = "BERTH_TUTORIAL_WRITE";

#[test]
fn the_tutorial_is_what_happens() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/TUTORIAL.md");
    let text = fs::read_to_string(&path).unwrap();
    let spoken = text.contains(&format!("`{}`", typing::PASSWORD));
    assert!(spoken, "the text does not name the password that is typed");
    let mut document = Document::parse(&text);
    assert_eq!(document.render(), text, "what is parsed is what stands there");
    let write = std::env::var_os(WRITE).is_some();
    let mut scene = Scene::new();
    let mut steps = 0;
    for item in &mut document.items {
        match item {
            Item::Line(_) => {}
            Item::Direction(direction) => scene.direct(direction),
            Item::Step(step) if !scene.can(step) => {}
            Item::Step(step) => {
                steps += 1;
                let seen = scene.carry_out(step);
                let difference = scene.compare(step, &seen);
                match difference {
                    Some(_) if write => step.output = compare::kept(&step.output, &seen),
                    Some(difference) => panic!(
                        "docs/TUTORIAL.md, line {}: {}\n{difference}\n--- all that was seen\n{}\n---\n\
                         {WRITE}=1 writes it into the document.",
                        step.line,
                        step.command,
                        seen.join("\n")
                    ),
                    None => {}
                }
            }
        }
    }
    assert!(steps > 20, "only {steps} commands were found");
    if write {
        fs::write(&path, document.render()).unwrap();
    }
}

#[test]
fn what_it_shows_of_the_library_is_compiled() {
    let read = |path: &str| {
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)).unwrap()
    };
    let documented: String = read("client/src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("//!"))
        .map(|line| format!("{}\n", line.strip_prefix(' ').unwrap_or(line)))
        .collect();
    let tutorial = read("docs/TUTORIAL.md");
    let blocks = tutorial.split("```rust\n").skip(1);
    let shown: Vec<_> = blocks.map(|block| block.split("```").next().unwrap()).collect();
    assert!(!shown.is_empty(), "nothing is shown");
    for block in shown {
        assert!(documented.contains(block), "client/src/lib.rs has not:\n{block}");
    }
}
