//! What was written to a disk, in order, and what of it a power cut leaves.
//!
//! QEMU's blklogwrites keeps the log in the format of Linux' dm-log-writes: a superblock in the first
//! sector, then for each request a sector that says what it is, and its data behind.

use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;

use fs_err as fs;

const SECTOR: u64 = 512;
/// The superblock's first words: the magic number and the version.
const SUPERBLOCK: [u64; 2] = [0x006a_7366_7773_6872, 1];
const FLUSH: u64 = 1;
/// Forced unit access: durable when it is done.
const FUA: u64 = 2;
const DISCARD: u64 = 4;

/// A request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What was asked.
    pub operation: Operation,
    /// Where it ends in the log, in bytes.
    pub end: u64,
}

impl Entry {
    /// Bytes that it writes.
    pub fn written(&self) -> u64 {
        match &self.operation {
            Operation::Write { data, .. } => data.end - data.start,
            Operation::Flush | Operation::Discard => 0,
        }
    }
}

/// What a request asks of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Operation {
    /// To write.
    Write {
        /// Where on the disk, in bytes.
        at: u64,
        /// Where in the log what is written is.
        data: Range<u64>,
        /// It does not wait for a flush.
        durable: bool,
    },
    /// To make all that was written durable.
    Flush,
    /// To forget what is somewhere.
    Discard,
}

/// A log.
#[derive(Debug)]
pub struct WriteLog {
    file: fs::File,
    entries: Vec<Entry>,
}

impl WriteLog {
    /// Opens a log, as far as it is whole.
    pub fn open(path: &Path) -> io::Result<Self> {
        let file = fs::File::open(path)?;
        let len = file.metadata()?.len();
        let superblock: [u64; 2] = words(&file, 0)?;
        if superblock != SUPERBLOCK {
            return Err(io::Error::other(format!("{superblock:x?} is no log's superblock")));
        }
        let (mut entries, mut at) = (Vec::new(), SECTOR);
        while at + SECTOR <= len {
            let [sector, sectors, flags, more] = words(&file, at)?;
            let [start, bytes] = [sector, sectors].map(|sectors| sectors.saturating_mul(SECTOR));
            let data = at + SECTOR..(at + SECTOR).saturating_add(bytes);
            let operation = match flags {
                flags if flags & DISCARD != 0 => Operation::Discard,
                flags if flags & FLUSH != 0 && bytes == 0 => Operation::Flush,
                flags => {
                    Operation::Write { at: start, data: data.clone(), durable: flags & FUA != 0 }
                }
            };
            at = match operation {
                Operation::Write { .. } => data.end,
                Operation::Flush | Operation::Discard => data.start,
            };
            if at > len || more != 0 {
                break;
            }
            entries.push(Entry { operation, end: at });
        }
        Ok(Self { file, entries })
    }

    /// All requests, in their order.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Does to a disk what is left of these requests by a power cut after the last: all that is
    /// durable, and of the writes that are not those that `survives` says.
    pub fn cut(
        &self,
        entries: &[Entry],
        disk: &fs::File,
        mut survives: impl FnMut() -> bool,
    ) -> io::Result<()> {
        let is_flush = |entry: &Entry| entry.operation == Operation::Flush;
        let flushed = entries.iter().rposition(is_flush).unwrap_or(0);
        for (index, entry) in entries.iter().enumerate() {
            let Operation::Write { at, data, durable } = &entry.operation else { continue };
            if index < flushed || *durable || survives() {
                let len = usize::try_from(data.end - data.start).map_err(io::Error::other)?;
                let mut bytes = vec![0; len];
                self.file.file().read_exact_at(&mut bytes, data.start)?;
                disk.file().write_all_at(&bytes, *at)?;
            }
        }
        Ok(())
    }
}

/// Words, least byte first.
fn words<const N: usize>(file: &fs::File, at: u64) -> io::Result<[u64; N]> {
    let mut words = [0; N];
    for (word, at) in words.iter_mut().zip((at..).step_by(8)) {
        let mut bytes = [0; 8];
        file.file().read_exact_at(&mut bytes, at)?;
        *word = u64::from_le_bytes(bytes);
    }
    Ok(words)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(words: &[u64]) -> Vec<u8> {
        let mut sector: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        sector.resize(SECTOR as usize, 0);
        sector
    }

    /// Writes 1 and 2, flush, writes 3 and 4 (which is durable), the beginning of another.
    fn log(folder: &Path) -> WriteLog {
        let write = |at: u64, flags: u64, byte: u8| {
            [sector(&[at, 1, flags, 0]), vec![byte; SECTOR as usize]].concat()
        };
        let log = [
            sector(&SUPERBLOCK),
            write(5, 0, 1),
            write(6, 0, 2),
            sector(&[0, 0, FLUSH, 0]),
            sector(&[6, 9, DISCARD, 0]),
            write(5, 0, 3),
            write(7, FUA, 4),
            sector(&[8, 1, 0, 0]),
        ];
        fs::write(folder.join("log"), log.concat()).unwrap();
        WriteLog::open(&folder.join("log")).unwrap()
    }

    fn cut(requests: usize, survives: bool) -> [u8; 3] {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        let disk = fs::File::create_new(folder.path().join("disk")).unwrap();
        disk.set_len(16 * SECTOR).unwrap();
        log.cut(&log.entries()[..requests], &disk, || survives).unwrap();
        let disk = fs::read(folder.path().join("disk")).unwrap();
        [5, 6, 7].map(|sector| disk[sector * SECTOR as usize])
    }

    #[test]
    fn what_was_flushed_stays_and_all_else_may() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        let ends: Vec<_> = log.entries().iter().map(|entry| entry.end / SECTOR).collect();
        assert_eq!(ends, [3, 5, 6, 7, 9, 11]);
        // After so many requests: what stays for certain, and what may.
        for (requests, least, most) in [
            (0, [0, 0, 0], [0, 0, 0]),
            (1, [0, 0, 0], [1, 0, 0]),
            (2, [0, 0, 0], [1, 2, 0]),
            (3, [1, 2, 0], [1, 2, 0]),
            (4, [1, 2, 0], [1, 2, 0]),
            (5, [1, 2, 0], [3, 2, 0]),
            (6, [1, 2, 4], [3, 2, 4]),
        ] {
            assert_eq!(cut(requests, false), least, "{requests}");
            assert_eq!(cut(requests, true), most, "{requests}");
        }
    }

    #[test]
    fn another_file_is_no_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("other");
        fs::write(&path, [7; 2 * SECTOR as usize]).unwrap();
        assert!(WriteLog::open(&path).is_err());
    }
}
