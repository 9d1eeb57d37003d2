//! What this kernel gives the sandbox of workers and filers: asked for, and never tried on the daemon itself.
//!
//! The daemon decides by it whether to serve, and `berthd check` prints it. No wall rests on the answers:
//! each helper is told what is required of it, finds out by itself, and ends when it does not get it.

use std::fmt::Write as _;

use berth_common::sandbox_mode::{LEAST_LANDLOCK, SandboxMode};
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};

use crate::sys;

/// What each version of Landlock adds, and the Linux that has it.
const LANDLOCK: [(u32, &str, &str); 9] = [
    (1, "5.13", "files and names"),
    (2, "5.19", "names that go from one directory to another"),
    (3, "6.2", "truncation"),
    (4, "6.7", "TCP"),
    (5, "6.10", "devices"),
    (6, "6.12", "signals and abstract sockets of other processes"),
    (7, "6.15", "denials in the audit log"),
    (8, "7.0", "threads that run already"),
    (9, "7.1", "Unix sockets with a path"),
];

/// What the kernel has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Kernel {
    /// The version of Landlock; 0 for none.
    landlock: u32,
    /// Filters of system calls, loaded for all threads at once.
    seccomp: bool,
    /// `openat2`, by which a filer resolves paths.
    openat2: bool,
    /// The socket option by which a channel refuses descriptors.
    passrights: bool,
    /// User namespaces for everybody, as far as the settings tell: jails are made of them, and nothing else is.
    user_namespaces: bool,
}

/// What the sandbox rests on and the kernel lacks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Missing {
    /// Landlock is not there, or too old.
    #[error(
        "Landlock is {}, and {LEAST_LANDLOCK} (Linux 6.2, and \"landlock\" among the kernel's lsm=) is \
         the least: without it a worker or filer that is taken over reads whatever system calls let it \
         open of other homes and of the ledger",
        if *found == 0 { "not there".to_owned() } else { format!("version {found}") }
    )]
    Landlock {
        /// Its version; 0 for none.
        found: u32,
    },
    /// Seccomp filters are not there.
    #[error(
        "seccomp filters for all threads (CONFIG_SECCOMP_FILTER) are not there: without them a worker or \
         filer that is taken over can signal, trace and limit the daemon, and starts what it likes"
    )]
    Seccomp,
    /// `openat2` is not there, or a container forbids it.
    #[error("openat2 (Linux 5.6) is not there or is forbidden: no filer can work without it")]
    OpenAt2,
}

/// Why the daemon does not serve on this kernel.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("this kernel lacks what the sandbox needs; {}", sentences(.0))]
pub(crate) struct Unfit(Vec<Missing>);

fn sentences(missing: &[Missing]) -> String {
    let all: Vec<_> = missing.iter().map(ToString::to_string).collect();
    format!(
        "{}. sandbox = \"best-effort\" serves all the same where openat2 is there",
        all.join("; ")
    )
}

impl Kernel {
    /// Asks the kernel. Nothing is restricted by it.
    pub(crate) fn ask() -> Self {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        let opened =
            rustix::fs::openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve);
        Self {
            landlock: sys::landlock_version().unwrap_or(0),
            seccomp: sys::has_seccomp_filters(),
            openat2: !matches!(opened, Err(rustix::io::Errno::NOSYS | rustix::io::Errno::PERM)),
            passrights: sys::has_passrights(),
            user_namespaces: has_user_namespaces(),
        }
    }

    /// What programs of users have, or lack, for their jails; `None` where all is there.
    pub(crate) fn jails(self, mode: SandboxMode) -> Option<&'static str> {
        match mode {
            _ if self.user_namespaces => None,
            SandboxMode::BestEffort => Some(
                "programs of users run without namespaces: they learn size, times and owner of any file that the \
                 system user reaches",
            ),
            _ => Some("nobody can run programs by berth exec: the system gives no user namespaces"),
        }
    }

    /// What is missing, in the order of the demotion.
    pub(crate) fn missing(self) -> Vec<Missing> {
        let mut missing = Vec::new();
        if self.landlock < LEAST_LANDLOCK {
            missing.push(Missing::Landlock { found: self.landlock });
        }
        if !self.seccomp {
            missing.push(Missing::Seccomp);
        }
        if !self.openat2 {
            missing.push(Missing::OpenAt2);
        }
        missing
    }

    /// Whether to serve. What is missing and not required is returned, to be logged.
    ///
    /// # Errors
    /// When something is missing that is required.
    pub(crate) fn judge(self, mode: SandboxMode) -> Result<Vec<Missing>, Unfit> {
        let missing = self.missing();
        let can_do_without = mode == SandboxMode::BestEffort && self.openat2;
        if missing.is_empty() || can_do_without { Ok(missing) } else { Err(Unfit(missing)) }
    }

    /// What `berthd check` says of it: a line each.
    pub(crate) fn describe(self) -> Vec<String> {
        let part = |newer: bool| {
            let mut text = String::new();
            for (version, linux, what) in LANDLOCK {
                if (version > self.landlock) == newer {
                    let separator = if text.is_empty() { "" } else { ", " };
                    // Writing to a string does not fail.
                    let _ = match newer {
                        true => write!(text, "{separator}{version} (Linux {linux}) {what}"),
                        false => write!(text, "{separator}{what}"),
                    };
                }
            }
            text
        };
        let adds = part(true);
        let adds = if adds.is_empty() { adds } else { format!("; newer ones add {adds}") };
        let landlock = match self.landlock {
            0 => format!("sandbox: no Landlock{adds}"),
            version => format!("sandbox: Landlock {version}: {}{adds}", part(false)),
        };
        let has = |is_there| if is_there { "yes" } else { "no" };
        vec![
            landlock,
            format!("sandbox: seccomp filters for all threads: {}", has(self.seccomp)),
            format!("sandbox: openat2: {}", has(self.openat2)),
            format!(
                "sandbox: sockets that refuse descriptors (SO_PASSRIGHTS, Linux 6.16; not required): {}",
                has(self.passrights)
            ),
            format!(
                "sandbox: user namespaces (for programs that users run; not required otherwise): {}",
                has(self.user_namespaces)
            ),
        ]
    }
}

/// By the settings of the kernel and of distributions. A setting that is not there forbids nothing; what a service manager
/// or a container forbids is found out by the first jail.
fn has_user_namespaces() -> bool {
    let setting = |path: &str| {
        let text = std::fs::read_to_string(path).ok()?;
        text.trim().parse::<u64>().ok()
    };
    setting("/proc/sys/user/max_user_namespaces").is_some_and(|most| most > 0)
        && setting("/proc/sys/kernel/unprivileged_userns_clone") != Some(0)
        && !matches!(setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"), Some(1..))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: Kernel = Kernel {
        landlock: 9,
        seccomp: true,
        openat2: true,
        passrights: true,
        user_namespaces: true,
    };

    #[test]
    fn what_jails_lack_keeps_nobody_from_serving() {
        let without = Kernel { user_namespaces: false, ..ALL };
        for (mode, word) in
            [(SandboxMode::Require, "nobody"), (SandboxMode::BestEffort, "without namespaces")]
        {
            assert_eq!(ALL.jails(mode), None);
            assert!(without.jails(mode).unwrap().contains(word));
            assert_eq!(without.judge(mode), Ok(Vec::new()));
        }
        assert!(without.describe()[4].ends_with(": no"));
    }

    #[test]
    fn a_kernel_that_has_all_is_fit_in_every_mode() {
        for mode in [SandboxMode::Require, SandboxMode::BestEffort] {
            assert_eq!(ALL.judge(mode), Ok(Vec::new()));
            assert_eq!(Kernel { passrights: false, ..ALL }.judge(mode), Ok(Vec::new()));
            assert_eq!(Kernel { landlock: LEAST_LANDLOCK, ..ALL }.judge(mode), Ok(Vec::new()));
        }
    }

    #[test]
    fn what_is_missing_is_named_and_refused_where_it_is_required() {
        let bare = Kernel { landlock: 0, seccomp: false, passrights: false, ..ALL };
        let error = bare.judge(SandboxMode::Require).unwrap_err().to_string();
        assert!(error.contains("Landlock is not there") && error.contains("seccomp"), "{error}");
        assert!(error.contains("best-effort"), "{error}");
        let missing = bare.judge(SandboxMode::BestEffort).unwrap();
        assert_eq!(missing, [Missing::Landlock { found: 0 }, Missing::Seccomp]);
        let old = Kernel { landlock: 2, ..ALL };
        let error = old.judge(SandboxMode::Require).unwrap_err().to_string();
        assert!(error.contains("Landlock is version 2, and 3"), "{error}");
    }

    #[test]
    fn nobody_serves_without_openat2() {
        let kernel = Kernel { openat2: false, ..ALL };
        assert!(kernel.judge(SandboxMode::BestEffort).is_err());
    }

    #[test]
    fn the_description_tells_what_newer_versions_add() {
        let lines = Kernel { landlock: 5, passrights: false, ..ALL }.describe();
        assert!(lines[0].starts_with("sandbox: Landlock 5: files and names, "), "{lines:?}");
        assert!(lines[0].contains("devices; newer ones add 6 (Linux 6.12) signals"), "{lines:?}");
        assert!(lines[1].ends_with("yes") && lines[3].ends_with("no"), "{lines:?}");
        assert!(!ALL.describe()[0].contains("newer"));
        assert!(Kernel { landlock: 0, ..ALL }.describe()[0].starts_with("sandbox: no Landlock"));
    }

    #[test]
    fn asking_restricts_nobody() {
        let kernel = Kernel::ask();
        assert_eq!(kernel, Kernel::ask());
        assert!(kernel.openat2);
        std::thread::spawn(|| std::fs::read("/proc/self/status").unwrap()).join().unwrap();
    }
}
