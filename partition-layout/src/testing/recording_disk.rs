//! A disk that remembers how it was written, and can be cut off at any moment.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::MemoryDisk;
use crate::device::BlockDevice;

/// What was done to a [`RecordingDisk`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// One logical block was written.
    Write {
        /// Its number.
        lba: u64,
        /// Its new content.
        bytes: Vec<u8>,
    },
    /// Everything before is on the medium.
    Flush,
}

/// A disk with a volatile write cache: a read sees every write, a power cut keeps what was
/// flushed and any of the blocks written since.
///
/// The write of one logical block is all or nothing.
#[derive(Debug)]
pub struct RecordingDisk {
    start: MemoryDisk,
    now: MemoryDisk,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    log: Vec<Operation>,
    /// Operations, reads included, until the device stops answering.
    operations_left: Option<u64>,
}

/// Blocks with unflushed changes beyond which an enumeration would not end.
const UNFLUSHED_MAX: usize = 16;

impl RecordingDisk {
    /// Starts recording on a disk whose present content is durable.
    pub fn new(start: MemoryDisk) -> Self {
        Self { now: start.clone(), start, state: Mutex::default() }
    }

    /// Lets `operations` more reads, writes of a block and flushes succeed. All later ones fail,
    /// and a write or flush that fails does nothing.
    #[must_use]
    pub fn failing_after(self, operations: u64) -> Self {
        self.state().operations_left = Some(operations);
        self
    }

    /// What was done, in order.
    pub fn log(&self) -> Vec<Operation> {
        self.state().log.clone()
    }

    /// What a reader sees now.
    pub fn image(&self) -> MemoryDisk {
        self.now.clone()
    }

    /// Every disk that a power cut could leave, at whatever moment it comes.
    ///
    /// A cut keeps, for each block, what was durable or any version written since. So the cuts
    /// just before each flush, and at the end, cover those between: a shorter prefix of the log
    /// is a longer one with its last writes lost.
    pub fn crash_images(&self) -> Vec<MemoryDisk> {
        let durable = self.start.clone();
        let mut unflushed: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut images = vec![durable.clone()];
        for operation in self.log() {
            match operation {
                Operation::Write { lba, bytes } => {
                    let versions = unflushed.entry(lba).or_insert_with(|| vec![durable.block(lba)]);
                    if !versions.contains(&bytes) {
                        versions.push(bytes.clone());
                    }
                    // The newest version goes last: it is what a flush makes durable.
                    versions.sort_by_key(|version| *version == bytes);
                }
                Operation::Flush => {
                    images.extend(subsets(&durable, &unflushed).skip(1));
                    for (lba, versions) in std::mem::take(&mut unflushed) {
                        durable
                            .set_block(lba, versions.into_iter().next_back().unwrap_or_default());
                    }
                    images.push(durable.clone());
                }
            }
        }
        images.extend(subsets(&durable, &unflushed).skip(1));
        images
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count(&self) -> io::Result<()> {
        if let Some(left) = &mut self.state().operations_left {
            *left = left.checked_sub(1).ok_or_else(|| io::Error::other("the device is gone"))?;
        }
        Ok(())
    }
}

/// Every choice of one version per block.
fn subsets<'a>(
    durable: &'a MemoryDisk,
    unflushed: &'a BTreeMap<u64, Vec<Vec<u8>>>,
) -> impl Iterator<Item = MemoryDisk> + 'a {
    let changed: Vec<_> = unflushed.iter().filter(|(_, versions)| versions.len() > 1).collect();
    assert!(changed.len() <= UNFLUSHED_MAX, "{} blocks changed without a flush", changed.len());
    let count: usize = changed.iter().map(|(_, versions)| versions.len()).product();
    (0..count).map(move |mut choice| {
        let image = durable.clone();
        for (lba, versions) in &changed {
            image.set_block(**lba, versions[choice % versions.len()].clone());
            choice /= versions.len();
        }
        image
    })
}

impl BlockDevice for RecordingDisk {
    fn block_size(&self) -> u32 {
        self.start.block_size()
    }

    fn size(&self) -> u64 {
        self.start.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.count()?;
        self.now.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        let block = u64::from(self.block_size());
        crate::device::check_write(self, offset, buf.len())?;
        for (lba, bytes) in (offset / block..).zip(buf.chunks(self.block_size() as usize)) {
            self.count()?;
            self.now.write_at(lba * block, bytes)?;
            self.state().log.push(Operation::Write { lba, bytes: bytes.to_vec() });
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.count()?;
        self.state().log.push(Operation::Flush);
        Ok(())
    }
}
