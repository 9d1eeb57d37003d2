//! One user's storm: round after round of operations and kills, each followed by a check at rest.

use std::any::Any;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::administrator;
use super::arena::Arena;
use super::bounds::Bounds;
use super::connection::Helpers;
use super::events;
use super::history::{Explained, Operation, explain};
use super::plan::{self, Kill, Planned, Victim};
use super::rest::{self, Compared, Rest};
use super::session::{Session, user_name};
use super::shared::Shared;
use super::tally::Killed;
use super::tree::Tree;
use super::{Fault, number_of};

/// Recovering filers of a user that are killed before a state of rest. After one more the daemon
/// gives up, as it should, and makes the home read-only.
const MOST_RECOVERING: u32 = 2;

/// A kill that is due.
struct Order {
    due: Instant,
    session: usize,
    kill: Kill,
}

/// Plays a user's rounds until enough was killed, or somebody has found a fault.
///
/// # Errors
/// The fault that was found here.
pub fn storm(arena: &Arena, seed: u64, user: usize, stop: &dyn Fn() -> bool) -> Result<(), Fault> {
    let shared = Shared::default();
    let mut sessions: Vec<_> =
        (0..plan::SESSIONS).map(|number| Session::new(user, number)).collect();
    let mut compared = Compared::default();
    let mut before = Rest::default();
    let mut strikes = arena.strikes();
    for round in 0.. {
        if stop() || arena.tally.is_complete() {
            return Ok(());
        }
        let limits = plan::limits_in(seed, user, round);
        arena.set_limits(&user_name(user), limits);
        *shared.bounds() = Bounds::new(limits, before.there);
        let (operations, panic) = play(arena, &shared, &mut sessions, (seed, user, round));
        // Now: others go on killing while this one waits for its rest.
        let kills = arena.tally.kills();
        let fault =
            |what: String| fault(arena, (user, round, kills), &before.tree, &operations, what);
        if let Some(panic) = panic {
            return Err(fault(panic));
        }
        let (begun, until_rest) = (Instant::now(), arena.strikes());
        let after = at_rest(arena, user, &shared, &mut sessions, &mut compared);
        let after = after.map_err(&fault)?;
        let took = begun.elapsed();
        let all_were_struck = strikes.is_none() || strikes != arena.strikes();
        if let Some(what) = shared.unexplained(all_were_struck) {
            return Err(fault(what));
        }
        // What struck while this user came to rest may be felt in the next round as well.
        strikes = until_rest;
        let explained = explain(&before.tree, &after.tree, &operations);
        if explained == Explained::No {
            let what = "no order of the operations explains the home".to_owned();
            return Err(fault(format!("{what}; at the end:\n{}", after.tree)));
        }
        arena.tally.rested(took, explained);
        before = after;
    }
    Ok(())
}

/// All sessions do what the round has for them, while the kills strike. What was done, and what
/// somebody panicked with.
fn play(
    arena: &Arena,
    shared: &Shared,
    sessions: &mut [Session],
    (seed, user, round): (u64, usize, u64),
) -> (Vec<Operation>, Option<String>) {
    thread::scope(|scope| {
        let (orders, due) = channel();
        let killer = scope.spawn(move || strike(arena, shared, user, &due));
        let events = events::in_round(seed, user, round);
        let (over, is_over) = channel();
        let beside =
            scope.spawn(move || administrator::work(arena, shared, user, &events, &is_over));
        let running: Vec<_> = sessions
            .iter_mut()
            .enumerate()
            .map(|(number, session)| {
                let planned = plan::round(seed, user, round, number);
                let orders = orders.clone();
                let numbers = (0..).map(move |op| number_of(user, round, number, op));
                scope.spawn(move || act(arena, shared, session, &orders, &planned, numbers))
            })
            .collect();
        drop(orders);
        let (mut operations, mut panic) = (Vec::new(), None);
        for session in running {
            match session.join() {
                Ok(done) => operations.extend(done),
                Err(payload) => panic = Some(text_of(&*payload)),
            }
        }
        drop::<Sender<()>>(over);
        for thread in [killer, beside] {
            if let Err(payload) = thread.join() {
                panic = Some(text_of(&*payload));
            }
        }
        (operations, panic)
    })
}

fn act(
    arena: &Arena,
    shared: &Shared,
    session: &mut Session,
    orders: &Sender<Order>,
    planned: &[Planned],
    numbers: impl Iterator<Item = u64>,
) -> Vec<Operation> {
    let mut done = Vec::new();
    for (Planned { action, kill }, number) in planned.iter().zip(numbers) {
        session.connect(arena, shared);
        if let Some(kill) = kill {
            let due = Instant::now() + kill.after;
            // The receiver ends after us, unless it has panicked.
            let _ = orders.send(Order { due, session: session.number(), kill: *kill });
        }
        done.extend(session.perform(arena, shared, action, number));
    }
    done
}

/// Carries orders out when they are due, or at the round's end.
fn strike(arena: &Arena, shared: &Shared, user: usize, orders: &Receiver<Order>) {
    let mut waiting: Vec<Order> = Vec::new();
    let mut recovering_left = MOST_RECOVERING;
    let mut over = false;
    while !over || !waiting.is_empty() {
        waiting.sort_by_key(|order| std::cmp::Reverse(order.due));
        let next = waiting.last().map(|order| order.due);
        let patience = match next {
            Some(due) => due.saturating_duration_since(Instant::now()),
            None => Duration::from_secs(3600),
        };
        if over || patience.is_zero() {
            if let Some(order) = waiting.pop() {
                carry_out(arena, shared, user, &order, &mut recovering_left);
            }
            continue;
        }
        match orders.recv_timeout(patience) {
            Ok(order) => waiting.push(order),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => over = true,
        }
    }
}

fn carry_out(arena: &Arena, shared: &Shared, user: usize, order: &Order, left: &mut u32) {
    if arena.tally.is_complete() {
        return;
    }
    let Kill { victim, recovering_after, .. } = order.kill;
    let name = user_name(user);
    let recovering_after = recovering_after.filter(|_| *left > 0);
    if victim == Victim::Daemon {
        *left -= u32::from(recovering_after.is_some());
        return arena.kill_daemon(recovering_after.map(|after| (name.as_str(), after)));
    }
    // A copy: what is killed here must not wait for who connects.
    let all = *shared.helpers();
    let own = order.session;
    let kill = |session: usize, worker: bool, filer: bool| {
        if let Some(Helpers { worker: worker_pid, filer: filer_pid }) = all[session] {
            shared.strike(session);
            let _ = worker && arena.kill_helper(worker_pid, Killed::Worker);
            let _ = filer && arena.kill_helper(filer_pid, Killed::Filer);
        }
    };
    match victim {
        Victim::Worker => kill(own, true, false),
        Victim::Filer => kill(own, false, true),
        Victim::Both => kill(own, true, true),
        Victim::All => (0..plan::SESSIONS).for_each(|session| kill(session, true, true)),
        Victim::Daemon => {}
    }
    if let Some(after) = recovering_after {
        let until = Instant::now() + after + Duration::from_millis(20);
        let found = crate::wait::within(until - Instant::now(), || {
            arena.kill_recovering(&name).then_some(())
        });
        *left -= u32::from(found.is_some());
    }
}

/// Waits until the user is at rest.
fn at_rest(
    arena: &Arena,
    user: usize,
    shared: &Shared,
    sessions: &mut [Session],
    compared: &mut Compared,
) -> Result<Rest, String> {
    let alive = |session: &mut Session| session.is_alive(shared);
    let alive: Vec<Helpers> = sessions.iter_mut().filter_map(alive).collect();
    let mut last = String::new();
    let bounds = shared.bounds().clone();
    let found = crate::wait::within(arena.patience, || {
        let now = shared.since(shared.tick());
        match rest::look(&arena.server(), user, &alive, (&bounds, now), compared) {
            Ok(rest) => Some(rest),
            Err(why) => {
                last = why;
                None
            }
        }
    });
    found.ok_or(last)
}

fn fault(
    arena: &Arena,
    (user, round, kills): (usize, u64, u64),
    before: &Tree,
    operations: &[Operation],
    what: String,
) -> Fault {
    let server = arena.server();
    let described = rest::describe(&server, user);
    let log = server.log().text();
    let lines: Vec<&str> = log.lines().collect();
    let tail = lines[lines.len().saturating_sub(80)..].join("\n");
    let mut in_order: Vec<&Operation> = operations.iter().collect();
    in_order.sort_by_key(|operation| operation.begun);
    let history: Vec<String> = in_order.iter().map(ToString::to_string).collect();
    let text = format!(
        "{what}\nuser{user}, round {round}, after {kills} kills\nbefore the round:\n{before}\
         operations:\n{}\n{described}--- the end of the daemon's log ---\n{tail}",
        history.join("\n"),
    );
    Fault { what, kills, text }
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<String>().cloned();
    text.or_else(|| payload.downcast_ref::<&str>().map(|text| (*text).to_owned()))
        .unwrap_or_else(|| "a panic".to_owned())
}
