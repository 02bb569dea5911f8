//! The child's side: map the buffers, enter the jail, decode what is asked.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use payload_tools::format::delta::{DeltaDecoder, SOURCE_MAX};
use payload_tools::format::seekable::FrameError;
use rustix::mm::{MapFlags, ProtFlags};

use super::wire::{Refusal, Reply, Request};
use super::{INPUT_MAX, JailError, OUTPUT_MAX, SOURCE_AT, jail};

pub(super) const ARGUMENT: &str = "--confined-decoder";

/// Exit codes of a child that ends by itself.
const ORDERLY: i32 = 0;
pub(super) const NOT_CONFINED: i32 = 3;

/// Becomes a confined decoder, and never returns, if this program was started
/// as one. Call it first in `main` of every program that stages an update.
pub fn enter_if_asked() {
    if std::env::args_os().nth(1).as_deref() == Some(OsStr::new(ARGUMENT)) {
        let code = match Workshop::set_up() {
            Ok(workshop) => workshop.serve(Workshop::decode),
            Err(_) => NOT_CONFINED,
        };
        std::process::exit(code);
    }
}

/// Everything decoding needs, taken before the jail closes: afterwards there
/// is no memory to be had.
pub(super) struct Workshop {
    pub input: &'static [u8],
    source: &'static mut [u8],
    output: &'static mut [u8],
    decoder: DeltaDecoder,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SetUpError {
    #[error("cannot map the shared buffers")]
    Map(#[source] rustix::io::Errno),
    #[error("cannot make a decoder")]
    Decoder(#[from] FrameError),
    #[error(transparent)]
    Jail(#[from] JailError),
}

impl Workshop {
    pub fn set_up() -> Result<Self, SetUpError> {
        let Buffers { input, source, output } = map_buffers().map_err(SetUpError::Map)?;
        let decoder = DeltaDecoder::new()?;
        jail::enter()?;
        Ok(Workshop { input, source, output, decoder })
    }

    /// Answers requests by `decode` until the parent has no more; with what the process ends.
    pub fn serve(mut self, decode: impl Fn(&mut Self, Request) -> Result<(), Refusal>) -> i32 {
        let control = std::io::stdin();
        if rustix::io::write(&control, &[Reply::Ready.encode()]).is_err() {
            return ORDERLY;
        }
        loop {
            let mut request = [0; Request::SIZE];
            match rustix::io::read(&control, &mut request) {
                Ok(Request::SIZE) => {}
                // The parent closed the socket: no more work.
                _ => return ORDERLY,
            }
            let Some(request) = Request::decode(request) else { return ORDERLY };
            let reply = match decode(&mut self, request) {
                Ok(()) => Reply::Decoded,
                Err(refusal) => Reply::Refused(refusal),
            };
            if rustix::io::write(&control, &[reply.encode()]).is_err() {
                return ORDERLY;
            }
        }
    }

    pub fn decode(&mut self, request: Request) -> Result<(), Refusal> {
        let input = self.input[..INPUT_MAX].get(..request.input_len as usize);
        let source = self.source.get_mut(..request.source_len as usize);
        let output = self.output.get_mut(..request.output_len as usize);
        let (Some(input), Some(source), Some(output)) = (input, source, output) else {
            return Err(Refusal::TooLong);
        };
        Ok(self.decoder.decode(request.recipe.into(), input, source, output)?)
    }
}

struct Buffers {
    input: &'static [u8],
    source: &'static mut [u8],
    output: &'static mut [u8],
}

/// Maps descriptors 1 (input, and behind it the source) and 2 (output), which the parent put there.
#[expect(unsafe_code, reason = "no safe interface maps a descriptor that another process shares")]
fn map_buffers() -> Result<Buffers, rustix::io::Errno> {
    let (input, output) = (std::io::stdout(), std::io::stderr());
    let writable = ProtFlags::READ | ProtFlags::WRITE;
    let map = |fd: std::os::fd::BorrowedFd<'_>, at: usize, len: usize, access| {
        // SAFETY: the kernel chooses the address, so no mapping of ours is
        // replaced. The parent sized and sealed both memfds before starting
        // us, so every page of the mapping exists for as long as it is mapped.
        unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, at as u64)
        }
    };
    let shared = map(input.as_fd(), 0, SOURCE_AT, ProtFlags::READ)?;
    let source = map(input.as_fd(), SOURCE_AT, SOURCE_MAX, writable)?;
    let output = map(output.as_fd(), 0, OUTPUT_MAX, writable)?;
    // SAFETY: the mappings have these lengths, do not overlap and are never
    // unmapped. The parent writes input and source only while we wait for a
    // request, reads the output only after our reply, and does neither in
    // between; a parent that did otherwise would harm nobody but its own decoder.
    let input = unsafe { std::slice::from_raw_parts(shared.cast::<u8>(), SOURCE_AT) };
    // SAFETY: as above, and this is the only reference to the source.
    let source = unsafe { std::slice::from_raw_parts_mut(source.cast::<u8>(), SOURCE_MAX) };
    // SAFETY: as above, and this is the only reference to the output.
    let output = unsafe { std::slice::from_raw_parts_mut(output.cast::<u8>(), OUTPUT_MAX) };
    Ok(Buffers { input, source, output })
}
