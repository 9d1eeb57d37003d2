//! `get -r` from a server that lies, and from one that says too much at once.

use std::fs;
use std::io;
use std::path::Path;
use std::time::Duration;

use berth::session::Session;
use berth_common::batch::GetResult;
use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::entry::{Entry, EntryKind};
use berth_common::error_code::ErrorCode;
use berth_common::ids::RequestId;

use super::*;
use crate::args::SieveArgs;
use crate::commands::fake::{self, FakeServer};
use crate::output::{Output, Style};

const CONTENT: &[u8] = b"content";

fn entry(name: &str, kind: EntryKind) -> Entry {
    Entry { name: name.into(), kind, ..fake::entry(CONTENT, None) }
}

fn context(session: Session) -> Context {
    Context::of_test(session, Output::to(Style { json: true, ..Style::default() }, io::sink()))
}

async fn get_tree(session: Session, to: &Path) -> Exit {
    let to = Some(to.to_owned());
    let (files, sieve, moving) = (vec!["t".into()], SieveArgs::default(), Default::default());
    let args = GetArgs { files, recursive: true, to, force: true, moving, sieve };
    run(&context(session), &args).await.unwrap()
}

/// Answers like a server whose directories have what `listing` says, and whose files all have the same content;
/// until the client is done.
async fn serve(server: &mut FakeServer, listing: impl Fn(&str) -> Vec<Entry>) {
    loop {
        match server.next().await {
            Some(fake::FromClient::Message(ClientToWorker::Stat { id, path })) => {
                let entry = entry(path.file_name().unwrap(), EntryKind::Directory);
                server.say(&WorkerToClient::Entry { id, entry }).await;
            }
            Some(fake::FromClient::Message(ClientToWorker::List { id, path, .. })) => {
                list(server, id, &listing(path.as_str())).await;
            }
            Some(fake::FromClient::Message(ClientToWorker::Get { id, .. })) => {
                send(server, id).await;
            }
            Some(fake::FromClient::Message(ClientToWorker::GetFiles { id, paths })) => {
                let file = || GetResult::File {
                    entry: entry("../x", EntryKind::File),
                    content: CONTENT.to_vec(),
                    md5: fake::tree(CONTENT),
                };
                let files = paths.iter().map(|_| file()).collect();
                server.say(&WorkerToClient::FilesGot { id, files }).await;
            }
            // Of two that get the same file one may find it busy.
            Some(fake::FromClient::Message(
                ClientToWorker::GetDone { .. } | ClientToWorker::Cancel { .. },
            )) => {}
            other => return assert!(other.is_none(), "{other:?}"),
        }
    }
}

async fn list(server: &mut FakeServer, id: RequestId, entries: &[Entry]) {
    for part in entries.chunks(10) {
        server.say(&WorkerToClient::Entries { id, entries: part.to_vec(), last: false }).await;
    }
    server.say(&WorkerToClient::Entries { id, entries: Vec::new(), last: true }).await;
}

async fn send(server: &mut FakeServer, id: RequestId) {
    let (entry, fingerprint) = (entry("x", EntryKind::File), fake::fingerprint(CONTENT, 1));
    server.say(&WorkerToClient::GetReady { id, entry, fingerprint, leaves: 0 }).await;
    server.send_block(id, CONTENT, 0, false).await;
    server.say(&WorkerToClient::GetEnd { id, digest: fake::tree(CONTENT) }).await;
}

fn names_below(top: &Path) -> Vec<String> {
    let mut names = Vec::new();
    let mut waiting = vec![top.to_owned()];
    while let Some(directory) = waiting.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            names.push(path.strip_prefix(top).unwrap().display().to_string());
            if path.is_dir() {
                waiting.push(path);
            }
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn a_server_that_lies_about_names_writes_nothing_outside_the_target() {
    let dir = tempfile::tempdir().unwrap();
    let inner = dir.path().join("a/b/target");
    fs::create_dir_all(&inner).unwrap();
    let absolute = dir.path().join("absolute").display().to_string();
    let (session, mut server) = fake::session().await;
    let listing = |path: &str| -> Vec<Entry> {
        let names = ["..", ".", "", "../../evil", "x/../../../evil", "/etc/evil", "a/b", &absolute];
        let kinds = [EntryKind::File, EntryKind::Directory, EntryKind::Symlink];
        let bad = names.iter().flat_map(|name| kinds.map(|kind| entry(name, kind)));
        let mut all: Vec<_> = bad.collect();
        all.push(entry("good", EntryKind::File));
        // The same name twice: whichever comes first, the other one is in the way.
        all.extend([entry("d", EntryKind::Directory), entry("d", EntryKind::Directory)]);
        if path.ends_with("t/d") {
            all.retain(|entry| entry.name != "d");
        }
        all
    };
    let (exit, ()) = tokio::join!(get_tree(session, &inner), serve(&mut server, listing));
    assert_eq!(exit, Exit::Failure);
    let expected = ["a", "a/b", "a/b/target"].map(str::to_owned).to_vec();
    let below = ["/t", "/t/d", "/t/d/good", "/t/good"].map(|name| format!("a/b/target{name}"));
    assert_eq!(names_below(dir.path()), [expected, below.to_vec()].concat());
}

#[tokio::test]
async fn a_large_listing_is_taken_while_files_wait_for_the_line_that_it_comes_over() {
    // More than are under way or found ahead, and more bytes than the line holds.
    const MANY: usize = 400;
    let dir = tempfile::tempdir().unwrap();
    let (session, mut server) = fake::session().await;
    let conversation = async {
        let ClientToWorker::Stat { id, .. } = server.message().await else { panic!("no stat") };
        server.say(&WorkerToClient::Entry { id, entry: entry("t", EntryKind::Directory) }).await;
        let ClientToWorker::List { id, .. } = server.message().await else { panic!("no list") };
        // As large as those that come by themselves.
        let large =
            |name: &str| Entry { size: FILE_BYTES as u64 + 1, ..entry(name, EntryKind::File) };
        let found = [large("f"), entry("d", EntryKind::Directory)];
        list(&mut server, id, &found).await;
        let mut asked = [server.message().await, server.message().await];
        asked.sort_by_key(|message| matches!(message, ClientToWorker::List { .. }));
        let [ClientToWorker::Get { id: get, .. }, ClientToWorker::List { id, .. }] = asked else {
            panic!("{asked:?}")
        };
        // The file comes after all of the listing, which has to be off the line by then.
        let many: Vec<_> = (0..MANY).map(|number| large(&format!("{number:0240}"))).collect();
        list(&mut server, id, &many).await;
        // That was asked ahead, and is more than is kept.
        let again = server.message().await;
        let ClientToWorker::List { id, .. } = again else { panic!("{again:?}") };
        list(&mut server, id, &many).await;
        send(&mut server, get).await;
        let mut asked = 0;
        while let Some(next) = server.next().await {
            if let fake::FromClient::Message(ClientToWorker::Get { id, .. }) = next {
                asked += 1;
                server.say(&WorkerToClient::Failed { id, error: ErrorCode::NotFound }).await;
            }
        }
        asked
    };
    let both = async { tokio::join!(get_tree(session, dir.path()), conversation) };
    let (exit, asked) = tokio::time::timeout(Duration::from_secs(60), both).await.unwrap();
    assert_eq!((exit, asked), (Exit::NotFound, MANY));
    assert_eq!(names_below(dir.path()), ["t", "t/d", "t/f"]);
}
