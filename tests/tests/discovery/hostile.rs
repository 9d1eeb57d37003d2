//! A hostile neighbour: packets that are malformed, forged or too many. They change the list and nothing else; the
//! list is bounded and escaped; and who announces goes on.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use berth_tests::{Announcer, Manager, Network, process, wait_until};

use crate::packets::{Sender, announcement, header, instance, malformed, name, question, record};
use crate::{Seeker, names};

/// Of a debug build. Without its bounds the client would pass this within the time of the flood.
const MOST_MEMORY: u64 = 64 << 20;

#[test]
fn malformed_packets_change_nothing() {
    let Some(network) = Network::new() else { return };
    let announcer = Announcer::start(&network.first, &["--name", "files"]);
    announcer.wait_for_name("files");
    let (seeker, sender) = (Seeker::new(), Sender::on(&network.second, "10.77.0.2"));
    let client = seeker.client();
    let mut listening =
        network.second.within(|| client.spawn(&["discover", "--json", "--for", "5"]));
    wait_until("it listens", || network.second.udp_sockets().len() == 3);
    let packets = malformed();
    let mut rounds = 0;
    while !listening.has_ended() {
        packets.iter().for_each(|packet| sender.send(packet));
        rounds += 1;
    }
    let found = listening.wait().ok();
    assert_eq!(names(&found.json_lines()), ["files"], "after {rounds} rounds");
    assert_eq!(found.stderr, "");
    // The announcer has heard them all as well.
    assert_eq!(names(&seeker.found(&network.second)), ["files"]);
    assert_eq!(announcer.log().after(0, |line| line.text.contains("panicked")).len(), 0);
}

#[test]
fn names_that_drive_terminals_are_escaped() {
    let Some(network) = Network::new() else { return };
    let sender = Sender::on(&network.second, "10.77.0.2");
    let hostile = [
        announcement(b"\x1b[2J\x1b]0;owned\x07", b"h1", b"\x0dversion=\x1b[31m", [10, 0, 0, 1]),
        announcement("a\nfake  10.0.0.6\u{202e}".as_bytes(), b"h\n2", b"", [10, 0, 0, 2]),
        announcement(b"\xff\xfe\x00", b"h3", b"\x09version=\xff", [10, 0, 0, 3]),
        // An address that would lead every client to itself.
        announcement(b"loop", b"h4", b"", [127, 0, 0, 1]),
        announcement(&[b'x'; 63], b"h5", b"", [10, 0, 0, 5]),
    ];
    let seeker = Seeker::new();
    let client = seeker.client();
    for (arguments, json) in
        [(&["discover", "--for", "2"][..], false), (&["discover", "--json", "--for", "2"], true)]
    {
        let mut listening = network.second.within(|| client.spawn(arguments));
        while !listening.has_ended() {
            hostile.iter().for_each(|packet| sender.send(packet));
            thread::yield_now();
        }
        let found = listening.wait().ok();
        let safe = |c: char| c == '\n' || !(c.is_control() || c == '\u{202e}');
        assert!(found.stdout.chars().all(safe), "{:?}", found.stdout);
        let rows = hostile.len() + usize::from(!json);
        assert_eq!(found.stdout.lines().count(), rows, "{}", found.stdout);
        assert!(!found.stdout.contains("127.0.0.1"), "{}", found.stdout);
    }
}

#[test]
fn a_flood_of_servers_fills_the_list_and_nothing_else() {
    let Some(network) = Network::new() else { return };
    let announcer = Announcer::start(&network.first, &["--name", "files"]);
    announcer.wait_for_name("files");
    let before = process::pss_bytes(announcer.pid());
    let seeker = Seeker::new();
    let client = seeker.client();
    let listening = network.second.within(|| client.spawn(&["discover", "--json", "--for", "4"]));
    wait_until("it listens", || network.second.udp_sockets().len() >= 2);
    let over = AtomicBool::new(false);
    let (found, peak, sent) = thread::scope(|scope| {
        let flood = scope.spawn(|| {
            let sender = Sender::on(&network.second, "10.77.0.2");
            let text = [vec![255], vec![b'x'; 255]].concat().repeat(30);
            let mut sent: u64 = 0;
            while !over.load(Ordering::Relaxed) {
                // Each a server, a host and nine kilobytes of its own; and records that no server goes with, which
                // a cache would keep for ever.
                let label = format!("fake {sent}");
                let host = format!("host-{sent}");
                sender.send(&announcement(label.as_bytes(), host.as_bytes(), &text, [10, 9, 9, 9]));
                let lonely = record(&name([host.as_bytes()]), 16, u32::MAX, &text);
                sender.send(&[header(0x8400, [0, 1, 0, 0]), lonely].concat());
                sender.send(&question());
                sent += 3;
            }
            sent
        });
        let mut peak = 0;
        let mut listening = listening;
        while !listening.has_ended() {
            peak = process::try_peak_bytes(listening.pid()).unwrap_or(peak);
        }
        over.store(true, Ordering::Relaxed);
        (listening.wait().ok(), peak, flood.join().unwrap())
    });
    assert!(sent > 3000, "{sent} packets are no flood");
    assert_eq!(found.json_lines().len(), 256);
    found.says("more than 256 servers were announced");
    assert!(0 < peak && peak < MOST_MEMORY, "{peak} bytes after {sent} packets");
    // Who announces has kept nothing of it.
    let after = process::pss_bytes(announcer.pid());
    assert!(after < before + (4 << 20), "{before} bytes grew to {after} by {sent} packets");
    let again = seeker.found(&network.second);
    assert_eq!(names(&again), ["files"]);
}

#[test]
fn who_claims_every_name_is_answered_slowly() {
    let Some(network) = Network::new() else { return };
    let announcer = Announcer::start(&network.first, &["--name", "files"]);
    announcer.wait_for_name("files");
    let sender = Sender::on(&network.second, "10.77.0.2");
    // Whatever name it takes next is another's already.
    let claims: Vec<_> = (1..60)
        .map(|number| match number {
            1 => announcement(b"files", b"other", b"", [10, 77, 0, 9]),
            _ => {
                announcement(format!("files ({number})").as_bytes(), b"other", b"", [10, 77, 0, 9])
            }
        })
        .collect();
    let renames = || {
        let rename =
            |line: &berth_tests::log::Line| line.message().starts_with("another server has");
        announcer.log().after(0, rename).len()
    };
    wait_until("it has taken fifteen other names", || {
        claims.iter().for_each(|packet| sender.send(packet));
        renames() >= 14
    });
    let so_far = renames();
    for _ in 0..200 {
        claims.iter().for_each(|packet| sender.send(packet));
    }
    assert!(renames() <= so_far + 2, "{so_far} and then {}", renames());
    assert_eq!(announcer.terminate(), Some(0));
}

#[test]
fn who_has_every_name_keeps_the_announcer_from_announcing_and_not_from_being_ready() {
    let Some(network) = Network::new() else { return };
    let (manager, over) = (Manager::new(), AtomicBool::new(false));
    let address = manager.address();
    let labels =
        std::iter::once("files".to_owned()).chain((2..40).map(|it| format!("files ({it})")));
    let claim = |label: String| announcement(label.as_bytes(), b"other", b"", [10, 77, 0, 9]);
    let claims: Vec<_> = labels.map(claim).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            let sender = Sender::on(&network.second, "10.77.0.2");
            while !over.load(Ordering::Relaxed) {
                claims.iter().for_each(|packet| sender.send(packet));
            }
        });
        let environment = [("NOTIFY_SOCKET", address.as_str())];
        let announcer =
            Announcer::with_environment(&network.first, &["--name", "files"], &environment);
        // Whatever comes of it, the other thread has to end.
        let said = catch_unwind(AssertUnwindSafe(|| {
            announcer.log().wait_after(0, "a name is taken", |line| {
                line.message().starts_with("another server has")
            });
            manager.wait_after(0, "READY=1")
        }));
        over.store(true, Ordering::Relaxed);
        assert_eq!(said.expect("it is ready"), ["READY=1"], "and not announced");
        assert_eq!(announcer.terminate(), Some(0));
    });
}

#[test]
fn what_is_sent_to_the_machine_itself_is_not_heard() {
    let Some(network) = Network::new() else { return };
    let announcer = Announcer::start(&network.first, &["--name", "files"]);
    announcer.wait_for_name("files");
    let sender = Sender::on(&network.second, "10.77.0.2");
    // A claim that would make it ask for its name again, if it came by the group.
    let claim = announcement(b"files", b"other", b"", [10, 77, 0, 9]);
    let good_bye = [
        header(0x8400, [0, 1, 0, 0]),
        record(&name(crate::packets::SERVICE), 12, 0, &instance(b"files")),
    ];
    for _ in 0..100 {
        sender.send_to(&claim, "10.77.0.1");
        sender.send_to(&good_bye.concat(), "10.77.0.1");
    }
    assert_eq!(names(&Seeker::new().found(&network.second)), ["files"]);
    let renamed = announcer.log().after(0, |line| line.message().starts_with("another"));
    assert!(renamed.is_empty());
}
