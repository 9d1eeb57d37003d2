//! The rules of the house: which crate may depend on which, where `unsafe` may stand, and what
//! every file begins with. They read the sources; nothing is run.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Berth's crates, by their directories.
const MEMBERS: [(&str, &str); 13] = [
    ("berth-common", "common"),
    ("berth-daemon", "daemon"),
    ("berth-session", "worker/session"),
    ("berth-filer", "worker/filer"),
    ("berth-jail", "worker/jail"),
    ("berth-sandbox", "worker/sandbox"),
    ("berth-discovery", "discovery"),
    ("berth", "client"),
    ("berth-cli", "cli"),
    ("berth-tests", "tests"),
    ("berth-ledger-model", "tests/ledger-model"),
    ("berth-puppets", "tests/puppets"),
    ("berth-bench", "bench"),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn manifest(directory: &str) -> toml::Table {
    let path = root().join(directory).join("Cargo.toml");
    fs::read_to_string(&path).unwrap().parse().unwrap()
}

/// The names in all tables whose name ends with one of `kinds`, those of targets included.
fn dependencies(directory: &str, kinds: &[&str]) -> BTreeSet<String> {
    fn collect(table: &toml::Table, kinds: &[&str], names: &mut BTreeSet<String>) {
        for (key, value) in table {
            let Some(inner) = value.as_table() else {
                continue;
            };
            if kinds.contains(&key.as_str()) {
                names.extend(inner.keys().cloned());
            } else if key == "target" || table.contains_key("dependencies") || key.contains("cfg") {
                collect(inner, kinds, names);
            }
        }
    }
    let mut names = BTreeSet::new();
    collect(&manifest(directory), kinds, &mut names);
    names
}

const ALL_KINDS: [&str; 3] = ["dependencies", "dev-dependencies", "build-dependencies"];

/// The crates that depend on a library in one of these ways.
fn users_of(library: &str, kinds: &[&str]) -> Vec<&'static str> {
    let uses = |directory: &str| dependencies(directory, kinds).contains(library);
    MEMBERS.iter().filter(|(_, directory)| uses(directory)).map(|(name, _)| *name).collect()
}

/// All Rust sources, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let mut waiting: Vec<_> = MEMBERS.iter().map(|(_, directory)| root().join(directory)).collect();
    waiting.push(root().join("fuzz"));
    let mut sources = Vec::new();
    while let Some(directory) = waiting.pop() {
        for path in berth_tests::disk::entries(&directory) {
            if path.is_dir() {
                waiting.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    assert!(sources.len() > 50, "only {} sources found", sources.len());
    sources
}

/// Lines of code with their numbers: without comments, and without the tests at a file's end.
fn code(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let lines = text.lines().take_while(|line| !line.starts_with("#[cfg(test)]"));
    lines
        .map(|line| line.split("//").next().unwrap_or_default())
        .enumerate()
        .map(|(index, line)| (index + 1, line))
}

/// Whether a file has nothing but tests or benchmarks.
fn is_test(path: &Path) -> bool {
    path.components().any(|part| part.as_os_str() == "tests" || part.as_os_str() == "benches")
        || path.ends_with("tests.rs")
        || path.ends_with("fuzz/replay.rs")
}

/// Whether `line` has `word` as a word of its own.
fn has_word(line: &str, word: &str) -> bool {
    line.split(|c: char| !c.is_alphanumeric() && c != '_').any(|part| part == word)
}

#[test]
fn the_workspace_has_these_members_and_no_others() {
    let workspace = manifest("");
    let members = workspace["workspace"]["members"].as_array().unwrap();
    let members: BTreeSet<_> = members.iter().map(|member| member.as_str().unwrap()).collect();
    assert_eq!(members, MEMBERS.iter().map(|(_, directory)| *directory).collect());
    for (name, directory) in MEMBERS {
        assert_eq!(manifest(directory)["package"]["name"].as_str(), Some(name));
    }
}

#[test]
fn crates_meet_as_processes_and_depend_on_common_alone() {
    let allowed: [(&str, &[&str]); 13] = [
        ("common", &[]),
        // The last two are for `berthd announce`; another rule keeps them to it.
        ("daemon", &["berth-common", "berth-discovery", "berth-sandbox"]),
        ("worker/session", &["berth-common", "berth-sandbox"]),
        ("worker/filer", &["berth-common", "berth-sandbox"]),
        ("worker/jail", &["berth-common", "berth-sandbox"]),
        ("worker/sandbox", &["berth-common"]),
        ("discovery", &[]),
        ("client", &["berth-common"]),
        ("cli", &["berth-common", "berth-discovery", "berth"]),
        ("tests", &["berth-common", "berth", "berth-cli", "berth-puppets"]),
        // It says what the protocol is; sharing code with what it judges would hide mistakes.
        ("tests/ledger-model", &[]),
        ("tests/puppets", &["berth-common", "berth-sandbox"]),
        // Beside other programs it treats Berth as it treats them; what is Berth's alone it asks of the harness.
        ("bench", &["berth-common", "berth-tests"]),
    ];
    for (directory, allowed) in allowed {
        let own = dependencies(directory, &ALL_KINDS);
        let own = own.iter().filter(|name| *name == "berth" || name.starts_with("berth-"));
        for name in own {
            assert!(allowed.contains(&name.as_str()), "{directory} may not depend on {name}");
        }
    }
}

#[test]
fn each_library_stays_with_the_crate_that_needs_it() {
    const LINKED: &[&str] = &["dependencies"];
    let only: [(&[&str], &[&str], &[&str]); 9] = [
        (&["rusqlite"], &["berth-daemon", "berth-tests"], &ALL_KINDS),
        (&["actix", "actix-rt"], &["berth-session"], &ALL_KINDS),
        (&["landlock", "seccompiler"], &["berth-sandbox"], &ALL_KINDS),
        (&["domain", "socket2"], &["berth-discovery"], &ALL_KINDS),
        // A test may make a certificate or a terminal for itself.
        (&["rcgen"], &["berth-daemon"], LINKED),
        // A library speaks to no person: it has no terminal and no command line.
        (&["glob", "indicatif", "lscolors", "rpassword", "rustyline"], &["berth-cli"], LINKED),
        (&["clap"], &["berth-bench", "berth-cli", "berth-daemon"], LINKED),
        (&["rustls-native-certs"], &["berth"], LINKED),
        (&["tracing-subscriber"], &["berth-daemon"], LINKED),
    ];
    for (libraries, allowed, kinds) in only {
        for library in libraries {
            for user in users_of(library, kinds) {
                assert!(allowed.contains(&user), "{user} may not depend on {library}");
            }
        }
    }
}

#[test]
fn no_process_but_announcer_and_client_has_a_udp_socket() {
    // `tests/tests/discovery` sees it of a daemon that runs.
    for (path, text) in sources() {
        let own = ["discovery", "tests", "bench"].iter().any(|part| path.starts_with(part));
        if own || is_test(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            let udp = ["UdpSocket", "SocketType::DGRAM", "SOCK_DGRAM", "SocketType::RAW"];
            let mention = udp.iter().find(|word| line.contains(**word));
            assert!(mention.is_none(), "{}:{number}: {line}", path.display());
            let announces = path.ends_with("daemon/src/announce.rs");
            let names_it = line.contains("berth_discovery") || line.contains("berth_sandbox");
            // The command line has the type of a name.
            let typed = line.contains("use berth_discovery::InstanceName;");
            assert!(
                !path.starts_with("daemon") || announces || typed || !names_it,
                "{}:{number}: the daemon has this for `announce` alone: {line}",
                path.display()
            );
        }
    }
}

#[test]
fn the_processes_that_touch_files_do_not_hear_the_network() {
    for network in ["rustls", "tokio-rustls", "tokio", "actix"] {
        for directory in ["worker/filer", "worker/jail", "worker/sandbox", "common"] {
            assert!(!dependencies(directory, &["dependencies"]).contains(network), "{directory}");
        }
    }
}

#[test]
fn unsafe_stands_in_sys_modules_alone() {
    for (path, text) in sources() {
        if path.ends_with("sys.rs") {
            let blocks = text.matches("unsafe {").count();
            let reasons = text.matches("// SAFETY:").count();
            assert!(reasons >= blocks, "{}: {blocks} blocks, {reasons} reasons", path.display());
            continue;
        }
        let lines: Vec<_> = text.lines().collect();
        for (index, line) in lines.iter().enumerate() {
            let code = line.split("//").next().unwrap_or_default();
            let place = format!("{}:{}", path.display(), index + 1);
            // The rule's own words, here, stand in strings.
            let quoted = path.ends_with("house_rules.rs");
            assert!(quoted || !has_word(code, "unsafe"), "{place}: {line}");
            if code.contains("allow(unsafe_code)") && !quoted {
                let next = lines.get(index + 1).copied().unwrap_or_default();
                assert!(has_word(next, "sys"), "{place}: only a module `sys` may have this");
            }
        }
    }
}

#[test]
fn what_is_fuzzed_is_in_no_program_and_has_a_corpus() {
    for (name, directory) in MEMBERS {
        let library = root().join(directory).join("src/lib.rs");
        let text = fs::read_to_string(library).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        if let Some(at) = lines.iter().position(|line| *line == "pub mod fuzzing;") {
            let condition = lines[at - 1];
            assert!(condition.contains("any(fuzzing, test)"), "{name}: {condition}");
        }
    }
    let fuzz = root().join("fuzz");
    for target in berth_tests::disk::entries(&fuzz.join("fuzz_targets")) {
        let name = target.file_stem().unwrap();
        let corpus = berth_tests::disk::entries(&fuzz.join("corpus").join(name));
        assert!(!corpus.is_empty(), "{} has no corpus", target.display());
        assert!(fuzz.join("dictionaries").join(name).exists(), "{}", target.display());
    }
}

#[test]
fn what_is_benchmarked_is_in_no_program() {
    let library = fs::read_to_string(root().join("daemon/src/lib.rs")).unwrap();
    assert!(library.contains("#[cfg(feature = \"bench\")]\npub mod benching;\n"));
    let features = &manifest("daemon")["features"];
    assert!(features["bench"].as_array().unwrap().is_empty() && features.get("default").is_none());
}

#[test]
fn every_source_begins_with_what_it_is_for() {
    for (path, text) in sources() {
        assert!(text.starts_with("//! "), "{} has no module doc", path.display());
    }
}

#[test]
fn nothing_outside_tests_can_panic_on_purpose() {
    const FORBIDDEN: [&str; 5] = [".unwrap()", ".expect(", "todo!(", "unimplemented!(", "dbg!("];
    for (path, text) in sources() {
        if is_test(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            for call in FORBIDDEN {
                assert!(!line.contains(call), "{}:{number}: {line}", path.display());
            }
        }
    }
}

#[test]
fn the_library_says_nothing_to_a_person_and_asks_no_environment() {
    let seen = sources().into_iter().filter(|(path, _)| path.starts_with("client/src"));
    let seen: Vec<_> = seen.filter(|(path, _)| !is_test(path)).collect();
    assert!(seen.len() > 30, "only {} sources", seen.len());
    for (path, text) in seen {
        for (number, line) in code(&text) {
            for call in ["println!", "print!", "process::exit", "ExitCode", "env::", "is_terminal"]
            {
                assert!(!line.contains(call), "{}:{number}: {line}", path.display());
            }
        }
    }
}

#[test]
fn tests_wait_on_conditions_and_not_for_a_time() {
    for (path, text) in sources() {
        // The one helper that may poll is `wait.rs`.
        let allowed = path.ends_with("house_rules.rs") || path.ends_with("src/wait.rs");
        if !path.starts_with("tests") || allowed {
            continue;
        }
        for wait in ["sleep(", "park_timeout("] {
            assert!(!text.contains(wait), "{} has {wait}…)", path.display());
        }
    }
}

#[test]
fn worker_and_filer_use_no_metadata_by_path() {
    // `std::fs` reaches for statx and openat, which the sandbox will end a process for.
    for (path, text) in sources() {
        let sandboxed = path.starts_with("worker/session") || path.starts_with("worker/filer");
        if !sandboxed || is_test(&path) {
            continue;
        }
        for (number, line) in code(&text) {
            for call in ["fs::metadata(", ".metadata()", "File::open(", "fs::read", "fs::write("] {
                assert!(!line.contains(call), "{}:{number}: {line}", path.display());
            }
        }
    }
}

#[test]
fn every_tool_is_a_script_that_stops_at_the_first_failure() {
    let mut scripts = berth_tests::disk::entries(&root().join("tools"));
    scripts.retain(|path| path.extension().is_some_and(|extension| extension == "sh"));
    scripts.push(root().join(".ci").join("run"));
    assert!(scripts.len() > 2);
    for script in scripts {
        let text = fs::read_to_string(&script).unwrap();
        assert!(text.starts_with("#!/usr/bin/env bash\n"), "{}", script.display());
        let sourced = text.contains("# Sourced by the other scripts");
        assert!(sourced || text.contains("set -euo pipefail"), "{}", script.display());
    }
}

#[test]
fn the_packages_have_the_version_of_the_programs() {
    let version = manifest("")["workspace"]["package"]["version"].clone();
    let changelog = fs::read_to_string(root().join("debian/changelog")).unwrap();
    let packaged = changelog.split(['(', ')']).nth(1).unwrap();
    let (upstream, _) = packaged.rsplit_once('-').unwrap();
    assert_eq!(Some(upstream), version.as_str());
}
