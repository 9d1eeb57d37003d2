//! The machine of the tutorial: a server, its administrator, and a user with a home.

use std::path::{Path, PathBuf};
use std::process::Command;

use berth_tests::terminal::{Key, Terminal};
use berth_tests::{Announcer, Network, Options, Relay, Server, account, disk, wait_until};

use crate::compare::{self, Names};
use crate::document::{Step, Who};
use crate::typing::{self, Typed, Typist};

/// A command that is interrupted gets so many bytes to the server.
pub(crate) const CUT_AFTER: usize = 20 << 20;

/// Leaves of which the server knows then, at least.
const LEAVES: u64 = 64;

/// The document's words for what differs from run to run.
const SERVER: &str = "files.example.org";
const ADDRESS: &str = "(192.0.2.7:4022)";
const HOME: &str = "/home/alice";
const DATA: &str = "/var/lib/berth";
/// How the server is called and where it is on a network on which it is announced.
const ANNOUNCED: &str = "Files of us";
const ANNOUNCED_AT: [&str; 2] = ["192.0.2.7", "2001:db8::7"];
const FINGERPRINT: &str = "SHA256:8c1f0a5be2d94e37a6b3c07d15f8e92b4d60713ca9fe28b5d4170e6c93ab52f8";
const LATER_FINGERPRINT: &str =
    "SHA256:2e97d4b106fa83c5e0b94d7a31c86f25d08b7ae94c135f62b9e07d83a416c5fd";

/// What every bar has.
const BAR: &str = "B/s ETA ";

/// Wide enough for what `ls -l` prints, narrow enough for a page.
const COLUMNS: u16 = 96;

/// High enough that nothing scrolls away.
const ROWS: u16 = 150;

pub(crate) struct Scene {
    server: Server,
    relay: Relay,
    home: PathBuf,
    names: Names,
    /// Where the server is announced, and Alice looks for servers. It goes after the announcer.
    announced: Option<(Announcer, Network)>,
    /// The exit code of the command before.
    exit: i32,
}

impl Scene {
    pub(crate) fn new() -> Self {
        let server = Server::start(Options::new());
        let relay = Relay::to(server.address());
        let home = server.scratch().join("alice");
        account::make_dir(&home);
        let mut names = Names::default();
        names.add(ADDRESS, &format!("({})", relay.address()));
        names.add(SERVER, relay.address());
        let (host, _) = relay.address().split_once(':').unwrap();
        // The shell's prompt has no port.
        names.add(SERVER, host);
        names.add(HOME, home.to_str().unwrap());
        names.add(DATA, server.data().to_str().unwrap());
        names.add(FINGERPRINT, server.fingerprint());
        Self { server, relay, home, names, announced: None, exit: 0 }
    }

    /// Does what no command does.
    pub(crate) fn direct(&mut self, direction: &str) {
        match direction {
            "the server is started with another key" => self.another_key(),
            // Nobody holds what is held.
            "the connection is cut in the middle of the next command" => {
                drop(self.relay.hold_next_after(CUT_AFTER));
            }
            "the server is announced" => self.announce(),
            other => panic!("what is {other:?}?"),
        }
    }

    fn another_key(&mut self) {
        self.server.wait_for_no_session_of("alice");
        self.server.terminate();
        for file in ["server.crt", "server.key"] {
            std::fs::remove_file(self.server.data().join(file)).unwrap();
        }
        self.server.restart();
        self.relay.lead_to(self.server.address());
        self.names.add(LATER_FINGERPRINT, self.server.fingerprint());
    }

    /// On a network of its own, since that of the machine is everybody's. Where none can be made, nothing is announced.
    fn announce(&mut self) {
        let Some(network) = Network::new() else { return };
        let announcer = Announcer::start(&network.first, &["--name", ANNOUNCED, "--tell-version"]);
        announcer.wait_for_name(ANNOUNCED);
        for (word, real) in ANNOUNCED_AT.into_iter().zip(["10.77.0.1", "fd77::1"]) {
            self.names.add(word, real);
        }
        self.announced = Some((announcer, network));
    }

    /// Whether a command can be carried out: servers can only be looked for on a network of the test's own.
    pub(crate) fn can(&self, step: &Step) -> bool {
        self.announced.is_some() || !looks_for_servers(step)
    }

    /// Carries a command out; what could be seen, in the document's words.
    pub(crate) fn carry_out(&mut self, step: &Step) -> Vec<String> {
        let typed = typing::of(&step.output);
        let held = typed.contains(&Typed::Interrupt).then(|| self.relay.hold_next_after(CUT_AFTER));
        let start = || Terminal::start(&self.shell(step), COLUMNS, ROWS);
        let mut terminal = match &self.announced {
            Some((_, network)) if looks_for_servers(step) => network.second.within(start),
            _ => start(),
        };
        let mut typist = Typist::at(&mut terminal);
        let mut seen = Vec::new();
        for typed in typed {
            match typed {
                Typed::Line { question, answer } => {
                    let (question, answer) = (self.asked(&question), self.names.real(&answer));
                    typist.answer(&question, &answer);
                }
                Typed::Password { question } => typist.password(&self.names.real(&question)),
                Typed::Interrupt => seen.push(self.interrupt(typist.terminal)),
            }
        }
        let code = terminal.wait_exit();
        drop(held);
        self.exit = code.expect("the shell ends by itself");
        let screen = terminal.screen();
        if seen.is_empty() {
            seen.extend(screen.text().lines().map(|line| line.trim_end().to_owned()));
        } else {
            // The bar was as wide as the screen, and what was echoed behind it stands in the next line.
            let is_left = |line: &String| line.is_empty() || line.contains(BAR) || line == "^C";
            seen.extend(screen.lines().into_iter().filter(|line| !is_left(line)));
        }
        let in_words = |lines: Vec<String>, names: &Names| -> Vec<String> {
            lines.iter().map(|line| names.document(line)).collect()
        };
        let seen = in_words(seen, &self.names);
        self.names.learn(&step.output, &seen);
        in_words(seen, &self.names)
    }

    pub(crate) fn compare(&self, step: &Step, seen: &[String]) -> Option<String> {
        compare::difference(&step.output, seen, &self.names)
    }

    /// The prompt of the shell has the host without its port.
    fn asked(&self, question: &str) -> String {
        let (host, _) = self.relay.address().split_once(':').unwrap();
        question.replace(SERVER, host)
    }

    /// Presses Ctrl-C when the bar is in the middle of its way; the bar.
    fn interrupt(&self, terminal: &mut Terminal) -> String {
        let staging = self.server.staging("alice");
        wait_until("a part has arrived", || disk::only_journal_leaves(&staging) >= LEAVES);
        let bar = |line: &String| line.contains(BAR);
        let screen = terminal.wait_for(|screen| screen.lines().iter().any(bar));
        terminal.press(Key::CtrlC);
        format!("{} ^C", screen.lines().into_iter().find(bar).unwrap())
    }

    fn shell(&self, step: &Step) -> Command {
        let mut command = account::command(Path::new("/bin/sh"));
        let programs = self.server.binaries().path("berth");
        let path = std::env::var("PATH").unwrap_or_default();
        let path = format!("{}:{path}", programs.parent().unwrap().display());
        let typed = self.names.real(&step.command);
        // Ctrl-C is for the command, and not for the shell in which the user sits.
        let line = format!("trap : INT; umask 022; (exit {}); {typed}", self.exit);
        command.args(["-c", &line]).env("PATH", path).env("LC_ALL", "C.UTF-8");
        match step.who {
            Who::User => command.env("HOME", &self.home).current_dir(&self.home),
            Who::Administrator => {
                command.env("BERTH_DATA_DIR", self.server.data()).current_dir(self.server.scratch())
            }
        };
        command
    }
}

fn looks_for_servers(step: &Step) -> bool {
    step.command.starts_with("berth discover")
}
