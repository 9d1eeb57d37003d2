//! A package puts other programs in the places of those that run.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use berth_tests::{Content, Options, Server, process, wait_until};

/// Puts a program in the place of another as dpkg does: by a rename.
fn replace(path: &Path, by: &Path) {
    let new = path.with_extension("dpkg-new");
    symlink(by, &new).unwrap();
    fs::rename(new, path).unwrap();
}

#[test]
fn a_daemon_goes_on_with_the_helpers_of_its_start_until_it_is_started_again() {
    let mut server = Server::start(Options::new().puppets());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    Content::seed(1).write(&alice.file("before"), 1000);
    alice.run(&["put", "before"]).ok();

    // Of another version, of which nothing is understood.
    let [worker, filer] =
        ["berth-worker", "berth-filer"].map(|name| server.directory().join("libexec").join(name));
    replace(&worker, Path::new("/bin/false"));
    replace(&filer, Path::new("/bin/false"));
    server.hang_up("reloaded");
    Content::seed(2).write(&alice.file("after"), 1000);
    alice.run(&["put", "after"]).ok();
    alice.run(&["get", "before", "--to", "back"]).ok();
    wait_until("the helpers are called as their programs are", || {
        let name = |pid| process::name(pid).unwrap_or_default();
        process::children(server.pid()).into_iter().all(|pid| name(pid).starts_with("berth-"))
    });

    assert_eq!(server.terminate(), Some(0));
    // Nobody is let in without a filer that recovers.
    replace(&filer, &server.binaries().path("berth-puppet-filer"));
    server.restart();
    server.log().wait_after(0, "it has the new ones", |line| line.message() == "a spare was lost");
}
