//! What hostile code tries in a process that it took over, where no safe interface does it.
#![expect(unsafe_code, reason = "what no safe interface does is the point")]

use std::os::fd::{AsRawFd, BorrowedFd};

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
