//! The process that makes one delta: this same program started again, so that decoding and compressing
//! take no memory and no time of the server's own, and end with it.

use std::error::Error;
use std::ffi::OsStr;
use std::io::{self, BufRead};
use std::num::NonZero;
use std::path::PathBuf;

use payload_tools::bundle::Bundle;
use payload_tools::delta::{DeltaPlan, LEVEL_DEFAULT, make, unpack};
use payload_tools::error_chain::one_line;
use payload_tools::format::Image;
use payload_tools::jail::{limit_resources, mapped_bytes};
use payload_tools::verify::Decoding;
use rustix::process::{Resource, nice};
use serde::{Deserialize, Serialize};
use tempfile::tempfile_in;

use super::jail;

/// What this program is started with to become one.
pub(super) const ARGUMENT: &str = "--delta-maker";

/// Address space that the C library reserves when a thread first asks for memory, at most.
const RESERVED_BY_THREAD: u64 = 128 << 20;

/// What is to be made: the first line of standard input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Job {
    /// Has the payloads of both images.
    pub payloads: PathBuf,
    /// An empty file.
    pub out: PathBuf,
    /// A folder for the files in which both images are unpacked.
    pub scratch: PathBuf,
    /// The image that devices have.
    pub from: Image,
    /// The image that they are to get.
    pub to: Image,
    /// Cores to use.
    pub threads: NonZero<usize>,
    /// Memory that may be had.
    pub memory_bytes: u64,
}

/// Becomes the process that makes a delta, and never returns, if this program was started as one. Call
/// it first in `main`.
pub fn enter_if_asked() {
    if std::env::args_os().nth(1).as_deref() != Some(OsStr::new(ARGUMENT)) {
        return;
    }
    let code = match work() {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("{}", one_line(&*error));
            1
        }
    };
    std::process::exit(code)
}

fn work() -> Result<(), Box<dyn Error>> {
    let mut job = String::new();
    io::stdin().lock().read_line(&mut job)?;
    let job: Job = serde_json::from_str(&job)?;
    step_back(&job)?;
    // All that is ever written: inside no more files can be made.
    let out = fs_err::OpenOptions::new().write(true).open(&job.out)?;
    let (old, new) = (tempfile_in(&job.scratch)?, tempfile_in(&job.scratch)?);
    jail::enter(&job)?;
    // A thread: not before the jail, which it would be left out of.
    end_with_the_server();
    let payloads = Bundle::open(&job.payloads)?;
    let with = (Decoding::Here, job.threads);
    let image = |image: &Image, file| unpack(&payloads, image, file, with, &|_| ());
    let (old, new) = (image(&job.from, old)?, image(&job.to, new)?);
    let plan = DeltaPlan {
        old: (&job.from).into(),
        new: (&job.to).into(),
        level: LEVEL_DEFAULT,
        threads: job.threads,
    };
    make(&plan, (&old, &new), out.file(), &|_| ())?;
    Ok(())
}

/// The server holds the other end of standard input for as long as it lives.
fn end_with_the_server() {
    std::thread::spawn(|| {
        let _ended = io::copy(&mut io::stdin(), &mut io::sink());
        std::process::exit(1)
    });
}

/// After everybody else, with no more memory and no larger files than the job needs: what is asked beyond
/// fails here.
pub(super) fn step_back(job: &Job) -> Result<(), Box<dyn Error>> {
    nice(19)?;
    let files = file_bytes_max(job.from.size, job.to.size);
    let space = address_space_max(mapped_bytes()?, job.memory_bytes, job.threads);
    limit_resources(&[
        (Resource::Data, job.memory_bytes),
        // Also what a stack grows by, which is no data.
        (Resource::As, space),
        (Resource::Fsize, files),
        // Who has no memory aborts: that is no crash to be looked into.
        (Resource::Core, 0),
    ])?;
    Ok(())
}

/// What is mapped already, the memory, and what is reserved and never used by the threads at work, the one
/// that waits for the server's end, and the first.
fn address_space_max(mapped: u64, memory_bytes: u64, threads: NonZero<usize>) -> u64 {
    let reserved = RESERVED_BY_THREAD.saturating_mul((threads.get() as u64).saturating_add(2));
    mapped.saturating_add(memory_bytes).saturating_add(reserved)
}

/// The largest file that is written: an image, or what the larger one becomes where nothing of it can be
/// compressed, with its frames and tables. One that is too large to be worth its room still ends here.
fn file_bytes_max(from: u64, to: u64) -> u64 {
    let largest = from.max(to);
    largest.saturating_add(largest / 16).saturating_add(1 << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_is_much_larger_than_the_larger_image() {
        let mib = 1 << 20;
        assert_eq!(file_bytes_max(0, 4096), mib + 4096 + 256);
        assert_eq!(file_bytes_max(160 * mib, 16 * mib), 171 * mib);
        assert_eq!(file_bytes_max(u64::MAX, 1), u64::MAX);
    }
}
