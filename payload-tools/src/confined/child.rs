//! The child's side: map the buffers, enter the jail, decode what is asked.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use rustix::mm::{MapFlags, ProtFlags};

use super::wire::{Recipe, Refusal, Reply, Request};
use super::{JailError, OUTPUT_MAX, SOURCE_AT, WORK_MAX, jail};
#[cfg(feature = "testing")]
use crate::format::delta::PayloadPlace;
use crate::format::delta::{DeltaDecoder, DeltaError, Room, SOURCE_MAX};

pub(super) const ARGUMENT: &str = "--confined-decoder";

/// Exit codes of a child that ends by itself.
const ORDERLY: i32 = 0;
pub(super) const NOT_CONFINED: i32 = 3;

/// Becomes a confined decoder, and never returns, if this program was started
/// as one. Call it first in `main` of every program that decodes payloads.
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
    buffers: Buffers,
    decoder: DeltaDecoder,
    /// Its buffer is taken when it is first asked for.
    control: std::io::Stdin,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum SetUpError {
    #[error("cannot map the shared buffers")]
    Map(#[source] rustix::io::Errno),
    #[error("cannot make a decoder")]
    Decoder(#[from] DeltaError),
    #[error(transparent)]
    Jail(#[from] JailError),
}

impl Workshop {
    pub fn set_up() -> Result<Self, SetUpError> {
        let buffers = map_buffers().map_err(SetUpError::Map)?;
        let decoder = DeltaDecoder::new()?;
        let control = std::io::stdin();
        jail::enter()?;
        Ok(Workshop { buffers, decoder, control })
    }

    /// Answers requests by `decode` until the parent has no more; with what the process ends.
    pub fn serve(mut self, decode: impl Fn(&mut Self, Request) -> Result<(), Refusal>) -> i32 {
        if rustix::io::write(&self.control, &[Reply::Ready.encode()]).is_err() {
            return ORDERLY;
        }
        loop {
            let mut request = [0; Request::SIZE];
            match rustix::io::read(&self.control, &mut request) {
                Ok(Request::SIZE) => {}
                // The parent closed the socket: no more work.
                _ => return ORDERLY,
            }
            let Some(request) = Request::decode(request) else { return ORDERLY };
            let reply = match decode(&mut self, request) {
                Ok(()) => Reply::Decoded,
                Err(refusal) => Reply::Refused(refusal),
            };
            if rustix::io::write(&self.control, &[reply.encode()]).is_err() {
                return ORDERLY;
            }
        }
    }

    pub fn decode(&mut self, request: Request) -> Result<(), Refusal> {
        let Request { recipe, input_len, source_len, output_len } = request;
        let Buffers { work, source, output } = &mut self.buffers;
        let source = source.get_mut(..source_len as usize).ok_or(Refusal::TooLong)?;
        let room = Room { work, source, segment: output };
        let (input, output) = (input_len as usize, output_len as usize);
        match (recipe.method(), recipe) {
            (None, Recipe::Part { directory_len }) => {
                self.decoder.part_in(room, (input, directory_len as usize), output)?;
            }
            (Some(method), _) => self.decoder.decode_in(room, method, input, output)?,
            (None, _) => return Err(Refusal::Repack),
        }
        Ok(())
    }

    /// What the parent put there for a request to decode.
    #[cfg(feature = "testing")]
    pub fn payload(&self, request: Request) -> &[u8] {
        let buffer = match request.recipe.payload_place() {
            PayloadPlace::Work => &self.buffers.work,
            PayloadPlace::Segment => &self.buffers.output,
        };
        buffer.get(..request.input_len as usize).unwrap_or_default()
    }
}

struct Buffers {
    work: &'static mut [u8],
    source: &'static mut [u8],
    output: &'static mut [u8],
}

/// Maps descriptors 1 (work, and behind it the source) and 2 (output), which the parent put there.
#[expect(unsafe_code, reason = "no safe interface maps a descriptor that another process shares")]
fn map_buffers() -> Result<Buffers, rustix::io::Errno> {
    let (input, output) = (std::io::stdout(), std::io::stderr());
    let map = |fd: std::os::fd::BorrowedFd<'_>, at: usize, len: usize| {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        // SAFETY: the kernel chooses the address, so no mapping of ours is
        // replaced. The parent sized and sealed both memfds before starting
        // us, so every page of the mapping exists for as long as it is mapped.
        unsafe {
            rustix::mm::mmap(std::ptr::null_mut(), len, access, MapFlags::SHARED, fd, at as u64)
        }
    };
    let work = map(input.as_fd(), 0, WORK_MAX)?;
    let source = map(input.as_fd(), SOURCE_AT, SOURCE_MAX)?;
    let output = map(output.as_fd(), 0, OUTPUT_MAX)?;
    // SAFETY: the mappings have these lengths, do not overlap and are never
    // unmapped, and this is the only reference to this one. The parent writes all
    // three only while we wait for a request, reads the output only after our
    // reply, and does neither in between; a parent that did otherwise would harm
    // nobody but its own decoder.
    let work = unsafe { std::slice::from_raw_parts_mut(work.cast::<u8>(), WORK_MAX) };
    // SAFETY: as above, and this is the only reference to the source.
    let source = unsafe { std::slice::from_raw_parts_mut(source.cast::<u8>(), SOURCE_MAX) };
    // SAFETY: as above, and this is the only reference to the output.
    let output = unsafe { std::slice::from_raw_parts_mut(output.cast::<u8>(), OUTPUT_MAX) };
    Ok(Buffers { work, source, output })
}
