//! A transfer that is cut anywhere goes on where it stopped: no leaf that the journal had at the
//! cut is sent again, in either direction, whichever process died.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime};

use berth_common::limits::LEAF_SIZE;
use berth_tests::disk::{only_journal_leaves, walk};
use berth_tests::exit::INTERRUPTED;
use berth_tests::files::{Content, assert_same};
use berth_tests::log::Line;
use berth_tests::{Client, Options, Running, Server, account, wait_for, wait_until};

/// Leaves of the file that is moved: enough to be cut half way on a fast machine.
const LEAVES: u64 = 1600;
const SIZE: u64 = LEAVES * LEAF_SIZE as u64 - 1000;

/// Who dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Client,
    Worker,
    Filer,
    Daemon,
}

/// Which way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Put,
    Get,
}

/// A server, a client and a file on the side where the transfer begins.
struct Scene {
    server: Server,
    alice: Client,
    way: Way,
    random: Content,
}

impl Scene {
    fn new(way: Way) -> Self {
        let server = Server::start(Options::new());
        server.add_user("alice", "a", "1GiB");
        let alice = server.client("alice", "a");
        let clock = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap();
        let seed = clock.as_nanos() as u64;
        eprintln!("seed {seed}");
        let mut random = Content::seed(seed);
        random.write(&alice.file("big"), SIZE);
        let scene = Self { server, alice, way, random };
        if way == Way::Get {
            scene.alice.run(&["put", "big"]).ok();
            fs::create_dir(scene.back_dir()).unwrap();
            account::give(&scene.back_dir());
        }
        scene
    }

    fn back_dir(&self) -> PathBuf {
        self.alice.file("back")
    }

    fn start(&self) -> Running {
        match self.way {
            Way::Put => self.alice.spawn(&["put", "big"]),
            Way::Get => self.alice.spawn(&["get", "big", "--to", "back/big"]),
        }
    }

    /// Leaves that the receiver's journal has.
    fn journal(&self) -> u64 {
        match self.way {
            Way::Put => only_journal_leaves(&self.server.staging("alice")),
            Way::Get => only_journal_leaves(&self.back_dir()),
        }
    }

    /// Starts the transfer, cuts it when the journal has at least `leaves`, and returns how many
    /// the journal has when all is quiet.
    fn cut(&mut self, victim: Victim, leaves: u64) -> u64 {
        // The session of the try before may be just ending.
        self.server.wait_for_no_session_of("alice");
        let mut running = self.start();
        // Asked for while there is time: the transfer goes on meanwhile.
        let session = self.server.session_of("alice");
        wait_until("the journal has grown", || {
            assert!(!running.has_ended(), "the transfer ended before it was cut");
            self.journal() >= leaves
        });
        match victim {
            Victim::Client => running.kill(),
            Victim::Worker => {
                self.server.kill_child(session.worker);
                running.wait().code_is(3);
            }
            Victim::Filer => {
                self.server.kill_child(session.filer.unwrap());
                // The connection holds, and the server says that something went wrong.
                running.wait().failed().says("again to go on");
            }
            Victim::Daemon => {
                self.server.kill_daemon();
                running.wait().code_is(3);
                // Before the restart: what recovery does must not lose a leaf.
                let had = self.journal();
                self.server.restart();
                self.alice =
                    self.alice.clone().at(self.server.address(), self.server.fingerprint());
                return had;
            }
        }
        self.server.wait_for_no_session_of("alice");
        self.journal()
    }

    /// Lets the transfer go to its end, and returns what the daemon logged about it.
    fn finish(&self) -> Line {
        let mark = self.server.log().mark();
        self.start().wait().ok();
        let direction = match self.way {
            Way::Put => "put",
            Way::Get => "get",
        };
        let what = "the end of the transfer is logged";
        let ended = |line: &Line| line.is_success_of(direction);
        self.server.log().wait_after(mark, what, ended)
    }

    fn check_result(&self) {
        let result = match self.way {
            Way::Put => self.server.home("alice").join("big"),
            Way::Get => self.back_dir().join("big"),
        };
        assert_same(&self.alice.file("big"), &result);
        if self.way == Way::Get {
            assert_eq!(walk(&self.back_dir()).entries, 1, "no .part file or journal is left");
        }
        self.server.assert_at_rest("alice");
    }
}

/// Cuts a transfer twice at random points, and lets it end.
fn goes_on_after_the_death_of(victim: Victim, way: Way) {
    let mut scene = Scene::new(way);
    let first = scene.random.below(LEAVES / 3) + 8;
    let had = scene.cut(victim, first);
    assert!(had >= first, "the journal had {first} leaves and has {had} after the cut");
    let second = had + 8 + scene.random.below((LEAVES - had) / 3);
    // A cut in the second half may come too late on a fast machine; the first has shown it then.
    let had = if second + LEAVES / 5 < LEAVES { scene.cut(victim, second) } else { had };

    let ended = scene.finish();
    let (resumed, moved) =
        (ended.number("resumed_leaves").unwrap(), ended.number("moved_leaves").unwrap());
    eprintln!("{victim:?} {way:?}: had {had}, resumed {resumed}, moved {moved} of {LEAVES}");
    assert!(resumed >= had, "the journal had {had} leaves, and only {resumed} counted");
    assert_eq!(resumed + moved, LEAVES, "each of the other leaves is sent once");
    scene.check_result();
}

#[test]
fn a_put_goes_on_after_the_client_is_killed() {
    goes_on_after_the_death_of(Victim::Client, Way::Put);
}

#[test]
fn a_put_goes_on_after_the_worker_is_killed() {
    goes_on_after_the_death_of(Victim::Worker, Way::Put);
}

#[test]
fn a_put_goes_on_after_the_filer_is_killed() {
    goes_on_after_the_death_of(Victim::Filer, Way::Put);
}

#[test]
fn a_put_goes_on_after_the_daemon_is_killed() {
    goes_on_after_the_death_of(Victim::Daemon, Way::Put);
}

#[test]
fn a_get_goes_on_after_the_client_is_killed() {
    goes_on_after_the_death_of(Victim::Client, Way::Get);
}

#[test]
fn a_get_goes_on_after_the_worker_is_killed() {
    goes_on_after_the_death_of(Victim::Worker, Way::Get);
}

#[test]
fn a_get_goes_on_after_the_filer_is_killed() {
    goes_on_after_the_death_of(Victim::Filer, Way::Get);
}

#[test]
fn a_get_goes_on_after_the_daemon_is_killed() {
    goes_on_after_the_death_of(Victim::Daemon, Way::Get);
}

#[test]
fn ctrl_c_leaves_a_resumable_state_and_says_so() {
    for way in [Way::Put, Way::Get] {
        let scene = Scene::new(way);
        let running = scene.start();
        wait_until("the journal has grown", || scene.journal() >= 50);
        running.interrupt();
        running.wait().code_is(INTERRUPTED).says("again to go on");
        scene.server.wait_for_no_session_of("alice");
        let had = scene.journal();
        let ended = scene.finish();
        assert!(ended.number("resumed_leaves").unwrap() >= had);
        scene.check_result();
    }
}

#[test]
fn a_put_over_a_file_goes_on_too_and_the_old_file_stays_until_then() {
    let mut scene = Scene::new(Way::Put);
    scene.alice.write("old", "the old content");
    scene.alice.run(&["put", "old", "--to", "big"]).ok();
    for victim in [Victim::Worker, Victim::Daemon] {
        let had = scene.journal();
        scene.cut(victim, had + 100);
        let content = fs::read_to_string(scene.server.home("alice").join("big")).unwrap();
        assert_eq!(content, "the old content");
    }
    scene.finish();
    scene.check_result();
}

#[test]
fn an_open_upload_is_listed_counts_against_the_quota_and_can_be_aborted() {
    let mut scene = Scene::new(Way::Put);
    scene.cut(Victim::Client, 50);
    let uploads = scene.alice.run(&["uploads", "--json"]).ok().json_lines();
    assert_eq!(uploads.len(), 1, "{uploads:?}");
    assert_eq!(uploads[0]["size"], SIZE);
    assert_eq!(scene.server.user("alice")["reserved_bytes"], SIZE);
    assert_eq!(scene.server.user("alice")["uploads"], 1);
    let name = uploads[0]["id"].as_str().expect("an upload's ID").to_owned();
    scene.alice.run(&["uploads", "--abort", &name]).ok();
    scene.server.assert_at_rest("alice");
    let ended = scene.finish();
    assert_eq!(ended.number("resumed_leaves"), Some(0), "an aborted upload is gone");
    scene.check_result();
}

#[test]
fn another_client_takes_an_upload_over_only_when_it_has_been_silent_for_15_s() {
    let scene = Scene::new(Way::Put);
    let first = scene.start();
    wait_until("the journal has grown", || scene.journal() >= 50);
    berth_tests::process::signal(first.pid(), rustix::process::Signal::STOP);
    // The same user and file, at a client that does not know the token.
    let other = scene.server.client("alice", "a");
    let big = scene.alice.file("big");
    let put = ["put", big.to_str().unwrap(), "--to", "big"];
    let began = Instant::now();
    let mut refusals = 0;
    let outcome = wait_for("the other client may go on", || {
        let outcome = other.run(&put);
        if outcome.code == Some(0) {
            return Some(outcome);
        }
        refusals += 1;
        assert!(outcome.stderr.contains("another client is uploading"), "{outcome:?}");
        None
    });
    assert!(refusals > 0, "the upload was fresh: {outcome:?}");
    assert!(began.elapsed() >= Duration::from_secs(10), "after {:?}", began.elapsed());
    drop(first);
    scene.check_result();
}
