//! What is taken from the child before it sees the first byte.

use rustix::process::Resource;

use crate::jail::{
    Call, FilesShutOff, JailError, die_with_parent, drop_capabilities, leave_calls,
    limit_resources, mapped_bytes, shut_files_off,
};

/// Address space that the child may still take after its buffers are mapped:
/// a deeper stack, nothing else.
const EXTRA_ADDRESS_SPACE: u64 = 1 << 20;

/// Gives up everything but reading and writing descriptor 0. Landlock is used
/// as far as the kernel has it; the filter and the capabilities are a must.
pub(super) fn enter() -> Result<(), JailError> {
    // A decoder belongs to one thread for its whole life.
    die_with_parent()?;
    drop_capabilities()?;
    // Landlock closes /proc too, and needs a descriptor itself: measure before
    // it, limit after it.
    let mapped = mapped_bytes()?;
    let (FilesShutOff::Yes | FilesShutOff::No) = shut_files_off(&[])?;
    limit(mapped)?;
    leave_calls(&[
        Call::Is { call: libc::SYS_read, argument: 0, value: 0 },
        Call::Is { call: libc::SYS_write, argument: 0, value: 0 },
        Call::Any(libc::SYS_exit),
        Call::Any(libc::SYS_exit_group),
    ])
}

pub(super) fn limit(mapped: u64) -> Result<(), JailError> {
    limit_resources(&[
        (Resource::As, mapped.saturating_add(EXTRA_ADDRESS_SPACE)),
        (Resource::Core, 0),
        (Resource::Fsize, 0),
        (Resource::Nofile, 0),
        (Resource::Nproc, 0),
    ])
}
