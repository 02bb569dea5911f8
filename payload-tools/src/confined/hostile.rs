//! Decoders that can be taken over, as if zstd had a hole, for the tests of who uses them.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::Command;

use super::child::{self, Workshop};
use super::wire::{Refusal, Reply, Request};
use crate::jail::{Call, JailError};
use crate::testing::taken_over;

/// What a test program is started with to be hostile from the first request on.
pub(super) const HOSTILE: &str = "--hostile-decoder";
/// A payload whose last bytes begin so takes over the decoder of these tests, as if zstd had a hole.
const HOLE: &[u8] = b"hole:";
const TAKEN_OVER: usize = 32;

/// The end of a payload that makes the decoder of these tests do `act`.
pub fn taking_over(act: &str) -> Vec<u8> {
    let mut bytes = [HOLE, act.as_bytes()].concat();
    bytes.resize(TAKEN_OVER, 0);
    bytes
}

/// Becomes a decoder that can be taken over, if this test program was started again as one. Call it before
/// the test harness runs.
pub fn enter_if_asked() {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(child::ARGUMENT) => decode_with_a_hole(),
        Some(HOSTILE) => be_hostile(&arguments.next().unwrap_or_default()),
        _ => {}
    }
}

fn decode_with_a_hole() -> ! {
    let Ok(workshop) = Workshop::set_up() else { std::process::exit(child::NOT_CONFINED) };
    let code = workshop.serve(|workshop, request| {
        let payload = workshop.payload(request);
        let end = payload.len().checked_sub(TAKEN_OVER).map(|at| &payload[at..]);
        let Some(act) = end.and_then(|end| end.strip_prefix(HOLE)) else {
            return workshop.decode(request);
        };
        match act.split(|byte| *byte == 0).next().map(str::from_utf8) {
            // A claim that there is a segment.
            Some(Ok("lie")) => Ok(()),
            Some(Ok(act)) => do_harm(act),
            _ => Err(Refusal::Damaged),
        }
    });
    std::process::exit(code)
}

fn be_hostile(act: &str) -> ! {
    if act == "no seccomp here" && forbid_seccomp().is_err() {
        std::process::exit(1);
    }
    let Ok(_workshop) = Workshop::set_up() else { std::process::exit(child::NOT_CONFINED) };
    let control = std::io::stdin();
    let said = rustix::io::write(&control, &[Reply::Ready.encode()]);
    match said.and_then(|_| rustix::io::read(&control, &mut [0; Request::SIZE])) {
        Ok(_) => do_harm(act),
        Err(_) => std::process::exit(1),
    }
}

/// Runs in the jail, where an assertion could not be told.
fn do_harm(act: &str) -> ! {
    let control = std::io::stdin();
    match act {
        "open" => drop(std::fs::File::open("/etc/hostname")),
        "socket" => drop(std::net::TcpListener::bind("127.0.0.1:0")),
        "exec" => drop(Command::new("/bin/true").exec()),
        "fork" => drop(Command::new("/bin/true").spawn()),
        "kill" => kill_the_parent(),
        "signal by a descriptor" => {
            let parent = rustix::process::getppid().map_or(0, rustix::process::Pid::as_raw_pid);
            taken_over::signal_by(control.as_fd(), parent);
        }
        "ptrace" => trace_init(),
        "allocate" => allocate_without_end(),
        "read standard error" => drop(rustix::io::read(std::io::stderr(), &mut [0])),
        "write standard output" => drop(rustix::io::write(std::io::stdout(), &[0])),
        "nonsense" => drop(rustix::io::write(&control, b"?")),
        "too many words" => drop(rustix::io::write(&control, b"dd")),
        "ready again" => drop(rustix::io::write(&control, &[Reply::Ready.encode()])),
        "never return" => loop {
            std::hint::spin_loop();
        },
        _ => {}
    }
    std::process::exit(0)
}

fn kill_the_parent() {
    if let Some(parent) = rustix::process::getppid() {
        let _ = rustix::process::kill_process(parent, rustix::process::Signal::KILL);
    }
}

#[expect(unsafe_code, reason = "rustix has no ptrace")]
fn trace_init() {
    // SAFETY: PTRACE_ATTACH takes a process id and no pointer.
    unsafe { libc::ptrace(libc::PTRACE_ATTACH, 1, 0, 0) };
}

fn allocate_without_end() {
    let mut hoard = Vec::new();
    loop {
        hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
    }
}

/// A kernel that has no seccomp, as far as the child can tell.
fn forbid_seccomp() -> Result<(), JailError> {
    crate::jail::forget_calls(&[Call::Any(libc::SYS_seccomp)])
}
