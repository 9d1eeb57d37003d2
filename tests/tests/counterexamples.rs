//! The counterexamples of the ledger's protocol, L1 to L8, on real processes: two sessions of one user are
//! steered by the points into the very interleaving that would break a simpler protocol.
//!
//! Where a rule can be taken away, a twin of the test does so and shows that the check of the ledger
//! against the disk sees the fault: a check that cannot fail proves nothing. The rules behind other
//! counterexamples (R8, R9, R10, R12) are here with their twins, too.

#![cfg(debug_assertions)]

use std::path::PathBuf;

use berth_common::points::{Point::*, Rule};
use berth_tests::exact::{assert_exact, faults_at_rest};
use berth_tests::exit::NO_ROOM;
use berth_tests::files::assert_same;
use berth_tests::{Client, Content, Options, Outcome, Points, Server, Stopped, ledger, wait_until};

/// Bytes of `a`, of `d/b`, and of what is put over `a`.
const OLD: u64 = 2000;
const INNER: u64 = 1000;
const NEW: u64 = 3000;

/// The start of all runs: `a` and `d/b` in the home, `new` at the client; and two clients.
struct Scene {
    points: Points,
    server: Server,
    first: Client,
    second: Client,
}

impl Scene {
    /// With all rules, or without one, and with room for so many bytes beside what is there.
    fn new(without: Option<Rule>, room: u64) -> Self {
        let points = Points::new();
        let server = Server::start(Options::new().points(&points));
        server.add_user("alice", "a", &format!("{}B", OLD + INNER + room));
        let (first, second) = (server.client("alice", "a"), server.client("alice", "a"));
        for (seed, (name, size)) in [("a", OLD), ("b", INNER), ("new", NEW)].into_iter().enumerate()
        {
            Content::seed(seed as u64).write(&first.file(name), size);
            Content::seed(seed as u64).write(&second.file(name), size);
        }
        first.run(&["mkdir", "d"]).ok();
        first.run(&["put", "a"]).ok();
        first.run(&["put", "b", "--to", "d/"]).ok();
        if let Some(rule) = without {
            points.rule_off(rule);
        }
        Self { points, server, first, second }
    }

    /// With room for everything.
    fn roomy(without: Option<Rule>) -> Self {
        // A file that stays, so that no sum gets below zero by a fault.
        let scene = Self::new(without, 1 << 20);
        Content::seed(9).write(&scene.first.file("stays"), 50_000);
        scene.first.run(&["put", "stays"]).ok();
        scene
    }

    fn home(&self, path: &str) -> PathBuf {
        self.server.home("alice").join(path)
    }

    #[track_caller]
    fn assert_is(&self, remote: &str, local: &str) {
        assert_same(&self.first.file(local), &self.home(remote));
    }

    #[track_caller]
    fn assert_free(&self, remote: &str) {
        assert!(!self.home(remote).exists(), "{remote} is there");
    }

    /// What the ledger has used and reserved in bytes, and the limit.
    fn sums(&self) -> (i64, i64) {
        let sql = "SELECT used_bytes + reserved_bytes, limit_bytes FROM users";
        let db = ledger::open(&self.server.data());
        db.query_row(sql, [], |row| Ok((row.get(0)?, row.get(1)?))).unwrap()
    }

    /// Lets a filer go on until it waits for the ticket that another has.
    fn goes_on_to_wait(&self, stopped: Stopped<'_>) {
        let asked = self.points.passed(TicketAsked);
        stopped.go_on();
        wait_until("the ticket is asked for", || self.points.passed(TicketAsked) > asked);
    }

    /// The first client begins, sees what is there and is held up before its intent. The second then
    /// takes something out of the home and measures it, is held up while the first goes on, and settles.
    fn while_taken(&self, first: &[&str], second: &[&str]) -> (Outcome, Outcome) {
        let (going, one) = self.points.stop(BeforeIntent, &self.first, first);
        let (taking, other) = self.points.stop(Synced, &self.second, second);
        one.go_on();
        let outcome = going.wait();
        other.go_on();
        (outcome, taking.wait().ok())
    }

    /// The first client is held up before its intent while the second does something from its begin to
    /// its end.
    fn meanwhile(&self, first: &[&str], second: &[&[&str]]) -> Outcome {
        let (going, stopped) = self.points.stop(BeforeIntent, &self.first, first);
        for command in second {
            self.second.run(command).ok();
        }
        stopped.go_on();
        going.wait()
    }
}

/// Claims that a home without a rule is not what the ledger says.
#[track_caller]
fn assert_fault(scene: &Scene, about: &str) {
    let faults = faults_at_rest(&scene.server);
    assert!(
        faults.iter().any(|fault| fault.contains(about)),
        "no fault of {about:?} in {faults:?}"
    );
}

// L1.

fn rename_out_of_a_deleted_directory(scene: &Scene) -> Outcome {
    scene.while_taken(&["mv", "d/b", "c"], &["rm", "-r", "d"]).0
}

#[test]
fn a_rename_out_of_a_directory_that_is_being_deleted_is_not_credited_twice() {
    let scene = Scene::roomy(None);
    rename_out_of_a_deleted_directory(&scene).failed();
    scene.assert_free("c");
    scene.assert_free("d");
    assert_exact(&scene.server);
}

#[test]
fn without_r1_a_rename_out_of_a_deleted_directory_is_credited_twice() {
    let scene = Scene::roomy(Some(Rule::R1));
    rename_out_of_a_deleted_directory(&scene).ok();
    scene.assert_is("c", "b");
    assert_fault(&scene, "a walk finds");
}

// L2.

fn put_into_a_deleted_directory(scene: &Scene) -> Outcome {
    scene.while_taken(&["put", "new", "--to", "d/c"], &["rm", "-r", "d"]).0
}

#[test]
fn a_put_into_a_directory_that_is_being_deleted_is_not_charged_and_lost() {
    let scene = Scene::roomy(None);
    put_into_a_deleted_directory(&scene).failed();
    scene.assert_free("d");
    assert_exact(&scene.server);
}

#[test]
fn without_r1_a_put_into_a_deleted_directory_is_charged_and_lost() {
    let scene = Scene::roomy(Some(Rule::R1));
    // Acknowledged, and gone.
    put_into_a_deleted_directory(&scene).ok();
    scene.assert_free("d");
    assert_fault(&scene, "a walk finds");
}

// L3.

#[test]
fn a_put_does_not_swap_a_directory_away_that_came_to_its_name() {
    let scene = Scene::roomy(None);
    scene.meanwhile(&["put", "new", "--to", "e"], &[&["mv", "d", "e"]]).failed();
    scene.assert_is("e/b", "b");
    assert_exact(&scene.server);
}

#[test]
fn a_directory_does_not_come_to_a_name_between_a_puts_look_and_its_rename() {
    let scene = Scene::roomy(None);
    let (putting, stopped) =
        scene.points.stop(Resolved, &scene.first, &["put", "new", "--to", "e"]);
    let asked = scene.points.passed(TicketAsked);
    let moving = scene.second.spawn(&["mv", "d", "e"]);
    wait_until("the second asks for the ticket", || scene.points.passed(TicketAsked) > asked);
    scene.assert_free("e");
    stopped.go_on();
    putting.wait().ok();
    moving.wait().failed();
    scene.assert_is("e", "new");
    scene.assert_is("d/b", "b");
    assert_exact(&scene.server);
}

// L4.

/// The second deletes what the first counted on, and fills the room.
fn overwrite_whose_target_is_deleted(scene: &Scene) -> Outcome {
    let second: [&[&str]; 2] = [&["rm", "a"], &["put", "a", "--to", "x"]];
    scene.meanwhile(&["put", "new", "--to", "a"], &second)
}

#[test]
fn an_overwrite_whose_old_file_was_deleted_meanwhile_is_admitted_anew() {
    let scene = Scene::new(None, NEW - OLD);
    overwrite_whose_target_is_deleted(&scene).code_is(NO_ROOM);
    scene.assert_free("a");
    scene.assert_is("x", "a");
    assert_exact(&scene.server);
}

#[test]
fn without_r2_an_overwrite_of_a_deleted_file_exceeds_the_quota() {
    let scene = Scene::new(Some(Rule::R2), NEW - OLD);
    drop(overwrite_whose_target_is_deleted(&scene));
    scene.assert_is("a", "new");
    assert_fault(&scene, "its limits are");
}

// L5.

/// The second replaces what the first counted on by a smaller file, and has not settled that.
fn overwrite_of_a_file_that_shrank(scene: &Scene) -> (i64, i64) {
    let command = ["put", "new", "--to", "a"];
    let (putting, one) = scene.points.stop(BeforeIntent, &scene.first, &command);
    let (moving, other) = scene.points.stop(Synced, &scene.second, &["mv", "d/b", "a"]);
    one.go_on();
    drop(putting.wait());
    let (sum, limit) = scene.sums();
    other.go_on();
    moving.wait().ok();
    (sum, limit)
}

#[test]
fn an_overwrite_of_a_file_that_shrank_meanwhile_is_admitted_anew() {
    let scene = Scene::new(None, NEW - OLD);
    let (sum, limit) = overwrite_of_a_file_that_shrank(&scene);
    assert!(sum <= limit, "{sum} used and reserved of {limit}");
    scene.assert_is("a", "b");
    assert_exact(&scene.server);
}

#[test]
fn without_r2_an_overwrite_of_a_smaller_file_exceeds_the_quota() {
    let scene = Scene::new(Some(Rule::R2), NEW - OLD);
    let command = ["put", "new", "--to", "a"];
    let (putting, one) = scene.points.stop(BeforeIntent, &scene.first, &command);
    let (moving, other) = scene.points.stop(Synced, &scene.second, &["mv", "d/b", "a"]);
    one.go_on();
    drop(putting.wait());
    scene.assert_is("a", "new");
    // However the daemon takes it, or its replay: what was placed is charged.
    wait_until("used and reserved exceed the limit", || {
        let (sum, limit) = scene.sums();
        sum > limit
    });
    other.go_on();
    drop(moving.wait());
}

// L6.

#[test]
fn a_file_that_is_renamed_over_does_not_live_on_under_another_name() {
    let scene = Scene::roomy(None);
    let (moving, first) = scene.points.stop(BeforeIntent, &scene.first, &["mv", "a", "c"]);
    let (over, second) = scene.points.stop(Linked, &scene.second, &["mv", "d/b", "a"]);
    scene.goes_on_to_wait(first);
    scene.assert_free("c");
    second.go_on();
    over.wait().ok();
    moving.wait().ok();
    // What came to `a` went on to `c`; what was there before is gone, and credited once.
    scene.assert_is("c", "b");
    scene.assert_free("a");
    scene.assert_free("d/b");
    assert_exact(&scene.server);
}

#[test]
fn a_file_that_is_being_renamed_over_is_served_meanwhile() {
    let scene = Scene::roomy(None);
    let (over, renaming) = scene.points.stop(Linked, &scene.second, &["mv", "d/b", "a"]);
    // It has two links now, of which one is the pin.
    scene.first.run(&["get", "a", "--to", "got"]).ok();
    assert_same(&scene.first.file("a"), &scene.first.file("got"));
    let stat = scene.first.run(&["--json", "stat", "a"]).ok().json_lines();
    assert_eq!((&stat[0]["kind"], &stat[0]["size"]), (&"file".into(), &OLD.into()));
    let listed = scene.first.run(&["--json", "ls"]).ok().json_lines();
    assert!(
        listed.iter().any(|entry| entry["name"] == "a" && entry["kind"] == "file"),
        "{listed:?}"
    );
    // What changes it waits, and finds what came: the put a smaller file than it saw, so that it asks again.
    let (putting, put) =
        scene.points.stop(BeforeIntent, &scene.first, &["put", "new", "--to", "a"]);
    scene.goes_on_to_wait(put);
    renaming.go_on();
    over.wait().ok();
    putting.wait().ok();
    scene.assert_is("a", "new");
    let (over, renaming) = scene.points.stop(Linked, &scene.second, &["mv", "stays", "a"]);
    let (removing, remove) = scene.points.stop(BeforeIntent, &scene.first, &["rm", "a"]);
    scene.goes_on_to_wait(remove);
    renaming.go_on();
    over.wait().ok();
    removing.wait().ok();
    scene.assert_free("a");
    scene.assert_free("stays");
    assert_exact(&scene.server);
}

// L7.

#[test]
fn a_rename_over_that_is_killed_between_its_two_calls_swaps_nothing() {
    let scene = Scene::roomy(None);
    let command = ["put", "new", "--to", "a"];
    let (putting, first) = scene.points.stop(BeforeIntent, &scene.first, &command);
    let (over, second) = scene.points.stop(Linked, &scene.second, &["mv", "d/b", "a"]);
    scene.goes_on_to_wait(first);
    scene.assert_is("a", "a");
    second.kill();
    over.wait().failed();
    // It gets the ticket when the pin is gone.
    putting.wait().ok();
    scene.assert_is("a", "new");
    scene.assert_is("d/b", "b");
    assert_exact(&scene.server);
}

// L8.

fn overwrite_that_is_killed_after_the_exchange(scene: &Scene) {
    let command = ["put", "new", "--to", "a"];
    let (putting, stopped) = scene.points.stop(Acted, &scene.first, &command);
    stopped.kill();
    putting.wait().failed();
}

#[test]
fn what_an_exchange_left_in_staging_is_not_taken_for_the_upload() {
    let scene = Scene::roomy(None);
    overwrite_that_is_killed_after_the_exchange(&scene);
    scene.assert_is("a", "new");
    assert_exact(&scene.server);
}

#[test]
fn without_r3_what_an_exchange_left_is_taken_for_the_upload() {
    let scene = Scene::roomy(Some(Rule::R3));
    overwrite_that_is_killed_after_the_exchange(&scene);
    scene.assert_is("a", "new");
    assert_fault(&scene, "a walk finds");
}

// R8: a delete that is killed before it is settled.

fn delete_that_is_killed_before_its_settle(scene: &Scene) {
    let (deleting, stopped) = scene.points.stop(Synced, &scene.first, &["rm", "a"]);
    stopped.kill();
    deleting.wait().failed();
    scene.assert_free("a");
}

#[test]
fn a_delete_that_is_not_settled_is_credited_by_what_stands_in_staging() {
    let scene = Scene::roomy(None);
    delete_that_is_killed_before_its_settle(&scene);
    assert_exact(&scene.server);
}

#[test]
fn without_r8_a_delete_that_is_not_settled_is_not_credited() {
    let scene = Scene::roomy(Some(Rule::R8));
    delete_that_is_killed_before_its_settle(&scene);
    assert_fault(&scene, "a walk finds");
}

// R9: a refused put that is killed before its row is dropped.

fn refused_put_that_is_killed(scene: &Scene) {
    let command = ["put", "-n", "new", "--to", "e"];
    let (putting, one) = scene.points.stop(BeforeIntent, &scene.first, &command);
    scene.second.run(&["put", "a", "--to", "e"]).ok();
    scene.points.arm(Synced);
    one.go_on();
    scene.points.wait_stopped(Synced).kill();
    putting.wait().failed();
    scene.assert_is("e", "a");
}

#[test]
fn a_refused_put_is_not_charged() {
    let scene = Scene::roomy(None);
    refused_put_that_is_killed(&scene);
    assert_exact(&scene.server);
}

#[test]
fn without_r9_a_refused_put_is_charged() {
    let scene = Scene::roomy(Some(Rule::R9));
    refused_put_that_is_killed(&scene);
    assert_fault(&scene, "a walk finds");
}

// R10: a filer that hangs under the ticket while its worker dies.

fn filer_that_outlives_its_worker(scene: &Scene) {
    Content::seed(7).write(&scene.first.file("large"), 3 << 20);
    scene.server.berthctl(&["quota", "set", "alice", "--bytes", "1GiB"]).ok();
    let (putting, filer) = scene.points.stop(Resolved, &scene.first, &["put", "large"]);
    let session = scene.server.session_of("alice");
    assert_eq!(session.filer, Some(filer.pid));
    scene.points.arm(ReplaySettled);
    scene.server.kill_child(session.worker);
    let daemon = scene.points.wait_stopped(ReplaySettled);
    assert_eq!(daemon.pid, scene.server.pid());
    daemon.go_on();
    // If it is there still: its last system call.
    filer.go_on();
    putting.wait().failed();
}

#[test]
fn a_filer_that_hangs_is_reaped_before_its_rows_are_replayed() {
    let scene = Scene::roomy(None);
    filer_that_outlives_its_worker(&scene);
    assert_exact(&scene.server);
    scene.assert_free("large");
    scene.first.run(&["put", "large"]).ok();
    scene.assert_is("large", "large");
}

#[test]
fn without_r10_a_filer_that_hangs_renames_after_the_replay() {
    let scene = Scene::roomy(Some(Rule::R10));
    filer_that_outlives_its_worker(&scene);
    assert_fault(&scene, "a walk finds");
}

// R12: what a daemon that was killed had in memory alone.

fn daemon_that_is_killed_with_a_small_upload(scene: &mut Scene) {
    let (putting, _) = scene.points.stop(BeforeIntent, &scene.first, &["put", "new"]);
    scene.server.kill_daemon();
    putting.wait().failed();
    scene.points.disarm(BeforeIntent);
    scene.server.restart();
}

#[test]
fn a_small_upload_of_a_daemon_that_was_killed_is_swept() {
    let mut scene = Scene::roomy(None);
    daemon_that_is_killed_with_a_small_upload(&mut scene);
    assert_exact(&scene.server);
}

#[test]
fn without_r12_a_small_upload_of_a_daemon_that_was_killed_stays_in_staging() {
    let mut scene = Scene::roomy(Some(Rule::R12));
    daemon_that_is_killed_with_a_small_upload(&mut scene);
    assert_fault(&scene, "without a row");
}
