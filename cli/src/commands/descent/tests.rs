//! `tree` and `du` of a server that lies, and of one whose directories change meanwhile.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::entry::{Entry, EntryKind};
use berth_common::error_code::ErrorCode;
use clap::Parser as _;

use crate::args::Args;
use crate::commands::fake::{self, FakeServer, FromClient};
use crate::commands::{Context, run};
use crate::exit::Exit;
use crate::output::{Output, Style};

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry { name: name.into(), kind, ..fake::entry(b"content", None) }
}

/// Answers by `listing` until the client is done; every path is a directory.
async fn serve(server: &mut FakeServer, listing: impl Fn(&str) -> Option<Vec<Entry>>) {
    loop {
        let answer = match server.next().await {
            Some(FromClient::Message(ClientToWorker::Stat { id, .. })) => {
                WorkerToClient::Entry { id, entry: entry("", EntryKind::Directory) }
            }
            Some(FromClient::Message(ClientToWorker::List { id, path, .. })) => {
                match listing(path.as_str()) {
                    Some(entries) => WorkerToClient::Entries { id, entries, last: true },
                    None => WorkerToClient::Failed { id, error: ErrorCode::NotFound },
                }
            }
            _ => return,
        };
        server.say(&answer).await;
    }
}

/// What a command printed, and how it ended.
async fn run_against(line: &str, listing: impl Fn(&str) -> Option<Vec<Entry>>) -> (String, Exit) {
    let (session, mut server) = fake::session().await;
    let printed = Shared::default();
    let context = Context::of_test(session, Output::to(Style::default(), printed.clone()));
    let args = Args::try_parse_from(line.split(' ')).unwrap();
    let running = async {
        let exit = run(&context, &args.command).await.unwrap();
        drop(context);
        exit
    };
    let (exit, ()) = tokio::join!(running, serve(&mut server, listing));
    let text = String::from_utf8(printed.0.lock().unwrap().clone()).unwrap();
    (text, exit)
}

fn lies(path: &str) -> Option<Vec<Entry>> {
    use EntryKind::{Directory, File, Other, Symlink};
    match path {
        "" => Some(vec![
            entry("..", Directory),
            entry("a/b", Directory),
            entry("gone", Directory),
            entry("in", Directory),
            entry("link", Symlink),
            entry("o", Other),
        ]),
        "in" => Some(vec![entry("/etc", File), entry("f", File)]),
        "gone" => None,
        other => panic!("{other} was asked for"),
    }
}

#[tokio::test]
async fn a_name_that_is_none_is_shown_and_never_entered() {
    let (printed, exit) = run_against("berth tree", lies).await;
    let branches = ['└', '├', '─', '│', '|', '`', '-', ' '];
    let names: Vec<&str> = printed.lines().map(|line| line.trim_start_matches(branches)).collect();
    let expected =
        ["/", "..", "a/b", "gone", "in", "/etc", "f", "link", "o", "", "4 directories, 4 files"];
    assert_eq!(names, expected);
    assert_eq!(exit, Exit::Failure, "the first failure was a name");
}

#[tokio::test]
async fn what_cannot_be_listed_is_told_and_the_rest_is_summed() {
    let (printed, exit) = run_against("berth du", lies).await;
    assert_eq!(printed, "14\t/in\n14\t/\n");
    assert_eq!(exit, Exit::Failure);
    let gone = |path: &str| match path {
        "" => Some(vec![entry("gone", EntryKind::Directory), entry("f", EntryKind::File)]),
        _ => None,
    };
    assert_eq!(run_against("berth du", gone).await, ("7\t/\n".to_owned(), Exit::NotFound));
}

#[tokio::test]
async fn a_tree_of_any_depth_is_walked() {
    // As deep as a path can be.
    let deep = |path: &str| {
        let deepest = path.len() > 4000;
        let kind = if deepest { EntryKind::File } else { EntryKind::Directory };
        Some(vec![entry("d", kind)])
    };
    let (printed, exit) = run_against("berth du -s", deep).await;
    assert_eq!((printed.as_str(), exit), ("7\t/\n", Exit::Success));
}
