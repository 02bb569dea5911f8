//! Why a stage ended without a staged slot.

use std::fmt;
use std::io;
use std::path::PathBuf;

use partition_layout::OpenError;
use payload_tools::confined::DecodeError;
use payload_tools::format::Role;
use payload_tools::format::seekable::SeekTableError;
use payload_tools::tree::{GroupMismatch, TreeError};

use super::source::SourceError;

/// Where in a stage something went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// The image.
    pub role: Role,
    /// The segment of the image.
    pub segment: u64,
    /// Bytes of both images that the phase was through with.
    pub bytes_done: u64,
    /// Bytes of both images.
    pub bytes_total: u64,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Place { role, segment, bytes_done, bytes_total } = self;
        write!(
            f,
            "segment {segment} of the {role} image ({bytes_done} of {bytes_total} bytes done)"
        )
    }
}

/// Why a stage ended. The booted slot is untouched, whichever it is, and the
/// target too by what [`prepare`](super::prepare) says; later it is unbootable.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum InstallError {
    /// The manifest lacks an image. Nothing was written.
    #[error("the release has no {0} image; publish it again")]
    NoImage(Role),
    /// The image does not fit its partition. Nothing was written.
    #[error(
        "the {role} image of {size} bytes does not fit its partition of {room} bytes; \
         build a smaller image or make a disk with larger slots"
    )]
    DoesNotFit { role: Role, size: u64, room: u64 },
    /// The target cannot be opened. Nothing was written.
    #[error("cannot open {path} to write the {role} image")]
    Open {
        role: Role,
        path: PathBuf,
        #[source]
        source: OpenError,
    },
    /// The tree or seek table of an image cannot be had. Nothing was written.
    #[error("cannot get the tree or the seek table of the {role} image")]
    Index {
        role: Role,
        #[source]
        source: SourceError,
    },
    /// The tree levels do not belong to the signed root. Nothing was written.
    #[error("the tree of the {role} image is not the signed one; publish the release again")]
    Levels {
        role: Role,
        #[source]
        source: TreeError,
    },
    /// The payload's seek table does not fit the image. Nothing was written.
    #[error(
        "the seek table of the {role} payload does not fit the image; publish the release again"
    )]
    SeekTable {
        role: Role,
        #[source]
        source: SeekTableError,
    },
    /// The source gave up.
    #[error("cannot fetch {place}; the next attempt goes on from here")]
    Fetch {
        place: Place,
        #[source]
        source: SourceError,
    },
    /// The segment cannot be decoded, fetched twice.
    #[error("cannot decode {place}, also when fetched again; {}", remedy(source))]
    Decode {
        place: Place,
        #[source]
        source: DecodeError,
    },
    /// The segment is not what was signed, fetched twice. It was not written.
    #[error("{place} is not what was signed, also when fetched again, and was not written")]
    Mismatch {
        place: Place,
        #[source]
        source: GroupMismatch,
    },
    /// No confined decoder can be started.
    #[error("cannot start a confined decoder, and payloads are decoded nowhere else")]
    Decoder(#[source] DecodeError),
    /// The medium refused a write.
    #[error("cannot write {place}; check the medium")]
    Write {
        place: Place,
        #[source]
        source: io::Error,
    },
    /// The medium refused a read, or a read of the booted slot failed.
    #[error("cannot read {place} back; check the medium")]
    Read {
        place: Place,
        #[source]
        source: io::Error,
    },
    /// A flush failed: what was written may not be on the medium.
    #[error("cannot flush the {role} image to the medium; check the medium")]
    Flush {
        role: Role,
        #[source]
        source: io::Error,
    },
    /// The medium gives back other bytes than were written, after a repair too.
    #[error(
        "{place} reads back differently than it was written; the medium is failing, replace it"
    )]
    ReadBack {
        place: Place,
        #[source]
        source: GroupMismatch,
    },
    /// The first block of the kernel cannot be made or is not there afterwards.
    #[error("cannot {step} the first block of the kernel; check the medium")]
    KernelHead {
        step: HeadStep,
        #[source]
        source: io::Error,
    },
    /// The watcher asked for an end.
    #[error(
        "cancelled after {bytes_done} of {bytes_total} bytes; the next attempt goes on from here"
    )]
    Cancelled { bytes_done: u64, bytes_total: u64 },
}

/// What was being done with the first block of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeadStep {
    /// Before anything else changes, so that the kernel cannot start.
    Zero,
    /// After everything was read back.
    Write,
    /// The last check.
    ReadBack,
}

impl fmt::Display for HeadStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            HeadStep::Zero => "zero",
            HeadStep::Write => "write",
            HeadStep::ReadBack => "read back",
        })
    }
}

/// A decoder that is slow is starved more often than it is fed what keeps it busy.
fn remedy(error: &DecodeError) -> &'static str {
    match error {
        DecodeError::TimedOut(_) => {
            "leave the device more processor time, or set install.priority to normal"
        }
        _ => "publish the release again",
    }
}
