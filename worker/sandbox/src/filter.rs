//! Makes a table into seccomp filters and loads them on all threads.

use seccompiler::{
    BpfProgram, Error, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule, TargetArch,
};

use berth_common::sandbox_mode::SandboxMode;

use crate::error::DemotionError;
use crate::tables::{Check, Condition, Table, Width};

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: TargetArch = TargetArch::x86_64;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: TargetArch = TargetArch::aarch64;

/// What programs ask files for without need: `ls -l` complains of any answer but that there are none.
const ATTRIBUTES: [i64; 6] = [
    libc::SYS_getxattr,
    libc::SYS_lgetxattr,
    libc::SYS_fgetxattr,
    libc::SYS_listxattr,
    libc::SYS_llistxattr,
    libc::SYS_flistxattr,
];

/// What happens to a call that stands in no table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Otherwise {
    /// It ends the process, which is Berth's own and never makes it.
    End,
    /// It fails with EPERM: a program that others have written may ask for much, and goes on without.
    Fail,
}

impl Otherwise {
    pub(crate) fn action(self, mode: SandboxMode) -> SeccompAction {
        match (self, mode) {
            (Self::End, SandboxMode::Require | SandboxMode::BestEffort) => SeccompAction::Trap,
            (Self::Fail, _) => SeccompAction::Errno(libc::EPERM as u32),
            #[cfg(debug_assertions)]
            (Self::End, SandboxMode::Report) => SeccompAction::Log,
        }
    }
}

/// The filters of a process, ready to be loaded. For a call the strictest answer counts.
pub(crate) struct Filters {
    /// Says that there is no `clone3`: its flags are in memory, where no filter sees them.
    absent: BpfProgram,
    /// Says that no file has attributes, where these calls are in the table.
    unsupported: Option<BpfProgram>,
    /// Allows what stands in the table.
    allowed: BpfProgram,
}

impl Filters {
    /// Compiles them. `otherwise` happens to a call that is not allowed; one of a foreign architecture
    /// (32-bit calls) ends the process at once.
    pub(crate) fn compile(table: Table, otherwise: SeccompAction) -> Result<Self, DemotionError> {
        if let Some(name) = table.duplicate() {
            return Err(DemotionError::Table(name));
        }
        let answering = |calls: &[i64], errno: i32| {
            let calls = calls.iter().map(|call| (*call, Vec::new())).collect();
            let errno = SeccompAction::Errno(errno as u32);
            SeccompFilter::new(calls, SeccompAction::Allow, errno, ARCHITECTURE)
        };
        let absent = answering(&[libc::SYS_clone3], libc::ENOSYS);
        let unsupported = answering(&ATTRIBUTES, libc::EOPNOTSUPP);
        let mut allowed = std::collections::BTreeMap::new();
        for row in table.rows() {
            let rules: Result<_, _> = row.when.iter().map(|list| rule(list)).collect();
            allowed.insert(row.number, rules.map_err(DemotionError::filter)?);
        }
        let allowed = SeccompFilter::new(allowed, otherwise, SeccompAction::Allow, ARCHITECTURE);
        let program = |filter: Result<SeccompFilter, _>| filter.and_then(BpfProgram::try_from);
        Ok(Self {
            absent: program(absent).map_err(DemotionError::filter)?,
            unsupported: match table {
                Table::JailProgram => Some(program(unsupported).map_err(DemotionError::filter)?),
                _ => None,
            },
            allowed: program(allowed).map_err(DemotionError::filter)?,
        })
    }

    /// Loads all of them on all threads. The table ends it: nothing can be loaded after it.
    pub(crate) fn load(&self) -> Result<(), Error> {
        seccompiler::apply_filter_all_threads(&self.absent)?;
        if let Some(unsupported) = &self.unsupported {
            seccompiler::apply_filter_all_threads(unsupported)?;
        }
        seccompiler::apply_filter_all_threads(&self.allowed)
    }
}

fn rule(conditions: &[Condition]) -> Result<SeccompRule, seccompiler::BackendError> {
    let conditions: Result<_, _> = conditions.iter().map(condition).collect();
    SeccompRule::new(conditions?)
}

fn condition(condition: &Condition) -> Result<SeccompCondition, seccompiler::BackendError> {
    let (length, all) = match condition.width {
        Width::Int => (SeccompCmpArgLen::Dword, u64::from(u32::MAX)),
        Width::Long => (SeccompCmpArgLen::Qword, u64::MAX),
    };
    let (operator, value) = match condition.check {
        Check::Is(value) => (SeccompCmpOp::Eq, value),
        Check::Within(bits) => (SeccompCmpOp::MaskedEq(all & !bits), 0),
        Check::OwnProcess => (SeccompCmpOp::Eq, u64::from(std::process::id())),
    };
    SeccompCondition::new(condition.argument, length, operator, value)
}
