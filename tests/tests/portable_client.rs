//! The client and its library stay portable: no crate that only Linux has, and what its code asks of Linux alone stands where
//! `docs/ARCHITECTURE.md` says. That it compiles elsewhere is found by `make check-targets`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Crates that other systems cannot build or have no use for. `linux-raw-sys` is not among them: rustix takes it on
/// Linux and nowhere else.
const LINUX_ONLY: [&str; 14] = [
    "capctl",
    "caps",
    "inotify",
    "io-uring",
    "landlock",
    "libseccomp",
    "listenfd",
    "netlink-sys",
    "procfs",
    "sd-notify",
    "seccompiler",
    "tokio-uring",
    "udev",
    "zbus",
];

/// What code of Linux alone looks like.
const MARKS: [&str; 3] = ["target_os", "\"/proc/", "\"/sys/"];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

#[test]
fn berth_has_no_crate_that_only_linux_has() {
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--package", "berth-cli", "--edges", "normal"]);
    let told = tree.args(["--prefix", "none"]).current_dir(root()).output().unwrap();
    assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
    let text = String::from_utf8(told.stdout).unwrap();
    let crates: BTreeSet<&str> = text.lines().filter_map(|line| line.split(' ').next()).collect();
    assert!(crates.contains("berth") && crates.contains("berth-common"), "{crates:?}");
    assert!(crates.len() > 50, "{crates:?}");
    let bad: Vec<_> = LINUX_ONLY.iter().filter(|name| crates.contains(**name)).collect();
    assert!(bad.is_empty(), "berth depends on {bad:?}");
}

/// Whether a file's code has a mark, its tests and comments left out.
fn is_linux_only(text: &str) -> bool {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    let mut code = lines.filter(|line| !line.trim_start().starts_with("//"));
    code.any(|line| MARKS.iter().any(|mark| line.contains(mark)))
}

/// The sources in which a part is for Linux alone.
fn found() -> BTreeSet<String> {
    let mut waiting = ["client/src", "cli/src", "common/src", "discovery/src"]
        .map(|part| root().join(part))
        .to_vec();
    let mut found = BTreeSet::new();
    while let Some(path) = waiting.pop() {
        if path.is_dir() {
            waiting.extend(berth_tests::disk::entries(&path));
        } else if !path.ends_with("tests.rs") && is_linux_only(&fs::read_to_string(&path).unwrap())
        {
            let below = path.strip_prefix(root()).unwrap();
            found.insert(below.to_str().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn what_is_for_linux_alone_stands_in_the_list() {
    let text = fs::read_to_string(root().join("docs/ARCHITECTURE.md")).unwrap();
    let (_, after) = text.split_once("| file | on Linux | elsewhere |\n").expect("the list");
    let rows = after.lines().skip(1).map_while(|line| line.strip_prefix("| `"));
    let listed: BTreeSet<String> =
        rows.map(|row| row.split('`').next().unwrap().to_owned()).collect();
    assert_eq!(found(), listed, "found (left) and listed in docs/ARCHITECTURE.md (right)");
}

#[test]
fn a_part_for_linux_alone_is_seen_in_code_and_nowhere_else() {
    for code in ["    #[cfg(target_os = \"linux\")]", "let a = read(\"/proc/self/fd\");"] {
        assert!(is_linux_only(code), "{code}");
        assert!(!is_linux_only(&format!("// {code}")));
        assert!(!is_linux_only(&format!("fn a() {{}}\n#[cfg(test)]\nmod tests {{\n{code}")));
    }
}
