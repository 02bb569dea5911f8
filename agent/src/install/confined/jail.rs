//! What is taken from the child before it sees the first byte.

use landlock::{ABI, Access, AccessFs, AccessNet, Ruleset, RulesetAttr, Scope};
use rustix::process::{DumpableBehavior, Resource, Rlimit, Signal};
use rustix::thread::{CapabilitySet, CapabilitySets};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
};

/// Address space that the child may still take after its buffers are mapped:
/// a deeper stack, nothing else.
const EXTRA_ADDRESS_SPACE: u64 = 1 << 20;

/// The child could not be confined, so it does not decode.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what it was")]
pub enum JailError {
    #[error("cannot lower the limits of the decoder process")]
    Limits(#[source] rustix::io::Errno),
    #[error("cannot read the memory use of the decoder process")]
    MemoryUse(#[source] std::io::Error),
    #[error("cannot drop the capabilities of the decoder process")]
    Capabilities(#[source] rustix::io::Errno),
    #[error("the decoder process keeps capabilities after dropping them")]
    CapabilitiesKept,
    #[error("cannot shut the decoder process off from files (landlock)")]
    Landlock(#[source] landlock::RulesetError),
    #[error("cannot filter the system calls of the decoder process (seccomp)")]
    Filter(#[source] seccompiler::Error),
    #[error("cannot build the system call filter of the decoder process")]
    FilterRules(#[source] seccompiler::BackendError),
}

/// Gives up everything but reading and writing descriptor 0. Landlock is used
/// as far as the kernel has it; the filter and the capabilities are a must.
pub(super) fn enter() -> Result<(), JailError> {
    die_with_parent()?;
    drop_capabilities()?;
    // Landlock closes /proc too, and needs a descriptor itself: measure before
    // it, limit after it.
    let mapped = mapped_bytes().map_err(JailError::MemoryUse)?;
    shut_files_off()?;
    limit_resources(mapped)?;
    filter_system_calls()
}

/// The signal comes when the *thread* that spawned us ends; a decoder belongs
/// to one thread for its whole life.
fn die_with_parent() -> Result<(), JailError> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .and_then(|()| rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable))
        .map_err(JailError::Limits)
}

pub(super) fn limit_resources(mapped: u64) -> Result<(), JailError> {
    let limits = [
        (Resource::As, mapped.saturating_add(EXTRA_ADDRESS_SPACE)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
    ];
    for (resource, most) in limits {
        let limit = Rlimit { current: Some(most), maximum: Some(most) };
        rustix::process::setrlimit(resource, limit).map_err(JailError::Limits)?;
    }
    Ok(())
}

pub(super) fn mapped_bytes() -> std::io::Result<u64> {
    let statm = fs_err::read_to_string("/proc/self/statm")?;
    let pages = statm.split(' ').next().and_then(|pages| pages.parse::<u64>().ok());
    let pages = pages.ok_or_else(|| std::io::Error::other("no size in /proc/self/statm"))?;
    Ok(pages.saturating_mul(rustix::param::page_size() as u64))
}

pub(super) fn drop_capabilities() -> Result<(), JailError> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    rustix::thread::set_capabilities(None, none)
        .and_then(|()| rustix::thread::set_no_new_privs(true))
        .map_err(JailError::Capabilities)?;
    match rustix::thread::capabilities(None).map_err(JailError::Capabilities)? {
        left if left == none => Ok(()),
        _ => Err(JailError::CapabilitiesKept),
    }
}

/// No file by path, no port, no signal outside, on kernels that can.
pub(super) fn shut_files_off() -> Result<(), JailError> {
    let ruleset = Ruleset::default()
        .handle_access(AccessFs::from_all(ABI::V5))
        .and_then(|ruleset| ruleset.handle_access(AccessNet::from_all(ABI::V5)))
        .and_then(|ruleset| ruleset.scope(Scope::from_all(ABI::V6)))
        .and_then(|ruleset| ruleset.create());
    ruleset.and_then(|ruleset| ruleset.restrict_self()).map(drop).map_err(JailError::Landlock)
}

pub(super) fn filter_system_calls() -> Result<(), JailError> {
    let filter = filter().map_err(JailError::FilterRules)?;
    seccompiler::apply_filter(&filter).map_err(JailError::Filter)
}

/// Anything outside the list ends the process: there is no error for hostile
/// code to handle.
fn filter() -> Result<BpfProgram, seccompiler::BackendError> {
    let on_control_socket = || {
        let is_zero = SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Eq, 0)?;
        Ok(vec![SeccompRule::new(vec![is_zero])?])
    };
    let rules = [
        (libc::SYS_read, on_control_socket()?),
        (libc::SYS_write, on_control_socket()?),
        (libc::SYS_exit, vec![]),
        (libc::SYS_exit_group, vec![]),
    ];
    let arch = std::env::consts::ARCH.try_into()?;
    SeccompFilter::new(
        rules.into_iter().collect(),
        SeccompAction::KillProcess,
        SeccompAction::Allow,
        arch,
    )?
    .try_into()
}
