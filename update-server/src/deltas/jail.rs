//! What is taken from the process that makes a delta before it sees the first byte of a payload.

use std::error::Error;
use std::path::{Path, PathBuf};

use payload_tools::bundle::{full_name, levels_name};
use payload_tools::jail::{
    Call, FilesShutOff, drop_capabilities, forget_calls, leave_calls, shut_files_off,
};

use super::child::Job;

const NO_LANDLOCK: &str = "this kernel cannot shut a process off from files: deltas are made by a \
    kernel with landlock (Linux 5.13, and `landlock` in its list of security modules)";

/// `prctl`'s ways to name a thread and a mapping.
const NAME_THREAD: u32 = 15;
const NAME_MAPPING: u32 = 0x5356_4d41;
/// `fcntl`'s commands that look at a descriptor or copy it. Others have the kernel signal any process
/// of the same user when something comes through one.
const LOOK_AT_DESCRIPTOR: [i32; 4] =
    [libc::F_GETFD, libc::F_SETFD, libc::F_GETFL, libc::F_DUPFD_CLOEXEC];
/// What opening a file to read has none of. Landlock keeps files from being emptied only from Linux 6.2 on.
const CHANGES_FILES: i32 = libc::O_ACCMODE | libc::O_CREAT | libc::O_TRUNC;
/// What a private mapping may be besides. Shared ones and stacks that grow are in no limit of data.
const OF_MAPPINGS: i32 =
    libc::MAP_ANONYMOUS | libc::MAP_FIXED | libc::MAP_NORESERVE | libc::MAP_STACK;

/// Leaves what is open, the payloads of both images to read, threads and memory. Call it while there is
/// one thread: others would stay outside.
pub(super) fn enter(job: &Job) -> Result<(), Box<dyn Error>> {
    drop_capabilities()?;
    let payloads =
        [&job.from, &job.to].map(|image| [full_name, levels_name].map(|name| name(&image.root)));
    let payloads: Vec<PathBuf> =
        payloads.iter().flatten().map(|name| job.payloads.join(name)).collect();
    let read: Vec<&Path> = payloads.iter().map(PathBuf::as_path).collect();
    match shut_files_off(&read)? {
        FilesShutOff::Yes => {}
        // Opening files is left below, so that nothing else would keep it from the server's.
        FilesShutOff::No => return Err(NO_LANDLOCK.into()),
    }
    // Its flags are in memory, where no filter sees whether it is a thread that is made. The C
    // library makes its threads by clone() then.
    forget_calls(&[Call::Any(libc::SYS_clone3)])?;
    Ok(leave_calls(&left())?)
}

/// What decoding, compressing and an orderly end take, also by another C library's version: none
/// starts a program, reaches another process, or makes a socket.
fn left() -> Vec<Call> {
    let any = [
        // Files.
        libc::SYS_close,
        libc::SYS_read,
        libc::SYS_pread64,
        libc::SYS_write,
        libc::SYS_writev,
        libc::SYS_pwrite64,
        libc::SYS_lseek,
        libc::SYS_ftruncate,
        libc::SYS_fstat,
        libc::SYS_newfstatat,
        libc::SYS_statx,
        // For the backtrace of a panic.
        libc::SYS_getcwd,
        // Memory.
        libc::SYS_brk,
        libc::SYS_mremap,
        libc::SYS_munmap,
        libc::SYS_mprotect,
        libc::SYS_madvise,
        // Threads and time.
        libc::SYS_clone3,
        libc::SYS_set_robust_list,
        libc::SYS_rseq,
        libc::SYS_futex,
        libc::SYS_gettid,
        libc::SYS_getpid,
        libc::SYS_sched_yield,
        libc::SYS_sched_getaffinity,
        libc::SYS_clock_gettime,
        libc::SYS_clock_nanosleep,
        libc::SYS_nanosleep,
        libc::SYS_restart_syscall,
        libc::SYS_getrandom,
        // Signals, which end it.
        libc::SYS_rt_sigaction,
        libc::SYS_rt_sigprocmask,
        libc::SYS_rt_sigreturn,
        libc::SYS_sigaltstack,
        libc::SYS_exit,
        libc::SYS_exit_group,
    ];
    let is = |call, argument, value| Call::Is { call, argument, value };
    let bits = |bits: i32| u64::from(bits.unsigned_abs());
    let thread = bits(libc::CLONE_THREAD);
    let a_thread = Call::Bits { call: libc::SYS_clone, argument: 0, of: thread, set: thread };
    let to_read =
        Call::Bits { call: libc::SYS_openat, argument: 2, of: bits(CHANGES_FILES), set: 0 };
    let private = Call::Bits {
        call: libc::SYS_mmap,
        argument: 3,
        of: !bits(OF_MAPPINGS),
        set: bits(libc::MAP_PRIVATE),
    };
    let by_name = [NAME_THREAD, NAME_MAPPING].map(|what| is(libc::SYS_prctl, 0, what));
    // Who has no memory aborts.
    let to_itself = is(libc::SYS_tgkill, 0, std::process::id());
    let look = LOOK_AT_DESCRIPTOR.map(|what| is(libc::SYS_fcntl, 1, what.unsigned_abs()));
    let some = [a_thread, to_read, private, to_itself].into_iter().chain(by_name).chain(look);
    any.into_iter().map(Call::Any).chain(some).collect()
}

#[cfg(test)]
mod tests;
