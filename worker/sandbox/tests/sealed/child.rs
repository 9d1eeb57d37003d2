//! The processes that are confined, sealed and then told what to try: this program, executed again.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::mpsc;
use std::thread;

use berth_common::sandbox_mode::SandboxMode;
use berth_sandbox::{Confined, DemotionError, FilerRole};

use crate::sys;

/// A helper thread, as worker and filer have: it tries what it is told.
struct Helper {
    asked: mpsc::Sender<String>,
    answers: mpsc::Receiver<i64>,
}

impl Helper {
    fn start() -> Self {
        let (asked, questions) = mpsc::channel::<String>();
        let (answer, answers) = mpsc::channel();
        thread::spawn(move || {
            answer.send(0).unwrap();
            while let Ok(question) = questions.recv() {
                answer.send(attempt(&question)).unwrap();
            }
        });
        answers.recv().unwrap();
        Self { asked, answers }
    }

    fn attempt(&self, what: &str) -> i64 {
        self.asked.send(what.to_owned()).unwrap();
        self.answers.recv().unwrap()
    }
}

fn attempt(what: &str) -> i64 {
    let words: Vec<_> = what.split_whitespace().collect();
    match words[0] {
        "crash" => sys::write_to_nowhere(),
        "panic" => panic!("as it was told"),
        #[cfg(target_arch = "x86_64")]
        "32-bit" => return sys::call_as_32_bit(),
        _ => return sys::call(&words),
    }
    0
}

/// Demotes, confines and seals this process, and then does what it is told, line by line: `main CALL…` or
/// `helper CALL…`. Each answer is a line with the result.
fn live(
    demote: fn() -> Result<OwnedFd, DemotionError>,
    confine: impl FnOnce(&OwnedFd, &OwnedFd) -> Result<Confined, DemotionError>,
) {
    let tell = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |info| {
        tell(info);
        std::process::abort();
    }));
    let channel = UnixStream::from(demote().unwrap());
    let mut lines = BufReader::new(channel.try_clone().unwrap());
    let mut next = || {
        let mut line = String::new();
        lines.read_line(&mut line).unwrap();
        line.trim_end().to_owned()
    };
    let mut open = || OwnedFd::from(std::fs::File::open(next()).unwrap());
    // Descriptors 4 and 5, by which the tests name them.
    let (home, staging) = (open(), open());
    let confined = confine(&home, &staging).unwrap_or_else(|error| {
        eprintln!("{error}");
        std::process::exit(1)
    });
    let helper = Helper::start();
    assert!(confined.seal().unwrap());
    loop {
        let line = next();
        let answer = match line.split_once(' ') {
            Some(("main", what)) => attempt(what),
            Some(("helper", what)) => helper.attempt(what),
            _ => break,
        };
        let line = format!("{answer}\n");
        (&channel).write_all(line.as_bytes()).unwrap();
    }
    std::process::exit(0);
}

/// Lives as the child of this name does; back only for a name that is none.
pub(crate) fn run(name: &str) {
    let (worker, filer) = (berth_sandbox::demote_worker, berth_sandbox::demote_filer);
    let require = SandboxMode::Require;
    match name {
        "worker" => live(worker, |_, _| berth_sandbox::confine_worker(require)),
        "best-effort" => {
            live(worker, |_, _| berth_sandbox::confine_worker(SandboxMode::BestEffort));
        }
        #[cfg(debug_assertions)]
        "reporting" => live(worker, |_, _| berth_sandbox::confine_worker(SandboxMode::Report)),
        "serving" => live(filer, |home, staging| {
            let role = FilerRole::Serve { home: home.as_fd(), staging: staging.as_fd() };
            berth_sandbox::confine_filer(role, require)
        }),
        "recovering" => live(filer, |_, staging| {
            berth_sandbox::confine_filer(FilerRole::Recover { staging: staging.as_fd() }, require)
        }),
        "walking" => live(filer, |home, _| {
            berth_sandbox::confine_filer(FilerRole::Walk { home: home.as_fd() }, require)
        }),
        "threaded" => live(worker, |_, _| {
            let _early = Helper::start();
            berth_sandbox::confine_worker(require)
        }),
        "announcer" => crate::announcer::live(),
        _ => {}
    }
}
