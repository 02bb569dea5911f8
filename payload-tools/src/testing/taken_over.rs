//! What hostile code tries in a process that it took over, where no safe interface does it.
#![expect(unsafe_code, reason = "what no safe interface does is the point")]

use std::os::fd::{AsRawFd, BorrowedFd};
use std::ptr::null_mut;

/// `fcntl`'s command that chooses the signal.
const F_SETSIG: i32 = 10;

/// Has the kernel end the process `victim` as soon as something comes through the descriptor. Whether it
/// agrees.
pub fn signal_by(fd: BorrowedFd<'_>, victim: i32) -> bool {
    let fd = fd.as_raw_fd();
    let steps = [
        (libc::F_SETOWN, victim),
        (F_SETSIG, libc::SIGKILL),
        (libc::F_SETFL, libc::O_ASYNC | libc::O_NONBLOCK),
    ];
    steps.into_iter().all(|(command, value)| {
        // SAFETY: the descriptor is open, and these commands take a number and no pointer.
        unsafe { libc::fcntl(fd, command, value) == 0 }
    })
}

/// Maps memory that may be written, by the flags besides. Whether it is there.
pub fn map(len: usize, flags: i32) -> bool {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let flags = flags | libc::MAP_ANONYMOUS;
    // SAFETY: the kernel chooses the address, so no mapping of ours is replaced.
    unsafe { libc::mmap(null_mut(), len, access, flags, -1, 0) != libc::MAP_FAILED }
}

/// Where the first thread's stack begins, as far as it has grown.
pub fn stack() -> Option<usize> {
    let maps = std::fs::read_to_string("/proc/self/maps").ok()?;
    let stack = maps.lines().find(|line| line.ends_with("[stack]"))?;
    usize::from_str_radix(stack.split('-').next()?, 16).ok()
}

/// Makes a mapping of this length of the first page of a stack. Whether it is there.
pub fn grow(stack: usize, len: usize) -> bool {
    // SAFETY: the deepest page of the stack is not in use.
    unsafe {
        let page = stack as *mut libc::c_void;
        libc::mremap(page, 4096, len, libc::MREMAP_MAYMOVE) != libc::MAP_FAILED
    }
}
