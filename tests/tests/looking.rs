//! Looking around: listings in columns and colours, trees, sums, bars, and what the line to the server is like.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use berth_tests::listing::make_directory;
use berth_tests::terminal::{Key, Terminal};
use berth_tests::{Client, Options, Server, account};
use serde_json::json;

/// A name that would clear the screen, move the cursor and colour what follows.
const HOSTILE: &str = "\x1b[2J\x1b[9;9H\x1b[35mx";

/// One that would end the line, and one that would turn the direction of writing.
const OTHERS: [&str; 2] = ["new\nline", "exe\u{202e}gpj.png"];

/// Makes a file of this size in alice's home, beside the ledger: for looking it does not matter.
fn make(server: &Server, path: &str, size: u64) {
    let file = server.home("alice").join(path);
    for directory in Path::new(path).parent().unwrap().ancestors().collect::<Vec<_>>().iter().rev()
    {
        let directory = server.home("alice").join(directory);
        if !directory.exists() {
            fs::create_dir(&directory).unwrap();
            account::give(&directory);
        }
    }
    File::create(&file).unwrap().set_len(size).unwrap();
    account::give(&file);
}

fn server(files: &[(&str, u64)]) -> (Server, Client) {
    let server = Server::start(Options::new());
    server.add_user("alice", "a", "unlimited");
    for (path, size) in files {
        make(&server, path, *size);
    }
    let alice = server.client("alice", "a");
    (server, alice)
}

fn drawn(client: &Client, arguments: &[&str], columns: u16) -> Terminal {
    let mut terminal = client.on_terminal(arguments, columns, 30);
    assert_eq!(terminal.wait_exit(), Some(0), "{}", terminal.printed());
    terminal
}

#[test]
fn ls_fills_the_width_of_the_terminal_with_columns() {
    let names = ["日本語", "写真.png", "一", "b", "🚢", "long-name.txt"];
    let files: Vec<(&str, u64)> = names.into_iter().map(|name| (name, 1)).collect();
    let (server, alice) = server(&files);
    fs::create_dir(server.home("alice").join("dir")).unwrap();
    account::give(&server.home("alice").join("dir"));

    let wide = drawn(&alice, &["ls"], 80);
    assert_eq!(wide.screen().text(), "b  dir  long-name.txt  一  写真.png  日本語  🚢");
    let narrow = drawn(&alice, &["ls"], 30);
    let screen = narrow.screen();
    assert_eq!(
        screen.lines()[..3],
        ["b              一        🚢", "dir            写真.png", "long-name.txt  日本語"]
    );
    for (name, place) in [("一", (0, 15)), ("写真", (1, 15)), ("日本語", (2, 15)), ("🚢", (0, 25))]
    {
        assert_eq!(screen.find(name), Some(place), "{name}");
    }
    assert_eq!(screen.cursor(), (3, 0));
    let colour =
        |screen: &berth_tests::terminal::Screen, name: &str| screen.cell_of(name).fgcolor();
    assert_eq!(colour(&screen, "dir"), vt100::Color::Idx(4));
    assert_eq!(colour(&screen, "写真"), vt100::Color::Default);

    // Colours are the user's choice, and never for those who want none.
    let own = alice.clone().env("LS_COLORS", "di=32:*.png=31");
    let screen = drawn(&own, &["ls"], 80).screen();
    assert_eq!(colour(&screen, "dir"), vt100::Color::Idx(2));
    assert_eq!(colour(&screen, "写真"), vt100::Color::Idx(1));
    assert_eq!(colour(&screen, "日本語"), vt100::Color::Default);
    for (name, value) in [("NO_COLOR", "1"), ("TERM", "dumb")] {
        let plain = drawn(&own.clone().env(name, value), &["ls"], 80);
        assert!(!plain.printed().contains('\x1b'), "{name}: {:?}", plain.printed());
    }
    let piped = own.run(&["--color", "always", "ls"]).ok().stdout;
    assert!(piped.contains("\x1b[32mdir\x1b[0m\n"), "{piped:?}");
    let piped = own.run(&["ls"]).ok().stdout;
    assert_eq!(piped, "b\ndir\nlong-name.txt\n一\n写真.png\n日本語\n🚢\n");
    assert_eq!(drawn(&alice, &["ls", "-1", "--color=never"], 80).screen().text() + "\n", piped);
}

#[test]
fn a_hostile_name_does_not_drive_the_terminal() {
    let (_server, alice) = server(&[
        (HOSTILE, 3 << 20),
        (OTHERS[0], 2),
        (OTHERS[1], 3),
        (&format!("d{HOSTILE}/{HOSTILE}"), 4),
    ]);
    let alice = alice.env("NO_COLOR", "1").env("LC_ALL", "C.UTF-8");
    let shown = "\\u{1b}[2J\\u{1b}[9;9H\\u{1b}[35mx";
    for command in [
        &["ls"][..],
        &["ls", "-l"],
        &["ls", "-1"],
        &["tree"],
        &["tree", "-s"],
        &["du"],
        &["ls", "/", "/"],
    ] {
        let terminal = drawn(&alice, command, 100);
        let (printed, screen) = (terminal.printed(), terminal.screen());
        assert!(!printed.contains(['\x1b', '\u{202e}']), "{command:?}: {printed:?}");
        assert!(printed.contains(shown), "{command:?}: {printed:?}");
        assert!(command == ["du"] || printed.contains("new\\nline"), "{command:?}: {printed:?}");
        let lines = printed.matches('\n').count();
        assert_eq!(usize::from(screen.cursor().0), lines, "{command:?}");
    }
    // With colours the only sequences are those of the colours.
    let coloured = drawn(&alice.clone().env("NO_COLOR", ""), &["ls"], 100).printed();
    let left = coloured.replace("\x1b[1;34m", "").replace("\x1b[0m", "");
    assert!(left.len() < coloured.len() && !left.contains('\x1b'), "{coloured:?}");
    // Bars have sequences of their own, and none of the name's.
    let got = drawn(&alice, &["get", HOSTILE], 100).printed();
    assert!(got.contains("\\u{1b}[2J"), "{got:?}");
    for sequence in ["\x1b[2J", "\x1b[9;9H", "\x1b[35m"] {
        assert!(!got.contains(sequence), "{got:?}");
    }
}

#[test]
fn ls_sorts_by_time_and_size_and_has_a_table() {
    let (server, alice) = server(&[("a", 5), ("b", 2000), ("c", 5), (".d", 30)]);
    let times = [("a", 400), ("b", 100), ("c", 300), (".d", 200)];
    for (name, seconds) in times {
        let file = File::options().write(true).open(server.home("alice").join(name)).unwrap();
        file.set_modified(SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)).unwrap();
    }
    let listed = |arguments: &[&str]| {
        let listed = alice.run(arguments).ok().stdout;
        listed.lines().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(listed(&["ls"]), [".d", "a", "b", "c"]);
    assert_eq!(listed(&["ls", "-t"]), ["a", "c", ".d", "b"]);
    assert_eq!(listed(&["ls", "-S"]), ["b", ".d", "a", "c"]);
    assert_eq!(listed(&["ls", "-Sr"]), ["c", "a", ".d", "b"]);
    let table = listed(&["ls", "-lS"]);
    let columns: Vec<Vec<&str>> =
        table.iter().map(|line| line.split_whitespace().collect()).collect();
    let sizes: Vec<&str> = columns.iter().map(|columns| columns[1]).collect();
    assert_eq!(sizes, ["2000", "30", "5", "5"]);
    assert!(table.iter().all(|line| line.len() - columns[0][4].len() >= 35), "{table:?}");
    let ends: Vec<_> =
        table.iter().zip(sizes).map(|(line, size)| line.find(size).unwrap() + size.len()).collect();
    assert_eq!(ends, [ends[0]; 4], "sizes are aligned: {table:?}");
    assert!(listed(&["ls", "-l", "--human"])[2].contains(" 2.0 KiB "));
    let names = alice.run(&["--json", "ls", "-t"]).ok().json_lines();
    let names: Vec<_> = names.iter().map(|entry| entry["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["a", "c", ".d", "b"]);
}

#[test]
fn a_large_directory_is_listed_unsorted_and_a_note_says_so() {
    const ENTRIES: usize = 10_001;
    let (server, alice) = server(&[]);
    make_directory(&server, "alice", "large", ENTRIES);
    let listed = alice.run(&["ls", "-t", "large"]).ok();
    assert_eq!(listed.stdout.lines().count(), ENTRIES);
    listed.says("ls /large: not sorted, since it has more than 10000 entries");
    assert_eq!(alice.run(&["ls", "large"]).ok().stderr, "");
    let tree = alice.run(&["tree", "large"]).ok().stdout;
    assert!(tree.ends_with("\n0 directories, 10001 files\n"));
    assert_eq!(tree.matches("\n`-- ").count(), 1);
    assert_eq!(alice.run(&["du", "large"]).ok().stdout, "0\t/large\n");
}

const TREE: &[(&str, u64)] =
    &[("a/1", 10), ("a/deep/down/2", 200), ("a/deep/3", 3000), ("b/日本", 40_000), ("z", 500_000)];

#[test]
fn a_tree_is_drawn_with_boxes_or_in_ascii() {
    let (_server, alice) = server(TREE);
    let boxes = alice.clone().env("LC_ALL", "de_DE.UTF-8");
    let screen = drawn(&boxes, &["tree"], 60).screen();
    assert_eq!(
        screen.text(),
        "/\n├── a\n│   ├── 1\n│   └── deep\n│       ├── 3\n│       └── down\n\
         │           └── 2\n├── b\n│   └── 日本\n└── z\n\n4 directories, 5 files"
    );
    assert_eq!(screen.cell_of("deep").fgcolor(), vt100::Color::Idx(4));
    assert_eq!(screen.cell_of("│").fgcolor(), vt100::Color::Default);
    let ascii = alice.clone().env("LC_ALL", "C");
    let run = |arguments: &[&str]| ascii.run(arguments).ok().stdout;
    assert_eq!(
        run(&["tree", "-L", "2", "-s"]),
        "/\n|-- [          -]  a\n|   |-- [         10]  1\n|   `-- [          -]  deep\n\
         |-- [          -]  b\n|   `-- [      40000]  日本\n`-- [     500000]  z\n\n\
         3 directories, 3 files\n"
    );
    assert_eq!(run(&["tree", "-d", "a"]), "/a\n`-- deep\n    `-- down\n\n2 directories\n");
    assert_eq!(run(&["tree", "-L", "1", "a"]), "/a\n|-- 1\n`-- deep\n\n1 directory, 1 file\n");
    let lines = alice.run(&["--json", "tree", "a"]).ok().json_lines();
    assert_eq!(lines.last(), Some(&json!({ "summary": { "directories": 2, "files": 3 } })));
    assert_eq!(lines[3]["path"], "/a/deep/down");
    alice.run(&["tree", "z"]).failed().says("tree /z: ");
    alice.run(&["tree", "missing"]).code_is(5).says("tree /missing: ");
}

#[test]
fn sizes_are_summed_by_directory() {
    let (_server, alice) = server(TREE);
    let run = |arguments: &[&str]| alice.run(arguments).ok().stdout;
    assert_eq!(run(&["du"]), "200\t/a/deep/down\n3200\t/a/deep\n3210\t/a\n40000\t/b\n543210\t/\n");
    assert_eq!(run(&["du", "-s"]), "543210\t/\n");
    assert_eq!(run(&["du", "-d", "1", "--human"]), "3.1 KiB\t/a\n39.1 KiB\t/b\n530.5 KiB\t/\n");
    assert_eq!(run(&["du", "-s", "b", "z"]), "40000\t/b\n500000\t/z\n");
    let lines = alice.run(&["--json", "du", "-s", "a"]).ok().json_lines();
    assert_eq!(lines, [json!({ "path": "/a", "bytes": 3210, "files": 3, "directories": 2 })]);
    let partly = alice.run(&["du", "missing", "b"]).code_is(5);
    assert_eq!(partly.stdout, "40000\t/b\n");
}

#[test]
fn df_has_a_bar_on_a_terminal_whose_colour_is_that_of_the_threshold() {
    let (server, alice) = server(&[]);
    alice.write("f", vec![0; 8000]);
    alice.run(&["put", "f"]).ok();
    for (limit, bar, colour) in [
        ("10000", "[################----] 80%", 3),
        ("8100", "[###################-] 98%", 1),
        ("20000", "[########------------] 40%", 2),
    ] {
        server.berthctl(&["quota", "set", "alice", "--bytes", limit]).ok();
        let screen = drawn(&alice, &["df"], 80).screen();
        assert!(screen.lines()[1].ends_with(bar), "{}", screen.text());
        assert_eq!(screen.cell_of("[").fgcolor(), vt100::Color::Idx(colour), "{limit}");
        assert_eq!(screen.lines()[2].split_whitespace().last(), Some("-"), "{}", screen.text());
    }
    let narrow = drawn(&alice, &["df"], 60).screen();
    assert!(
        narrow.lines()[1].ends_with("40%") && !narrow.text().contains('['),
        "{}",
        narrow.text()
    );
    let piped = alice.run(&["df"]).ok().stdout;
    assert!(piped.contains("   40%\n") && !piped.contains('['), "{piped}");
}

#[test]
fn info_tells_what_the_server_and_the_connection_are() {
    let (server, alice) = server(&[]);
    server.berthctl(&["quota", "set", "alice", "--bytes", "1MiB"]).ok();
    let told = alice.run(&["info"]).ok().stdout;
    let row = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(&format!("{name}:")));
        line.unwrap_or_else(|| panic!("no {name} in:\n{told}")).trim().to_owned()
    };
    assert!(row("server").starts_with("berthd/"), "{told}");
    assert_eq!(row("address"), format!("{0} ({0})", server.address()));
    assert_eq!(row("fingerprint"), server.fingerprint());
    assert_eq!((row("protocol"), row("user")), ("berth/1, version 1".into(), "alice".into()));
    assert!(row("encryption").starts_with("TLS 1.3, TLS_"), "{told}");
    assert_eq!(
        (row("bytes"), row("transfers")),
        ("0 B used of 1.0 MiB".into(), "8 at once".into())
    );
    assert_eq!(row("entries"), "0 used of unlimited");
    assert!(row("latency").ends_with(" ms (median of 5 echoes)"), "{told}");
    let object = alice.run(&["--json", "info"]).ok().json();
    assert_eq!((&object["user"], &object["tls"]), (&json!("alice"), &json!("TLS 1.3")));
    assert_eq!(object["quota"]["bytes"]["limit"], 1 << 20);
    assert!(object["latency_seconds"].as_f64().is_some_and(|seconds| seconds > 0.0));
}

#[test]
fn ping_tells_round_trips_and_a_rate() {
    let (server, alice) = server(&[]);
    let told = alice.run(&["ping", "-c", "3", "-i", "0"]).ok().stdout;
    let lines: Vec<&str> = told.lines().collect();
    assert_eq!(lines[0], format!("PING {0} ({0}) 56 bytes", server.address()));
    for (number, line) in lines[1..4].iter().enumerate() {
        let start = format!("56 bytes: seq={} time=", number + 1);
        assert!(line.starts_with(&start) && line.ends_with(" ms"), "{told}");
    }
    assert_eq!(lines[4..6], ["", &format!("--- {} ping statistics ---", server.address())]);
    assert!(lines[6].starts_with("3 sent, 3 received, time "), "{told}");
    assert!(lines[7].starts_with("round trip min/median/p90/p99/max = "), "{told}");

    let many = alice.run(&["--json", "ping", "-c", "500", "-i", "0"]).ok().json_lines();
    assert_eq!((many.len(), &many[499]["seq"]), (501, &json!(500)));
    let summary = &many[500]["summary"];
    assert_eq!((&summary["sent"], &summary["received"]), (&json!(500), &json!(500)));
    let trips = &summary["round_trip_seconds"];
    let ascending: Vec<f64> = ["min", "median", "p90", "p99", "max"]
        .iter()
        .map(|name| trips[*name].as_f64().unwrap())
        .collect();
    assert!(ascending[0] > 0.0 && ascending.is_sorted(), "{trips}");

    let rate = alice.run(&["ping", "--bytes", "10M"]).ok().stdout;
    assert!(
        rate.starts_with("10.0 MiB there and back in ") && rate.ends_with("/s each way\n"),
        "{rate}"
    );
    let rate = &alice.run(&["--json", "ping", "--bytes", "100001"]).ok().json_lines()[0]["summary"];
    assert_eq!(rate["bytes"], 100_001);
    assert!(rate["bytes_per_second"].as_u64().is_some_and(|rate| rate > 0));
}

#[test]
fn ctrl_c_ends_a_ping_with_its_statistics() {
    let (_server, alice) = server(&[]);
    let mut terminal = alice.on_terminal(&["ping", "-i", "3600"], 80, 24);
    terminal.wait_for_text("seq=1 time=");
    terminal.press(Key::CtrlC);
    assert_eq!(terminal.wait_exit(), Some(130));
    let text = terminal.screen().text();
    let statistics = text.find("ping statistics").unwrap_or_else(|| panic!("{text}"));
    assert!(text[statistics..].contains("1 sent, 1 received"), "{text}");
    assert!(text[statistics..].contains("berth: interrupted"), "{text}");
}
