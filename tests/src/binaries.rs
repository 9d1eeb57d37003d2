//! Where the programs under test are, in a place where the ordinary user may run them.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tempfile::TempDir;

use crate::account;

/// All of Berth's programs. `berthd` finds its three helpers beside itself.
const PROGRAMS: [&str; 6] =
    ["berthd", "berth-worker", "berth-filer", "berth-jail", "berth", "berthctl"];

/// Programs that only the tests have; a directory that `BERTH_BIN_DIR` names may lack them.
const PUPPETS: [&str; 4] =
    ["berth-puppet-worker", "berth-puppet-filer", "berth-puppet-free", "berth-puppet-program"];

/// The programs; whoever holds this can run them.
#[derive(Debug)]
pub struct Binaries {
    directory: PathBuf,
    /// As root, the copies, which go with the last holder.
    _copies: Option<TempDir>,
}

/// Copies are shared by all the tests of a process that run at the same time. Held weakly: a
/// static is never dropped, and would leave the copies behind.
static SHARED: Mutex<Weak<Binaries>> = Mutex::new(Weak::new());

impl Binaries {
    /// The programs that `BERTH_BIN_DIR` names, or those that were built with this test.
    ///
    /// # Panics
    /// When one is missing, or cannot be copied.
    #[must_use]
    pub fn shared() -> Arc<Self> {
        let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(binaries) = shared.upgrade() {
            return binaries;
        }
        let binaries = Arc::new(Self::find());
        *shared = Arc::downgrade(&binaries);
        binaries
    }

    /// Where a program is.
    #[must_use]
    pub fn path(&self, program: &str) -> PathBuf {
        self.directory.join(program)
    }

    fn find() -> Self {
        let built = built_directory();
        for program in PROGRAMS {
            let path = built.join(program);
            assert!(
                path.is_file(),
                "{} is missing: run `cargo build --workspace` (or `make test`) first",
                path.display()
            );
        }
        if !account::is_root() {
            return Self { directory: built, _copies: None };
        }
        // Root's target directory may lie where nobody else gets.
        let copies = tempfile::Builder::new().prefix("berth-bin-").tempdir().unwrap();
        open_to_everybody(copies.path());
        let puppets = PUPPETS.into_iter().filter(|program| built.join(program).is_file());
        for program in PROGRAMS.into_iter().chain(puppets) {
            let copy = copies.path().join(program);
            fs::copy(built.join(program), &copy)
                .unwrap_or_else(|error| panic!("{}: {error}", copy.display()));
            open_to_everybody(&copy);
        }
        Self { directory: copies.path().to_owned(), _copies: Some(copies) }
    }
}

fn built_directory() -> PathBuf {
    if let Some(directory) = std::env::var_os("BERTH_BIN_DIR") {
        return directory.into();
    }
    // target/<profile>/deps/<test>: the programs stand one directory higher.
    let test = std::env::current_exe().unwrap();
    test.ancestors().nth(2).unwrap().to_owned()
}

fn open_to_everybody(path: &Path) {
    fs::set_permissions(path, Permissions::from_mode(0o755)).unwrap();
}
