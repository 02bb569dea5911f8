//! Taking from a process what its work does not need, before it sees the first byte that nobody has
//! checked. The process that decodes payloads on a device and the one that makes deltas on a server
//! each lock themselves in with these, each into a jail of its own.
//!
//! All of it concerns the thread that calls, and those that it starts later.

use std::io;
use std::path::Path;

use landlock::{
    ABI, Access, AccessFs, AccessNet, PathBeneath, PathFd, Ruleset, RulesetAttr,
    RulesetCreatedAttr, RulesetStatus, Scope,
};
use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// The process could not be confined, so it does not do its work.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what it was")]
pub enum JailError {
    #[error("cannot lower the limits of the process")]
    Limits(#[source] Errno),
    #[error("cannot read the memory use of the process")]
    MemoryUse(#[source] io::Error),
    #[error("cannot drop the capabilities of the process")]
    Capabilities(#[source] Errno),
    #[error("the process keeps capabilities after dropping them")]
    CapabilitiesKept,
    #[error("cannot open what the process is left with")]
    Reach(#[source] landlock::PathFdError),
    #[error("cannot shut the process off from files (landlock)")]
    Landlock(#[source] landlock::RulesetError),
    #[error("cannot filter the system calls of the process (seccomp)")]
    Filter(#[source] seccompiler::Error),
    #[error("cannot build the system call filter of the process")]
    FilterRules(#[source] seccompiler::BackendError),
}

/// Ends with the *thread* that started the process, and shows its memory to nobody.
pub fn die_with_parent() -> Result<(), JailError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(JailError::Limits)
}

/// Sets each limit, for good.
pub fn limit_resources(limits: &[(Resource, u64)]) -> Result<(), JailError> {
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(*most), maximum: Some(*most) };
        rustix::process::setrlimit(*resource, limit).map_err(JailError::Limits)?;
    }
    Ok(())
}

/// Bytes of address space that are taken.
pub fn mapped_bytes() -> Result<u64, JailError> {
    let statm = fs_err::read_to_string("/proc/self/statm").map_err(JailError::MemoryUse)?;
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let none = || JailError::MemoryUse(io::Error::other("no size in /proc/self/statm"));
    Ok(pages.ok_or_else(none)?.saturating_mul(rustix::param::page_size() as u64))
}

/// No capability is left, and no program gives one.
pub fn drop_capabilities() -> Result<(), JailError> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_no_new_privs(true).map_err(JailError::Capabilities)?;
    let held = || rustix::thread::capabilities(None).map_err(JailError::Capabilities);
    // A service that has none may not ask for none either: its filter ends at the privileged calls.
    if held()? != none {
        rustix::thread::set_capabilities(None, none).map_err(JailError::Capabilities)?;
    }
    match held()? == none {
        true => Ok(()),
        false => Err(JailError::CapabilitiesKept),
    }
}

/// Whether the kernel keeps the process from files.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FilesShutOff {
    /// As far as it can.
    Yes,
    /// It has no landlock.
    No,
}

/// No file by path but those, to be read, no port, no signal outside, on kernels that can. What is open
/// stays.
pub fn shut_files_off(but: &[&Path]) -> Result<FilesShutOff, JailError> {
    let open = |path: &&Path| {
        let rule = PathFd::new(path).map(|fd| PathBeneath::new(fd, AccessFs::ReadFile));
        rule.map_err(JailError::Reach)
    };
    let rules = but.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(|ruleset| ruleset.create())
        .and_then(|ruleset| ruleset.add_rules(rules.into_iter().map(Ok)));
    let status = ruleset.and_then(|ruleset| ruleset.restrict_self());
    match status.map_err(JailError::Landlock)?.ruleset {
        RulesetStatus::NotEnforced => Ok(FilesShutOff::No),
        RulesetStatus::FullyEnforced | RulesetStatus::PartiallyEnforced => Ok(FilesShutOff::Yes),
    }
}

/// A system call that is left, by its number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Call {
    /// However it is made.
    Any(i64),
    /// Where the lower half of an argument, counted from nought, is this.
    Is {
        /// Its number.
        call: i64,
        /// Which argument.
        argument: u8,
        /// What that is.
        value: u32,
    },
    /// Where an argument, counted from nought, has of some bits just these.
    Bits {
        /// Its number.
        call: i64,
        /// Which argument.
        argument: u8,
        /// The bits that are looked at.
        of: u64,
        /// Those of them that are set.
        set: u64,
    },
}

impl Call {
    fn rules(self) -> Result<(i64, Vec<SeccompRule>), seccompiler::BackendError> {
        use SeccompCmpArgLen::{Dword, Qword};
        use SeccompCmpOp::{Eq, MaskedEq};
        let (call, condition) = match self {
            Call::Any(call) => return Ok((call, Vec::new())),
            Call::Is { call, argument, value } => {
                (call, SeccompCondition::new(argument, Dword, Eq, value.into())?)
            }
            Call::Bits { call, argument, of, set } => {
                (call, SeccompCondition::new(argument, Qword, MaskedEq(of), set)?)
            }
        };
        Ok((call, vec![SeccompRule::new(vec![condition])?]))
    }
}

/// Anything outside the list ends the process: there is no error for hostile code to handle.
pub fn leave_calls(calls: &[Call]) -> Result<(), JailError> {
    filter_calls(calls, SeccompAction::Allow, SeccompAction::KillProcess)
}

/// These calls fail as on a kernel that does not know them: who makes them knows another way.
pub fn forget_calls(calls: &[Call]) -> Result<(), JailError> {
    let unknown = SeccompAction::Errno(Errno::NOSYS.raw_os_error().unsigned_abs());
    filter_calls(calls, unknown, SeccompAction::Allow)
}

fn filter_calls(
    calls: &[Call],
    these: SeccompAction,
    others: SeccompAction,
) -> Result<(), JailError> {
    let filter = || -> Result<BpfProgram, seccompiler::BackendError> {
        let mut rules = std::collections::BTreeMap::<i64, Vec<SeccompRule>>::new();
        for call in calls {
            let (call, of_call) = call.rules()?;
            rules.entry(call).or_default().extend(of_call);
        }
        let arch = std::env::consts::ARCH.try_into()?;
        SeccompFilter::new(rules, others, these, arch)?.try_into()
    };
    let filter = filter().map_err(JailError::FilterRules)?;
    seccompiler::apply_filter(&filter).map_err(JailError::Filter)
}
