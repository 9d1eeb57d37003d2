//! Landlock: what is left of the file system, the network and other processes, by role.
//!
//! All that this build knows of is handled, so that it is refused where no rule grants it; what the kernel does
//! not know is left out, and how much it knows is returned. Rights hold for the calling thread and those that
//! it starts later, so there must be no other.

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, LandlockStatus, PathBeneath, Ruleset,
    RulesetAttr as _, RulesetCreated, RulesetCreatedAttr as _, RulesetError, Scope, make_bitflags,
};

use crate::{FilerRole, JailRights};

/// The newest version that is known here and was tried.
const KNOWN: ABI = ABI::V9;

/// Reading, for the home of a walk.
const READING: BitFlags<AccessFs> = make_bitflags!(AccessFs::{ReadFile | ReadDir});

/// Names that are moved within a directory tree and unlinked. A link, a FIFO or a socket that an administrator
/// made is moved by the same rights by which one is made; that none is made is the table's doing, which
/// lacks `symlinkat` and `mknodat`. Devices stay where they are.
const NAMES: BitFlags<AccessFs> = make_bitflags!(AccessFs::{
    RemoveDir | RemoveFile | MakeDir | MakeReg | MakeSym | MakeFifo | MakeSock
});

/// Names that go from one directory to another.
const MOVES: BitFlags<AccessFs> = make_bitflags!(AccessFs::{Refer});

/// Files that are written.
const CONTENT: BitFlags<AccessFs> = make_bitflags!(AccessFs::{WriteFile | Truncate});

/// Gives up everything. Returns the kernel's version of Landlock, 0 for none.
pub(crate) fn restrict_worker() -> Result<u32, RulesetError> {
    enforce(ruleset()?)
}

/// Gives up everything but what the role needs of its directories.
pub(crate) fn restrict_filer(role: FilerRole<'_>) -> Result<u32, RulesetError> {
    let ruleset = ruleset()?;
    enforce(match role {
        FilerRole::Serve { home, staging } => {
            let rights = READING | NAMES | MOVES | CONTENT;
            ruleset
                .add_rule(PathBeneath::new(home, rights))?
                .add_rule(PathBeneath::new(staging, rights))?
        }
        FilerRole::Recover { staging } => {
            ruleset.add_rule(PathBeneath::new(staging, READING | NAMES | MOVES))?
        }
        FilerRole::Walk { home } => ruleset.add_rule(PathBeneath::new(home, READING))?,
    })
}

/// Gives up all files and the network. By a scope for signals the kernel would keep back the one too that a child has
/// asked for at this process's death, as a program in a jail does; seccomp keeps this process from sending any.
pub(crate) fn restrict_keeper() -> Result<u32, RulesetError> {
    enforce(ruleset_within(Scope::from_all(KNOWN) & !Scope::Signal)?)
}

/// Leaves a program in a jail its user's home and libraries to read, and itself to be executed.
pub(crate) fn restrict_program(rights: JailRights<'_>) -> Result<u32, RulesetError> {
    let mut ruleset = ruleset()?.add_rule(PathBeneath::new(rights.home, READING))?;
    for directory in rights.libraries {
        ruleset = ruleset.add_rule(PathBeneath::new(directory, READING))?;
    }
    for file in rights.files {
        ruleset = ruleset.add_rule(PathBeneath::new(file, AccessFs::ReadFile))?;
    }
    for file in rights.executables {
        let rights = AccessFs::ReadFile | AccessFs::Execute;
        ruleset = ruleset.add_rule(PathBeneath::new(file, rights))?;
    }
    enforce(ruleset)
}

fn ruleset() -> Result<RulesetCreated, RulesetError> {
    ruleset_within(Scope::from_all(KNOWN))
}

fn ruleset_within(scopes: BitFlags<Scope>) -> Result<RulesetCreated, RulesetError> {
    Ruleset::default()
        .handle_access(AccessFs::from_all(KNOWN))?
        .handle_access(AccessNet::from_all(KNOWN))?
        .scope(scopes)?
        .create()
}

fn enforce(ruleset: RulesetCreated) -> Result<u32, RulesetError> {
    let status = ruleset.restrict_self()?;
    Ok(match status.landlock {
        LandlockStatus::Available { effective_abi, .. } => effective_abi as u32,
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => 0,
    })
}
