//! Programs that want too much: of output, of time, of the processor, of memory, of processes and of places.

use std::fs::File;
use std::time::{Duration, Instant};

use berth_common::client_protocol::{ClientToWorker, WorkerToClient};
use berth_common::error_code::ErrorCode;
use berth_common::exec::{Arguments, EXEC_INPUT_WINDOW, MAX_EXEC_DATA, MOST_PROGRAMS, ProgramName};
use berth_common::ids::RequestId;
use berth_common::rel_path::RelPath;
use berth_tests::exit::{LIMIT, NOT_RUN};
use berth_tests::{Options, Raw, Server, wait_for};

use crate::scene::{PROGRAM, assert_gone, jailed, program, running, scene};

const MIB: u64 = 1 << 20;

#[test]
fn a_flood_of_output_is_cut_at_the_bound_to_the_byte() {
    let bound = 3 * MIB + 17;
    let (server, alice) = scene(Options::new().set(&format!("exec_output_bytes = {bound}")));
    let file = alice.file("flood");
    let output = File::create(&file).unwrap();
    let flood = ["exec", "-n", "--", PROGRAM, "flood"];
    alice.spawn_to(&flood, output.into()).wait().code_is(LIMIT).says(&format!("{bound} bytes"));
    assert_eq!(file.metadata().unwrap().len(), bound);
    // One that does not care that nobody reads is ended all the same, long before its time is over.
    let began = Instant::now();
    program(&alice, &["flood_on"]).code_is(LIMIT).says("of output");
    assert!(began.elapsed() < Duration::from_secs(20));
    let outcome = program(&alice, &["flood_errors"]).code_is(LIMIT);
    let floods = outcome.stderr.matches('f').count() as u64;
    assert!(floods >= bound && outcome.stdout.is_empty());
    assert!(jailed(&server).is_empty());
}

#[test]
fn a_client_that_takes_nothing_stops_the_program_and_fills_no_memory() {
    let (server, alice) = scene(Options::new().set("exec_seconds = 4"));
    let began = Instant::now();
    let mut flooding = alice.spawn(&["exec", "-n", "--", PROGRAM, "flood"]);
    let output = flooding.take_output();
    let processes = running(&server);
    let worker = server.sessions()[0].worker;
    assert_gone(&processes);
    assert!(began.elapsed() < Duration::from_secs(30));
    let peak = berth_tests::process::peak_bytes(worker);
    assert!(peak < 40 * MIB, "the worker had {peak} bytes");
    drop(output);
    drop(flooding);
}

#[test]
fn a_program_that_sleeps_is_ended_when_its_time_is_over() {
    let (server, alice) = scene(Options::new().set("exec_seconds = 1"));
    let sleep = ["exec", "-n", "--", "sleep", "600"];
    alice.run(&sleep).code_is(LIMIT).says("lets a program run for 1 s");
    assert!(jailed(&server).is_empty());
    // The session goes on.
    let shell = "-exec sleep 600\nexec ls\nexit\n";
    alice.spawn_with(&["shell"], shell.into()).wait().ok().says("1 s");
}

#[test]
fn a_program_that_burns_the_processor_is_ended_whatever_it_does_with_the_signal() {
    let (_server, alice) = scene(Options::new().set("exec_cpu_seconds = 1"));
    for habit in ["spin", "spin_on"] {
        program(&alice, &[habit]).code_is(LIMIT).says("1 s of the processor");
    }
}

#[test]
fn a_program_gets_no_more_memory_than_it_may_have() {
    let (_server, alice) = scene(Options::new().set("exec_memory_bytes = 67108864"));
    let told = program(&alice, &["hog"]).ok();
    let mebibytes: u64 = told.stdout.trim().parse().unwrap();
    assert!((20..=64).contains(&mebibytes), "{mebibytes}");
}

#[test]
fn a_program_starts_no_other_and_no_thread() {
    let (server, alice) = scene(Options::new());
    alice.make(&["file"]);
    alice.run(&["put", "file"]).ok();
    let find = ["exec", "-n", "--", "find", "file", "-exec", "cat", "{}", ";"];
    alice.run(&find).failed().says("not permitted");
    // It wants several threads, and sorts with one.
    alice.write("long", "b\na\n".repeat(200_000));
    alice.run(&["put", "long"]).ok();
    let sort = ["exec", "-n", "--", "sort", "--parallel=4", "-u", "long"];
    assert_eq!(alice.run(&sort).ok().stdout, "a\nb\n");
    assert!(jailed(&server).is_empty());
}

#[test]
fn a_session_and_the_server_run_so_many_programs_at_once_and_places_come_back() {
    let options = Options::new().set("max_programs_per_session = 1").set("max_programs = 4");
    let (server, alice) = scene(options);
    let sleep = ["exec", "-n", "--", "sleep", "600"];
    let mut sleeping: Vec<_> = (0..2).map(|_| alice.spawn(&sleep)).collect();
    berth_tests::wait_until("both run", || jailed(&server).len() == 6);
    let ls = ["exec", "-n", "--", "ls"];
    alice.run(&ls).code_is(NOT_RUN).says("more than 2 programs at once");
    sleeping.pop();
    wait_for("a place is free", || (alice.run(&ls).code == Some(0)).then_some(()));
    let processes = jailed(&server);
    // One in a session of its own, by hand: the second one is refused, and its number may be used again.
    let mut raw = login(&server);
    exec(&mut raw, 1, "sleep", &["600"]);
    assert!(matches!(answer(&mut raw, 1), WorkerToClient::ExecStarted { .. }));
    exec(&mut raw, 2, "ls", &[]);
    let refused = ErrorCode::TooManyPrograms { limit: 1 };
    assert!(
        matches!(answer(&mut raw, 2), WorkerToClient::Failed { error, .. } if error == refused)
    );
    raw.send(&ClientToWorker::Cancel { id: RequestId(1) });
    let cancelled = answer(&mut raw, 1);
    assert!(
        matches!(cancelled, WorkerToClient::Failed { error: ErrorCode::Cancelled, .. }),
        "{cancelled:?}"
    );
    exec(&mut raw, 1, "ls", &["-d", "."]);
    assert!(matches!(answer(&mut raw, 1), WorkerToClient::ExecStarted { .. }));
    drop((raw, sleeping));
    assert_gone(&processes);
}

#[test]
fn a_client_that_sends_more_than_it_may_loses_its_session_and_its_programs() {
    let (server, _alice) = scene(Options::new());
    let id = RequestId(1);
    let piece = move || ClientToWorker::ExecInput { id, data: vec![1; MAX_EXEC_DATA] };
    type Breach = Box<dyn Fn(&mut Raw)>;
    let too_much: Breach = Box::new(move |raw| {
        // A pipe takes some, which is acknowledged; beyond that and the window nothing may come.
        for _ in 0..(EXEC_INPUT_WINDOW / MAX_EXEC_DATA + 4) {
            raw.send(&piece());
        }
    });
    let empty: Breach =
        Box::new(move |raw| raw.send(&ClientToWorker::ExecInput { id, data: Vec::new() }));
    let after_the_end: Breach = Box::new(move |raw| {
        raw.send(&ClientToWorker::ExecInputEnd { id });
        raw.send(&ClientToWorker::ExecInput { id, data: vec![1] });
    });
    let ended_twice: Breach = Box::new(move |raw| {
        raw.send(&ClientToWorker::ExecInputEnd { id });
        raw.send(&ClientToWorker::ExecInputEnd { id });
    });
    let number_in_use: Breach = Box::new(move |raw| exec(raw, 1, "ls", &[]));
    for breach in [too_much, empty, after_the_end, ended_twice, number_in_use] {
        let mut raw = login(&server);
        exec(&mut raw, 1, "sleep", &["600"]);
        assert!(matches!(answer(&mut raw, 1), WorkerToClient::ExecStarted { .. }));
        let processes = running(&server);
        breach(&mut raw);
        assert_eq!(raw.closing(), Some(ErrorCode::Protocol));
        assert_gone(&processes);
    }
    // More at once than any session may have are refused by its worker, each by itself.
    let mut raw = login(&server);
    let many = 4 * MOST_PROGRAMS as u32;
    for number in 0..many {
        exec(&mut raw, number, "sleep", &["600"]);
    }
    let mut refused = 0;
    while refused < many - 2 {
        match raw.message() {
            WorkerToClient::Failed { error: ErrorCode::TooManyPrograms { .. }, .. } => refused += 1,
            WorkerToClient::ExecStarted { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    drop(raw);
    berth_tests::wait_until("nothing is left", || jailed(&server).is_empty());
}

/// A session of alice's, by hand.
fn login(server: &Server) -> Raw {
    Raw::login(server, "alice", "a")
}

/// The next message about this request, but for what was written or taken.
fn answer(raw: &mut Raw, id: u32) -> WorkerToClient {
    loop {
        let message = raw.message();
        let (about, is_news) = match &message {
            WorkerToClient::ExecStarted { id } | WorkerToClient::Failed { id, .. } => (*id, true),
            WorkerToClient::ExecOutput { id, .. } => (*id, false),
            other => panic!("{other:?}"),
        };
        if is_news && about == RequestId(id) {
            return message;
        }
    }
}

fn exec(raw: &mut Raw, id: u32, program: &str, arguments: &[&str]) {
    let arguments = arguments.iter().map(|word| word.as_bytes().to_vec()).collect();
    raw.send(&ClientToWorker::Exec {
        id: RequestId(id),
        program: ProgramName::new(program).unwrap(),
        arguments: Arguments::new(arguments).unwrap(),
        directory: RelPath::root(),
    });
}
