//! What goes to the daemon together, message by message; the daemon is played by the test.

use std::cell::RefCell;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use berth_common::channel::Channel;
use berth_common::entry::Limits;
use berth_common::ledger_protocol::StagingSync;

use super::*;
use crate::changes::MOST_ACTING;
use crate::helper::Helper;
use crate::home::Seen;
use crate::staging::Staging;
use crate::tasks::Tasks;

type DaemonEnd = Channel<DaemonToFiler, FilerToDaemon>;

/// A ledger with operations, and the daemon's end of its channel.
struct Bench {
    ledger: Rc<Ledger>,
    tasks: Tasks,
    daemon: DaemonEnd,
    end: Rc<End>,
    /// Ends its threads when it is dropped.
    _helper: Helper,
    /// What the operations did, in order.
    done: Rc<RefCell<Vec<String>>>,
}

impl Bench {
    fn new() -> Self {
        let (daemon, channel) = DaemonEnd::pair().unwrap();
        daemon.set_nonblocking(true).unwrap();
        let end = Rc::new(End::default());
        let helper = Helper::start().unwrap();
        let ledger = Rc::new(Ledger::new(channel, Rc::clone(&end), helper.names()));
        Self { ledger, tasks: Tasks::default(), daemon, end, done: Rc::default(), _helper: helper }
    }

    /// A change that acts, and then waits to be settled if it has an intent.
    fn change(&self, label: &'static str, intent: Option<IntentItem>) {
        let (ledger, done) = (Rc::clone(&self.ledger), Rc::clone(&self.done));
        self.tasks.spawn(async move {
            let note = |what: &str| done.borrow_mut().push(format!("{label} {what}"));
            let act = |_| {
                note("acts");
                Ok(())
            };
            match ledger.with_ticket(intent, act).await {
                Err(_) => note("is refused"),
                Ok((None, ())) => note("goes on"),
                Ok((Some(name), ())) => {
                    note("goes on");
                    let settled = ledger.settle(name, Outcome::NotHappened).await;
                    note(if settled.is_ok() { "is settled" } else { "is not settled" });
                }
            }
        });
    }

    /// A file that is placed in `d`, and notes as what number the directory was found.
    fn places(&self, home: &Rc<Home>) {
        let (ledger, done, home) =
            (Rc::clone(&self.ledger), Rc::clone(&self.done), Rc::clone(home));
        self.tasks.spawn(async move {
            let intent =
                IntentItem::Stage { name: StagingName(7), inode: 1, size: 1, replaces: None };
            let act = |_| {
                let place = ledger.place(&home, &RelPath::new("d/x").unwrap()).unwrap();
                done.borrow_mut().push(Seen::of(place.parent()).unwrap().inode.to_string());
                Ok(())
            };
            let _ = ledger.with_ticket(Some(intent), act).await;
        });
    }

    /// A file that is placed where nothing stands, under the name `number`, and notes what that came to.
    fn places_where_free(&self, directory: &Path, number: u64) {
        let opened = || File::open(directory).unwrap();
        let (ledger, done) = (Rc::clone(&self.ledger), Rc::clone(&self.done));
        let home = Home::new(opened()).unwrap();
        let staging = Arc::new(Staging::new(opened(), StagingSync::FileSystem).unwrap());
        let name = StagingName(number);
        fs::write(directory.join(name.file_name()), "staged").unwrap();
        self.tasks.spawn(async move {
            let intent = IntentItem::Stage { name, inode: number, size: 6, replaces: None };
            let resolve = || {
                done.borrow_mut().push(format!("{number} is resolved"));
                let place = home.place(&RelPath::new(&format!("placed-{number}")).unwrap())?;
                let staging = Arc::clone(&staging);
                Ok(Rename { staging, name, inode: number, bytes: 6, place })
            };
            let renamed = ledger.with_ticket_to_place(intent, resolve).await.unwrap().unwrap();
            renamed.unwrap();
            done.borrow_mut().push(format!("{number} goes on"));
        });
    }

    /// A change that notes how many files are placed when it acts.
    fn counts(&self, directory: &Path) {
        let (ledger, done, directory) =
            (Rc::clone(&self.ledger), Rc::clone(&self.done), directory.to_owned());
        self.tasks.spawn(async move {
            let act = |_| {
                done.borrow_mut().push(format!("{} are placed", placed(&directory)));
                Ok(())
            };
            ledger.with_ticket(None, act).await.unwrap();
        });
    }

    /// Turns until something was sent, for what the thread that makes files does.
    fn turns(&self) -> Vec<FilerToDaemon> {
        let end = Instant::now() + Duration::from_secs(60);
        loop {
            let sent = self.turn();
            if !sent.is_empty() {
                return sent;
            }
            assert!(Instant::now() < end, "nothing was sent");
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// A change that might have moved a directory.
    fn moves(&self, intent: Option<IntentItem>) {
        let ledger = Rc::clone(&self.ledger);
        self.tasks.spawn(async move {
            match intent {
                Some(IntentItem::Take) => drop(ledger.with_ticket_to_take(|_| Ok(())).await),
                intent => drop(ledger.with_ticket(intent, |_| Ok(())).await),
            }
        });
    }

    /// One turn of the loop: what it sends.
    fn turn(&self) -> Vec<FilerToDaemon> {
        self.tasks.run_woken();
        self.ledger.send_waiting();
        std::iter::from_fn(|| self.daemon.recv().ok()).map(|it| it.message).collect()
    }

    /// The daemon's answer, and what it leads to.
    fn answered(&self, message: DaemonToFiler) -> Vec<FilerToDaemon> {
        self.ledger.deliver(message);
        self.turn()
    }

    fn done(&self) -> Vec<String> {
        self.done.take()
    }
}

fn placed(directory: &Path) -> usize {
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("placed-")).count()
}

fn granted(op: u32, names: impl IntoIterator<Item = u64>) -> DaemonToFiler {
    let names = names.into_iter().map(StagingName).collect();
    DaemonToFiler::Granted { op: OpId(op), names, reporting: false }
}

fn settled(op: u32) -> DaemonToFiler {
    let limits = Limits { bytes: None, entries: None };
    let usage =
        Usage { limits, used_bytes: 0, used_entries: 0, reserved_bytes: 0, reserved_entries: 0 };
    DaemonToFiler::Settled { op: OpId(op), usage }
}

fn intent(op: u32, count: usize) -> FilerToDaemon {
    FilerToDaemon::Intent { op: OpId(op), items: vec![IntentItem::Take; count], settle: None }
}

fn settling(op: u32, names: impl IntoIterator<Item = u64>) -> Settling {
    let item = |name| SettleItem { name: StagingName(name), outcome: Outcome::NotHappened };
    Settling { op: OpId(op), items: names.into_iter().map(item).collect() }
}

fn settle(op: u32, names: impl IntoIterator<Item = u64>) -> FilerToDaemon {
    let Settling { op, items } = settling(op, names);
    FilerToDaemon::Settle { op, items }
}

#[test]
fn changes_that_wait_go_together_and_settle_together() {
    let bench = Bench::new();
    bench.change("a", Some(IntentItem::Take));
    assert_eq!(bench.turn(), [intent(0, 1)]);
    bench.change("b", Some(IntentItem::Take));
    bench.change("c", None);
    bench.change("d", Some(IntentItem::Take));
    assert_eq!(bench.turn(), [], "the ticket is asked for");
    let sent = bench.answered(granted(0, [10]));
    let [released, next] = &sent[..] else { panic!("{sent:?}") };
    assert_eq!(*released, FilerToDaemon::Released { op: OpId(0) });
    // The settle of one batch is ready in the turn in which the next is stated.
    let FilerToDaemon::Intent { op, items, settle: Some(with) } = next else { panic!("{next:?}") };
    assert_eq!((items.len(), with), (2, &settling(1, [10])));
    assert_eq!(bench.done(), ["a acts", "a goes on"]);

    assert_eq!(bench.answered(settled(1)), []);
    assert_eq!(bench.done(), ["a is settled"], "it does not wait for the ticket");
    let sent = bench.answered(granted(op.0, [11, 12]));
    // The last one goes on first: it need not be woken.
    assert_eq!(sent, [FilerToDaemon::Released { op: *op }, settle(3, [12, 11])]);
    let order = ["b acts", "c acts", "d acts", "d goes on", "b goes on", "c goes on"];
    assert_eq!(bench.done(), order, "nobody goes on before the release");
    assert_eq!(bench.answered(settled(3)), []);
    assert_eq!(bench.done(), ["d is settled", "b is settled"]);
}

#[test]
fn a_settle_does_not_wait_for_an_intent() {
    let bench = Bench::new();
    bench.change("a", Some(IntentItem::Take));
    assert_eq!(bench.turn(), [intent(0, 1)]);
    let sent = bench.answered(granted(0, [10]));
    assert_eq!(sent, [FilerToDaemon::Released { op: OpId(0) }, settle(1, [10])]);
    bench.change("b", Some(IntentItem::Take));
    assert_eq!(bench.turn(), [intent(2, 1)], "nor an intent for a settle");
    assert_eq!(bench.answered(settled(1)), []);
    assert_eq!(bench.done()[2..], ["a is settled"]);
}

#[test]
fn a_batch_that_is_refused_for_one_is_carried_out_for_the_others() {
    let bench = Bench::new();
    for label in ["a", "b", "c"] {
        bench.change(label, Some(IntentItem::Take));
    }
    assert_eq!(bench.turn(), [intent(0, 3)]);
    let refused = |op| DaemonToFiler::Refused { op: OpId(op), error: ErrorCode::DiskFull };
    assert_eq!(bench.answered(refused(0)), [intent(1, 1)]);
    assert_eq!(bench.done(), [""; 0], "nobody was told anything");
    let sent = bench.answered(granted(1, [10]));
    assert_eq!(sent.len(), 2, "{sent:?}");
    assert_eq!(bench.done(), ["a acts", "a goes on"]);
    assert_eq!(bench.answered(refused(3)), [intent(4, 1)]);
    assert_eq!(bench.done(), ["b is refused"]);
    bench.answered(granted(4, [12]));
    assert_eq!(bench.done(), ["c acts", "c goes on"]);
    assert!(bench.end.take().is_none());
}

#[test]
fn a_home_that_is_read_only_refuses_a_whole_batch() {
    let bench = Bench::new();
    for label in ["a", "b"] {
        bench.change(label, Some(IntentItem::Take));
    }
    assert_eq!(bench.turn(), [intent(0, 2)]);
    let refused = DaemonToFiler::Refused { op: OpId(0), error: ErrorCode::ReadOnly };
    assert_eq!(bench.answered(refused), []);
    assert_eq!(bench.done(), ["a is refused", "b is refused"]);
}

#[test]
fn an_act_that_finds_what_cannot_be_keeps_the_ticket_and_ends_the_process() {
    let bench = Bench::new();
    let ledger = Rc::clone(&bench.ledger);
    bench.tasks.spawn(async move {
        let act = |_| Err::<(), _>(Broken("impossible".into()));
        let _ = ledger.with_ticket(Some(IntentItem::Take), act).await;
    });
    bench.change("b", Some(IntentItem::Take));
    assert_eq!(bench.turn(), [intent(0, 2)]);
    assert_eq!(bench.answered(granted(0, [10, 11])), []);
    assert_eq!(bench.done(), [""; 0], "the next does not act");
    assert!(bench.end.take().is_some());
}

#[test]
fn files_that_are_placed_are_there_before_anything_else_acts_and_before_the_release() {
    for count in [renames::FEW - 1, 3 * renames::FEW] {
        let directory = tempfile::tempdir().unwrap();
        let bench = Bench::new();
        bench.moves(None);
        let asked = bench.turn();
        assert_eq!(asked.len(), 1, "{asked:?}");
        let count = count as u64;
        (0..count).for_each(|number| bench.places_where_free(directory.path(), number));
        bench.counts(directory.path());
        (count..2 * count).for_each(|number| bench.places_where_free(directory.path(), number));
        let sent = bench.answered(granted(0, []));
        let Some(FilerToDaemon::Intent { op, .. }) = sent.last() else { panic!("{sent:?}") };
        bench.ledger.deliver(granted(op.0, 0..2 * count));
        assert_eq!(bench.turns(), [FilerToDaemon::Released { op: *op }]);
        assert_eq!(placed(directory.path()) as u64, 2 * count, "before the release");
        let done = bench.done();
        let resolved = (0..count).map(|number| format!("{number} is resolved"));
        assert_eq!(done[..count as usize], resolved.collect::<Vec<_>>());
        assert_eq!(done[count as usize], format!("{count} are placed"));
        let went_on = done.iter().position(|what| what.ends_with("goes on")).unwrap();
        assert_eq!(went_on as u64, 2 * count + 1, "nobody goes on before the release");
        assert_eq!(done.len() as u64, 4 * count + 1);
    }
}

#[test]
fn files_for_which_no_time_was_left_are_placed_under_the_next_ticket() {
    let directory = tempfile::tempdir().unwrap();
    let bench = Bench::new();
    for number in 0..3 {
        bench.places_where_free(directory.path(), number);
    }
    let late = Rc::clone(&bench.ledger);
    bench.tasks.spawn(async move {
        let act = |_| {
            std::thread::sleep(MOST_ACTING);
            Ok(())
        };
        late.with_ticket(None, act).await.unwrap();
    });
    for number in 3..6 {
        bench.places_where_free(directory.path(), number);
    }
    let sent = bench.turn();
    let [FilerToDaemon::Intent { op, .. }] = &sent[..] else { panic!("{sent:?}") };
    let sent = bench.answered(granted(op.0, 0..6));
    let [FilerToDaemon::Released { .. }, FilerToDaemon::Ticket { op }] = &sent[..] else {
        panic!("{sent:?}")
    };
    assert_eq!(placed(directory.path()), 3);
    let sent = bench.answered(granted(op.0, []));
    assert_eq!(sent, [FilerToDaemon::Released { op: *op }]);
    assert_eq!(placed(directory.path()), 6);
}

#[test]
fn names_that_are_gone_are_told_together() {
    let bench = Bench::new();
    (1..4).for_each(|name| bench.ledger.gone(StagingName(name)));
    let names = (1..4).map(StagingName).collect();
    assert_eq!(bench.turn(), [FilerToDaemon::Gone { names }]);
    assert_eq!(bench.turn(), []);
}

#[test]
fn a_directory_is_found_once_under_a_ticket_unless_something_may_have_moved_it() {
    let moves = [None, Some(IntentItem::Over), Some(IntentItem::Take)];
    for moved in moves {
        let directory = tempfile::tempdir().unwrap();
        let d = directory.path().join("d");
        fs::create_dir(&d).unwrap();
        let home = Rc::new(Home::new(File::open(directory.path()).unwrap()).unwrap());
        let bench = Bench::new();
        // Asks for the ticket by itself, so that what follows goes together.
        bench.moves(None);
        let asked = bench.turn();
        assert_eq!(asked.len(), 1, "{asked:?}");
        bench.places(&home);
        bench.places(&home);
        let with_intent = 3 + u64::from(moved.is_some());
        bench.moves(moved.clone());
        bench.places(&home);
        bench.tasks.run_woken();
        let first = fs::metadata(&d).unwrap().ino().to_string();
        let sent = bench.answered(granted(0, []));
        let Some(FilerToDaemon::Intent { op, .. }) = sent.last() else { panic!("{sent:?}") };
        let op = op.0;
        // What no session can do: so it is seen which one was found.
        bench.ledger.place(&home, &RelPath::new("d/x").unwrap()).unwrap();
        fs::rename(&d, directory.path().join("e")).unwrap();
        fs::create_dir(&d).unwrap();
        let second = fs::metadata(&d).unwrap().ino().to_string();
        bench.answered(granted(op, 7..7 + with_intent));
        assert_eq!(bench.done(), [first.clone(), first, second.clone()], "{moved:?}");

        fs::rename(&d, directory.path().join("f")).unwrap();
        fs::create_dir(&d).unwrap();
        let third = fs::metadata(&d).unwrap().ino().to_string();
        bench.places(&home);
        let sent = bench.turn();
        let Some(FilerToDaemon::Intent { op, .. }) = sent.last() else { panic!("{sent:?}") };
        bench.answered(granted(op.0, [17]));
        assert_eq!(bench.done(), [third], "nothing is kept when the ticket is given back");
    }
}
