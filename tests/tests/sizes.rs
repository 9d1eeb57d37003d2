//! Files of every awkward size come back as they went, with their times and permissions.

use std::fs::{self, FileTimes, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, SystemTime};

use berth_common::limits::{BLOCK_SIZE, LEAF_SIZE};
use berth_tests::files::{self, Content, assert_same};
use berth_tests::{Options, Server, account, report};

#[test]
fn files_around_every_boundary_come_back_as_they_went() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    let (leaf, block) = (LEAF_SIZE as u64, BLOCK_SIZE as u64);
    let sizes = [0, 1, leaf - 1, leaf, leaf + 1, block - 1, block, block + 1, 5 * block + 7];
    for size in sizes {
        let name = format!("size-{size}");
        Content::seed(size).write(&alice.file(&name), size);
        alice.run(&["put", &name]).ok();
        assert_same(&alice.file(&name), &server.home("alice").join(&name));
        alice.run(&["get", &name, "--to", "back"]).ok();
        assert_same(&alice.file(&name), &alice.file("back"));
        let told = alice.run(&["md5", &name]).ok();
        let plain = files::md5(&alice.file(&name));
        assert!(told.stdout.contains(&plain), "{plain} is not in {}", told.stdout);
        fs::remove_file(alice.file("back")).unwrap();
    }
    server.assert_at_rest("alice");
}

#[test]
fn several_files_go_in_one_command() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    let alice = server.client("alice", "a");
    let names: Vec<_> = (0..40).map(|number| format!("file-{number:02}")).collect();
    for (number, name) in names.iter().enumerate() {
        Content::seed(number as u64).write(&alice.file(name), number as u64 * 10_000);
    }
    alice.run(&["mkdir", "d"]).ok();
    let mut put = vec!["put"];
    put.extend(names.iter().map(String::as_str));
    put.extend(["--to", "d"]);
    alice.run(&put).ok();
    fs::create_dir(alice.file("back")).unwrap();
    account::give(&alice.file("back"));
    let remote: Vec<_> = names.iter().map(|name| format!("d/{name}")).collect();
    let mut get = vec!["get"];
    get.extend(remote.iter().map(String::as_str));
    get.extend(["--to", "back"]);
    alice.run(&get).ok();
    for name in &names {
        assert_same(&alice.file(name), &alice.file("back").join(name));
    }
    server.assert_at_rest("alice");
}

#[test]
fn mtime_and_permission_bits_are_kept_in_both_directions() {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "1MiB");
    let alice = server.client("alice", "a");
    let path = alice.write("tool", "#!/bin/sh\n");
    let time = SystemTime::UNIX_EPOCH + Duration::new(1_234_567_890, 123_456_789);
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_times(FileTimes::new().set_modified(time)).unwrap();
    fs::set_permissions(&path, Permissions::from_mode(0o4755)).unwrap();
    alice.run(&["put", "tool"]).ok();
    alice.run(&["get", "tool", "--to", "back"]).ok();
    let back = alice.file("back").metadata().unwrap();
    assert_eq!(back.modified().unwrap(), time);
    assert_eq!(back.mode() & 0o7777, 0o755, "setuid is not kept, the rest is");
    // On disk nobody but the daemon's user can read it, whatever the client asked for.
    let home = server.home("alice").join("tool").metadata().unwrap();
    assert_eq!(home.mode() & 0o7777, 0o600);
}

#[test]
fn a_sparse_file_of_5_gib_goes_there_and_back() {
    const SIZE: u64 = 5 << 30;
    let server = Server::start(Options::new());
    // What is received has no holes: twice the file, and the free space that a server keeps.
    let needed = 2 * SIZE + (2 << 30);
    let free = rustix::fs::statvfs(server.directory()).unwrap();
    if free.f_bavail * free.f_frsize < needed {
        report(&format!("skipped: needs {needed} bytes of free disk"));
        return;
    }
    server.add_user("alice", "a", "6GiB");
    let alice = server.client("alice", "a");
    // Around the places where 32 bits end.
    let marks = [0, (1 << 31) - 4, (1 << 32) - 4, (1 << 32) + 77, SIZE - 8];
    files::write_sparse(&alice.file("big"), SIZE, &marks);
    alice.run(&["put", "big"]).ok();
    let listed = alice.run(&["stat", "--json", "big"]).ok().json();
    assert_eq!(listed["size"], SIZE);
    assert_eq!(listed["digest"], files::tree_digest(&alice.file("big")));
    alice.run(&["get", "big", "--to", "back"]).ok();
    assert_same(&alice.file("big"), &alice.file("back"));
    server.assert_at_rest("alice");
}
