//! Why a file system could not be read.

use std::io;

/// Why something could not be read.
#[derive(Debug)]
pub(in crate::delta::files) enum Flaw {
    /// The image cannot be read.
    Io(io::Error),
    /// It can, and does not hold what it should.
    Damaged,
}

impl From<io::Error> for Flaw {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What is damaged is left out; what cannot be read ends the reading.
pub(in crate::delta::files) fn passable<T>(result: Result<T, Flaw>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Flaw::Damaged) => Ok(None),
        Err(Flaw::Io(error)) => Err(error),
    }
}
