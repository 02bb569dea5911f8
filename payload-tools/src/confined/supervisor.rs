//! The parent's side: starts the child, hands it work, does not wait for ever
//! and does not believe it.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, SealFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};

use super::wire::{Recipe, Refusal, Reply, Request};
use super::{OUTPUT_MAX, SHARED_INPUT, SOURCE_AT, child};
use crate::format::delta::PayloadPlace;

/// How long a child may take to start or to decode one segment. A segment
/// takes 0.1 s on the slowest machine seen (an emulated core at 67 MiB/s).
const DEADLINE: Duration = Duration::from_secs(20);
/// A repacked segment may take so many times as long, all its parts together: 2 MiB at the highest
/// level of zstd take 1.5 s where a segment is decoded in 10 ms.
const PACKING_TIMES: u32 = 6;

/// Why a segment was not decoded.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The decoder looked at the bytes and refused them.
    #[error("the decoder refused the segment")]
    Refused(#[source] Refusal),
    /// The child ended: by a crash, or by a system call it may not make.
    #[error("the decoder process died ({0})")]
    Died(ExitStatus),
    /// The child did not answer in time and was ended.
    #[error("the decoder process gave no answer within {} s", .0.as_secs())]
    TimedOut(Duration),
    /// The child said something that is not of the protocol and was ended.
    #[error("the decoder process does not keep to its protocol")]
    Nonsense,
    /// The child cannot be confined on this kernel: nothing is decoded without.
    #[error("the decoder process cannot be confined here; the kernel needs seccomp filters")]
    NotConfined,
    /// Our own side failed.
    #[error("cannot run the decoder process")]
    Run(#[source] io::Error),
}

impl From<io::Error> for DecodeError {
    fn from(error: io::Error) -> Self {
        DecodeError::Run(error)
    }
}

impl From<rustix::io::Errno> for DecodeError {
    fn from(error: rustix::io::Errno) -> Self {
        DecodeError::Run(error.into())
    }
}

/// A confined decoder and its shared buffers. After an error of the child it
/// starts a new one for the next segment. Use it from one thread only: the
/// child dies with the thread that started it.
pub struct Decoder {
    running: Running,
    arguments: Vec<&'static str>,
    deadline: Duration,
    /// When the repacked segment has to be made that is being made.
    due: Option<Instant>,
}

struct Running {
    process: Child,
    control: OwnedFd,
    input: fs_err::File,
    output: fs_err::File,
}

impl Decoder {
    /// Starts a child and waits until it is confined.
    pub fn start() -> Result<Self, DecodeError> {
        Self::start_as(&[child::ARGUMENT], DEADLINE)
    }

    pub(super) fn start_as(
        arguments: &[&'static str],
        deadline: Duration,
    ) -> Result<Self, DecodeError> {
        let running = Running::start(arguments, deadline)?;
        let arguments = arguments.to_vec();
        Ok(Decoder { running, arguments, deadline, due: None })
    }

    /// Puts `bytes` at `offset` of the payload that is to be decoded by this recipe.
    pub fn put(&self, recipe: Recipe, offset: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        let buffer = match recipe.payload_place() {
            PayloadPlace::Work => &self.running.input,
            PayloadPlace::Segment => &self.running.output,
        };
        Ok(buffer.file().write_all_at(bytes, offset as u64)?)
    }

    /// Puts `bytes` of the old image at `offset` of what the child finds as its source.
    pub fn put_source(&self, offset: usize, bytes: &[u8]) -> Result<(), DecodeError> {
        Ok(self.running.input.file().write_all_at(bytes, (SOURCE_AT + offset) as u64)?)
    }

    /// Makes all of `output` by the recipe from the first `input_len` bytes of the payload that was
    /// put there, and the first `source_len` bytes of the source. It is a private copy, and still
    /// unchecked.
    pub fn make(
        &mut self,
        recipe: Recipe,
        input_len: usize,
        source_len: usize,
        output: &mut [u8],
    ) -> Result<(), DecodeError> {
        self.ask(recipe, input_len, source_len, output.len())?;
        self.take(output)
    }

    /// What was made of a segment last, as [`make`](Self::make) gives it.
    pub fn take(&self, output: &mut [u8]) -> Result<(), DecodeError> {
        Ok(self.running.output.file().read_exact_at(output, 0)?)
    }

    /// As [`make`](Self::make), for `output_len` bytes that are still to be taken: a repacked segment
    /// is begun, and then made part by part.
    pub fn ask(
        &mut self,
        recipe: Recipe,
        input_len: usize,
        source_len: usize,
        output_len: usize,
    ) -> Result<(), DecodeError> {
        let lens = [input_len, source_len, output_len].map(u32::try_from);
        let [Ok(input_len), Ok(source_len), Ok(output_len)] = lens else {
            return Err(DecodeError::Refused(Refusal::TooLong));
        };
        let request = Request { recipe, input_len, source_len, output_len };
        let (deadline, due) = time_for(recipe, self.due, Instant::now(), self.deadline);
        self.due = due;
        let result = self.running.ask(request, deadline);
        if !matches!(result, Ok(()) | Err(DecodeError::Refused(_))) {
            self.running = Running::start(&self.arguments, self.deadline)?;
        }
        result
    }

    /// The child's process id, for those who watch it.
    #[cfg(test)]
    pub(super) fn pid(&self) -> u32 {
        self.running.process.id()
    }
}

/// How long a request may take, and when the repacked segment that it is for is due: all its parts
/// together have one time.
fn time_for(
    recipe: Recipe,
    due: Option<Instant>,
    now: Instant,
    deadline: Duration,
) -> (Duration, Option<Instant>) {
    match (recipe, due) {
        (Recipe::Part { .. }, Some(due)) => (due.saturating_duration_since(now), Some(due)),
        (Recipe::Repack { .. }, _) => (deadline, Some(now + deadline * PACKING_TIMES)),
        _ => (deadline, None),
    }
}

impl Running {
    fn start(arguments: &[&str], deadline: Duration) -> Result<Self, DecodeError> {
        let (ours, theirs) = rustix::net::socketpair(
            AddressFamily::UNIX,
            SocketType::SEQPACKET,
            SocketFlags::CLOEXEC,
            None,
        )?;
        let input = shared_buffer("seesaw-input", SHARED_INPUT)?;
        let output = shared_buffer("seesaw-output", OUTPUT_MAX)?;
        // Standard streams carry the three descriptors, so that no others need
        // to be inherited.
        let process = Command::new("/proc/self/exe")
            .args(arguments)
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::from(theirs))
            .stdout(Stdio::from(input.file().try_clone()?))
            .stderr(Stdio::from(output.file().try_clone()?))
            .spawn()?;
        let mut running = Running { process, control: ours, input, output };
        match running.reply(deadline) {
            Ok(Reply::Ready) => Ok(running),
            Ok(_) => Err(DecodeError::Nonsense),
            Err(DecodeError::Died(status)) if status.code() == Some(child::NOT_CONFINED) => {
                Err(DecodeError::NotConfined)
            }
            Err(error) => Err(error),
        }
    }

    fn ask(&mut self, request: Request, deadline: Duration) -> Result<(), DecodeError> {
        let request = request.encode();
        if rustix::net::send(&self.control, &request, rustix::net::SendFlags::NOSIGNAL).is_err() {
            return Err(self.ended());
        }
        match self.reply(deadline)? {
            Reply::Decoded => Ok(()),
            Reply::Refused(refusal) => Err(DecodeError::Refused(refusal)),
            Reply::Ready => Err(DecodeError::Nonsense),
        }
    }

    fn reply(&mut self, deadline: Duration) -> Result<Reply, DecodeError> {
        if !self.wait_readable(deadline)? {
            return Err(DecodeError::TimedOut(deadline));
        }
        let mut bytes = [0; 2];
        match rustix::io::read(&self.control, &mut bytes) {
            Ok(1) => Reply::decode(bytes[0]).ok_or(DecodeError::Nonsense),
            Ok(0) | Err(_) => Err(self.ended()),
            Ok(_) => Err(DecodeError::Nonsense),
        }
    }

    fn wait_readable(&self, deadline: Duration) -> Result<bool, DecodeError> {
        let end = Instant::now() + deadline;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec {
                tv_sec: left.as_secs().try_into().unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            let mut fds = [PollFd::from_borrowed_fd(self.control.as_fd(), PollFlags::IN)];
            match rustix::event::poll(&mut fds, Some(&timeout)) {
                Ok(ready) => return Ok(ready > 0),
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The socket is closed: the child is gone or, if it closed it itself, is
    /// ended now.
    fn ended(&mut self) -> DecodeError {
        // A child that is dying by itself has closed its end already; its own
        // status is the interesting one, and kill does not change it.
        let _ = self.process.kill();
        match self.process.wait() {
            Ok(status) => DecodeError::Died(status),
            Err(error) => DecodeError::Run(error),
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Fails only when the child has ended already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Memory that both sides see and neither can resize.
fn shared_buffer(name: &str, size: usize) -> Result<fs_err::File, DecodeError> {
    let fd = rustix::fs::memfd_create(name, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&fd, size as u64)?;
    rustix::fs::fcntl_add_seals(&fd, SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(fs_err::File::from_parts(fd.into(), name))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_of_a_segment_have_one_time_together() {
        let (now, deadline) = (Instant::now(), Duration::from_secs(20));
        let (part, repack) = (Recipe::Part { directory_len: 1 }, Recipe::Repack { streams_len: 1 });
        let due = Some(now + deadline * PACKING_TIMES);
        let at = |times: u32| now + deadline * times;
        for (recipe, was, time, expected) in [
            (repack, None, now, (deadline, due)),
            (part, due, at(1), (deadline * (PACKING_TIMES - 1), due)),
            (part, due, at(PACKING_TIMES + 1), (Duration::ZERO, due)),
            (repack, Some(now - deadline), now, (deadline, due)),
            // None was begun, and another request ends it.
            (part, None, now, (deadline, None)),
            (Recipe::Zstd, due, at(1), (deadline, None)),
        ] {
            assert_eq!(time_for(recipe, was, time, deadline), expected, "{recipe:?} {was:?}");
        }
    }
}
