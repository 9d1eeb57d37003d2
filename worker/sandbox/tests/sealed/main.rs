//! The walls, each shown by an attempt from inside: what is refused, what ends the process, and what the log
//! is told.
//!
//! This program has no test harness, since its children, which are this program too, have to begin with one
//! thread. [`arguments`] has what it may be told.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    reason = "no test is confined, but for its children, which do what they are told"
)]

mod announcer;
mod arguments;
mod child;
#[allow(unsafe_code)]
mod sys;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};

use announcer::an_announcer_has_udp_and_neither_files_nor_tcp_nor_other_processes;
use arguments::Arguments;
use libc::{
    AT_FDCWD, MAP_ANONYMOUS, MAP_PRIVATE, MAP_SHARED, O_PATH, O_RDONLY, O_RDWR, PROT_EXEC,
    PROT_READ, RENAME_WHITEOUT, SIG_BLOCK, SIGABRT, SIGSEGV, SIGSYS,
};

/// Makes the list of tests with their names.
macro_rules! tests {
    ($($(#[$attribute:meta])* $test:ident,)*) => {
        [$($(#[$attribute])* (stringify!($test), $test as fn())),*]
    };
}

fn main() -> ExitCode {
    if let Some(name) = std::env::args().nth(1).as_deref().and_then(|it| it.strip_prefix(CHILD)) {
        child::run(name);
        return ExitCode::FAILURE;
    }
    let arguments = match Arguments::parse(std::env::args().skip(1)) {
        Ok(arguments) => arguments,
        Err(unknown) => {
            eprintln!("error: unknown argument {unknown:?}");
            return ExitCode::from(2);
        }
    };
    let tests = tests! {
        it_runs_what_it_was_asked_for_and_refuses_what_it_does_not_know,
        a_worker_is_ended_for_paths_sockets_processes_and_threads,
        the_helper_thread_has_the_same_table,
        arguments_count_where_the_call_alone_would_be_too_much,
        clone3_is_said_not_to_be_there,
        a_32_bit_call_ends_the_process,
        blocking_the_signal_saves_nobody,
        a_panic_is_an_abort_and_a_crash_is_a_crash,
        a_serving_filer_has_its_two_directories_and_nothing_else,
        a_recovering_filer_has_staging_alone_and_makes_nothing,
        a_walking_filer_only_reads_the_home,
        best_effort_leaves_nothing_out_that_the_kernel_has,
        a_thread_from_before_is_refused,
        an_announcer_has_udp_and_neither_files_nor_tcp_nor_other_processes,
        #[cfg(debug_assertions)]
        a_report_lets_a_forbidden_call_pass,
    };
    let meant = tests.into_iter().filter(|(name, _)| arguments.mean(name));
    if arguments.list {
        meant.for_each(|(name, _)| println!("{name}: test"));
        return ExitCode::SUCCESS;
    }
    let mut failed = 0;
    for (name, test) in meant {
        let passed = std::panic::catch_unwind(test).is_ok();
        println!("test {name} ... {}", if passed { "ok" } else { "FAILED" });
        failed += u32::from(!passed);
    }
    println!("test result: {failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn it_runs_what_it_was_asked_for_and_refuses_what_it_does_not_know() {
    let parse = |line: &str| Arguments::parse(line.split_whitespace().map(str::to_owned));
    let means = |line: &str, test: &str| parse(line).unwrap().mean(test);
    assert!(means("", "a_b") && means("--nocapture --test-threads 1", "a_b"));
    assert!(means("c a_", "a_b") && !means("c", "a_b"));
    assert!(means("--exact a_b", "a_b") && !means("--exact a_", "a_b"));
    assert!(!means("--ignored", "a_b"));
    for unknown in ["--skip", "--nocaptured", "-x", "--test-thread=1"] {
        assert_eq!(parse(&format!("a_b {unknown} c")), Err(unknown.to_owned()));
    }
}

/// What a child's only argument begins with.
const CHILD: &str = "child:";

/// The child's descriptors of its directories.
const HOME: i32 = 4;
const STAGING: i32 = 5;

/// A sealed process that tries what it is told, and its directories.
struct Sealed {
    process: Child,
    channel: UnixStream,
    answers: BufReader<UnixStream>,
    directory: tempfile::TempDir,
}

impl Sealed {
    /// Starts the child test `name`, which has a home with a file `f`, an empty staging, and a neighbour.
    fn start(name: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        ["home", "staging", "other"].iter().for_each(|name| fs::create_dir(path(name)).unwrap());
        ["home/f", "other/f"].iter().for_each(|name| fs::write(path(name), name).unwrap());
        let (mut channel, theirs) = UnixStream::pair().unwrap();
        let process = Command::new(std::env::current_exe().unwrap())
            .arg(format!("{CHILD}{name}"))
            .env_clear()
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        for name in ["home", "staging"] {
            writeln!(channel, "{}", path(name).display()).unwrap();
        }
        let answers = BufReader::new(channel.try_clone().unwrap());
        Self { process, channel, answers, directory }
    }

    /// Has it try something that it survives; the result, or the negative error number.
    fn attempt(&mut self, what: &str) -> i64 {
        writeln!(self.channel, "{what}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        line.trim_end().parse().unwrap_or_else(|_| panic!("{what}: {:?}", self.process.wait()))
    }

    /// Has it try something that ends it; how, and what it wrote to standard error.
    fn end(mut self, what: &str) -> (ExitStatus, String) {
        writeln!(self.channel, "{what}").unwrap();
        let mut line = String::new();
        // A process that is killed with unread input resets the channel.
        drop(self.answers.read_line(&mut line));
        assert_eq!(line, "", "{what} was survived");
        let mut text = String::new();
        self.process.stderr.take().unwrap().read_to_string(&mut text).unwrap();
        (self.process.wait().unwrap(), text)
    }
}

/// Asserts that a call ends such a process by SIGSYS, and that the last line it writes names the call.
#[track_caller]
fn is_forbidden(child: &str, thread: &str, number: i64, arguments: &str, name: &str) {
    let (status, text) = Sealed::start(child).end(&format!("{thread} {number} {arguments}"));
    assert_eq!(status.signal(), Some(SIGSYS), "{child}: {name}: {status:?} {text}");
    let expected = format!("forbidden system call {number} ({name})");
    assert_eq!(text.lines().last(), Some(&*expected), "{child}");
}

/// `openat2` of a path from the working directory.
fn open(path: &std::path::Path, flags: i32) -> String {
    format!("{} {AT_FDCWD} p:{} h:{flags} 24", libc::SYS_openat2, path.display())
}

const EACCES: i64 = -(libc::EACCES as i64);

fn a_worker_is_ended_for_paths_sockets_processes_and_threads() {
    let passwd = "p:/etc/passwd";
    for (number, arguments, name) in [
        (libc::SYS_openat, format!("{AT_FDCWD} {passwd} 0"), "openat"),
        (libc::SYS_openat2, format!("{AT_FDCWD} {passwd} h:0 24"), "openat2"),
        (libc::SYS_statx, format!("{AT_FDCWD} {passwd} 0 0 z"), "statx"),
        (libc::SYS_newfstatat, format!("{AT_FDCWD} {passwd} z 0"), "newfstatat"),
        (libc::SYS_readlinkat, format!("{AT_FDCWD} p:/proc/self/exe z 9"), "readlinkat"),
        (libc::SYS_fchmodat, format!("{AT_FDCWD} p:/nowhere 0"), "fchmodat"),
        (libc::SYS_socket, "2 1 0".to_owned(), "socket"),
        (libc::SYS_connect, "0 z 16".to_owned(), "connect"),
        (libc::SYS_sendmsg, "0 z 0".to_owned(), "sendmsg"),
        (libc::SYS_clone, "17 0 0 0 0".to_owned(), "clone"),
        (libc::SYS_execve, "p:/bin/true 0 0".to_owned(), "execve"),
        (libc::SYS_ptrace, "0 0 0 0".to_owned(), "ptrace"),
        (libc::SYS_prctl, "1 0".to_owned(), "prctl"),
        (libc::SYS_prlimit64, "0 7 0 z".to_owned(), "prlimit64"),
        (libc::SYS_kill, "1 0".to_owned(), "kill"),
        (libc::SYS_io_uring_setup, "1 z".to_owned(), "io_uring_setup"),
        (libc::SYS_landlock_create_ruleset, "0 0 1".to_owned(), "landlock_create_ruleset"),
    ] {
        is_forbidden("worker", "main", number, &arguments, name);
    }
}

fn the_helper_thread_has_the_same_table() {
    let arguments = format!("{AT_FDCWD} p:/etc/passwd 0");
    is_forbidden("worker", "helper", libc::SYS_openat, &arguments, "openat");
    is_forbidden("serving", "helper", libc::SYS_openat, &arguments, "openat");
    is_forbidden("serving", "helper", libc::SYS_socket, "2 1 0", "socket");
}

fn arguments_count_where_the_call_alone_would_be_too_much() {
    let anonymous = MAP_PRIVATE | MAP_ANONYMOUS;
    let shared = MAP_SHARED | MAP_ANONYMOUS;
    for (number, arguments, name) in [
        (libc::SYS_mmap, format!("0 4096 {} {anonymous} -1 0", PROT_READ | PROT_EXEC), "mmap"),
        (libc::SYS_mmap, format!("0 4096 {PROT_READ} {shared} -1 0"), "mmap"),
        (libc::SYS_mprotect, format!("0 4096 {}", PROT_READ | PROT_EXEC), "mprotect"),
        (libc::SYS_fcntl, format!("0 {} 1", libc::F_SETOWN), "fcntl"),
        (libc::SYS_ioctl, format!("0 {} z", libc::TIOCSTI), "ioctl"),
        (libc::SYS_sendto, "0 z 1 0 z 16".to_owned(), "sendto"),
        (libc::SYS_sendto, format!("0 z 1 {} 0 0", libc::MSG_FASTOPEN), "sendto"),
        (libc::SYS_tgkill, format!("1 1 {SIGABRT}"), "tgkill"),
        (libc::SYS_rt_sigaction, format!("{SIGSYS} z 0 8"), "rt_sigaction"),
    ] {
        is_forbidden("worker", "main", number, &arguments, name);
    }
    let pid = std::process::id();
    is_forbidden("serving", "main", libc::SYS_kill, &format!("{pid} 0"), "kill");
    let whiteout = format!("{HOME} p:f {HOME} p:g {RENAME_WHITEOUT}");
    is_forbidden("serving", "main", libc::SYS_renameat2, &whiteout, "renameat2");
    let by_path = format!("{HOME} p:f z 0");
    is_forbidden("serving", "main", libc::SYS_utimensat, &by_path, "utimensat");
}

fn clone3_is_said_not_to_be_there() {
    let mut worker = Sealed::start("worker");
    let answer = worker.attempt(&format!("main {} z 88", libc::SYS_clone3));
    assert_eq!(answer, -i64::from(libc::ENOSYS));
}

fn a_32_bit_call_ends_the_process() {
    if !cfg!(target_arch = "x86_64") {
        return;
    }
    let (status, _) = Sealed::start("worker").end("main 32-bit");
    assert_eq!(status.signal(), Some(SIGSYS));
}

fn blocking_the_signal_saves_nobody() {
    let mut worker = Sealed::start("worker");
    // The mask of zeros with SIG_SETMASK would unblock; so the page of text is taken as a mask of many.
    let mask =
        format!("main {} {SIG_BLOCK} p:{} 0 8", libc::SYS_rt_sigprocmask, "\u{7f}".repeat(8));
    assert_eq!(worker.attempt(&mask), 0);
    let (status, _) = worker.end(&format!("main {} 0 0 0 0", libc::SYS_ptrace));
    assert_eq!(status.signal(), Some(SIGSYS));
}

fn a_panic_is_an_abort_and_a_crash_is_a_crash() {
    for (child, thread) in [("worker", "main"), ("worker", "helper"), ("serving", "helper")] {
        let (status, text) = Sealed::start(child).end(&format!("{thread} panic"));
        assert_eq!(status.signal(), Some(SIGABRT), "{text}");
        assert!(text.contains("as it was told") && !text.contains("forbidden"), "{text}");
        let (status, text) = Sealed::start(child).end(&format!("{thread} crash"));
        assert_eq!(status.signal(), Some(SIGSEGV), "{text}");
    }
}

fn a_serving_filer_has_its_two_directories_and_nothing_else() {
    let mut filer = Sealed::start("serving");
    let path = |name: &str| filer.directory.path().join(name);
    let (own, other) = (path("home/f"), path("other/f"));
    let (root, passwd) = (path(""), std::path::Path::new("/etc/passwd"));
    for thread in ["main", "helper"] {
        let mut attempt = |what: &str| filer.attempt(&format!("{thread} {what}"));
        assert!(attempt(&open(&own, O_RDWR)) > 0);
        for path in [&other, &root, passwd] {
            assert_eq!(attempt(&open(path, O_RDONLY)), EACCES, "{thread}: {path:?}");
        }
        // What Landlock leaves: that it is there.
        assert!(attempt(&open(passwd, O_PATH)) > 0);
        let make = |at: i32, name: &str| format!("{} {at} p:{name} 448", libc::SYS_mkdirat);
        assert_eq!(attempt(&make(HOME, &format!("d-{thread}"))), 0);
        assert_eq!(attempt(&make(HOME, "../other/d")), EACCES, "{thread}");
        // From one directory to the other, which takes REFER.
        let pin = format!("{} {HOME} p:f {STAGING} p:pin-{thread} 0", libc::SYS_linkat);
        assert_eq!(attempt(&pin), 0);
        let out = format!("{} {HOME} p:f {HOME} p:../other/g 0", libc::SYS_linkat);
        assert!(attempt(&out) < 0);
        let away = format!("{} {HOME} p:d-{thread} {STAGING} p:d-{thread} 1", libc::SYS_renameat2);
        assert_eq!(attempt(&away), 0);
    }
}

fn a_recovering_filer_has_staging_alone_and_makes_nothing() {
    let mut filer = Sealed::start("recovering");
    let path = |name: &str| filer.directory.path().join(name);
    let (home, left_over) = (path("home/f"), path("staging/1"));
    fs::write(&left_over, "x").unwrap();
    assert_eq!(filer.attempt(&format!("main {}", open(&home, O_RDONLY))), EACCES);
    assert!(filer.attempt(&format!("main {}", open(&left_over, O_RDONLY))) > 0);
    assert_eq!(filer.attempt(&format!("main {}", open(&left_over, O_RDWR))), EACCES);
    assert_eq!(filer.attempt(&format!("main {} {HOME} p:f 0", libc::SYS_unlinkat)), EACCES);
    assert_eq!(filer.attempt(&format!("main {} {STAGING} p:1 0", libc::SYS_unlinkat)), 0);
    is_forbidden("recovering", "main", libc::SYS_mkdirat, &format!("{STAGING} p:d 448"), "mkdirat");
    is_forbidden("recovering", "main", libc::SYS_sendmsg, "0 z 0", "sendmsg");
}

fn a_walking_filer_only_reads_the_home() {
    let mut filer = Sealed::start("walking");
    let path = |name: &str| filer.directory.path().join(name);
    let (own, staging) = (path("home/f"), path("staging"));
    assert!(filer.attempt(&format!("main {}", open(&own, O_RDONLY))) > 0);
    assert_eq!(filer.attempt(&format!("main {}", open(&own, O_RDWR))), EACCES);
    let truncating = open(&own, O_RDONLY | libc::O_TRUNC);
    assert_eq!(filer.attempt(&format!("main {truncating}")), EACCES);
    assert_eq!(filer.attempt(&format!("main {}", open(&staging, O_RDONLY))), EACCES);
    for (number, name) in [(libc::SYS_unlinkat, "unlinkat"), (libc::SYS_renameat2, "renameat2")] {
        is_forbidden("walking", "main", number, &format!("{HOME} p:f 0"), name);
    }
}

fn best_effort_leaves_nothing_out_that_the_kernel_has() {
    let arguments = format!("{AT_FDCWD} p:/etc/passwd 0");
    is_forbidden("best-effort", "main", libc::SYS_openat, &arguments, "openat");
}

fn a_thread_from_before_is_refused() {
    let filer = Sealed::start("threaded");
    let (status, text) = filer.end("end");
    assert!(status.code() == Some(1) && text.starts_with("threads: "), "{status:?} {text}");
}

#[cfg(debug_assertions)]
fn a_report_lets_a_forbidden_call_pass() {
    let mut worker = Sealed::start("reporting");
    // As far as Landlock, which refuses it.
    let open = format!("main {} {AT_FDCWD} p:/etc/passwd 0", libc::SYS_openat);
    assert_eq!(worker.attempt(&open), EACCES);
}
