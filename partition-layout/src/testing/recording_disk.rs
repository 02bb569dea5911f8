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
        let mut images = Vec::new();
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
                    images.extend(subsets(&durable, &unflushed));
                    for (lba, versions) in std::mem::take(&mut unflushed) {
                        durable
                            .set_block(lba, versions.into_iter().next_back().unwrap_or_default());
                    }
                }
            }
        }
        images.extend(subsets(&durable, &unflushed));
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

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const BLOCKS: u64 = 3;

    fn content(disk: &MemoryDisk) -> Vec<u8> {
        (0..BLOCKS).map(|lba| disk.block(lba)[0]).collect()
    }

    /// What a cut can leave, by the definition: any prefix of the log, without any subset of
    /// the writes since its last flush.
    fn by_definition(log: &[Option<(u64, u8)>]) -> Vec<Vec<u8>> {
        let mut images = Vec::new();
        for end in 0..=log.len() {
            let flushed = log[..end].iter().rposition(Option::is_none).unwrap_or(0);
            let (durable, volatile) = log[..end].split_at(flushed);
            for kept in 0_u32..1 << volatile.len() {
                let kept = volatile.iter().enumerate().filter(|(i, _)| kept >> i & 1 == 1);
                let mut image = vec![0; BLOCKS as usize];
                for (lba, byte) in durable.iter().chain(kept.map(|(_, write)| write)).flatten() {
                    image[*lba as usize] = *byte;
                }
                images.push(image);
            }
        }
        images.sort();
        images.dedup();
        images
    }

    proptest! {
        #[test]
        fn cuts_are_enumerated_by_the_definition(
            log in prop::collection::vec(prop::option::weighted(0.7, (0..BLOCKS, 0_u8..3)), 0..9),
        ) {
            let disk = RecordingDisk::new(MemoryDisk::new(BLOCKS * 512, 512));
            for operation in &log {
                match operation {
                    Some((lba, byte)) => disk.write_at(lba * 512, &[*byte; 512]).unwrap(),
                    None => disk.flush().unwrap(),
                }
            }
            let mut images: Vec<_> = disk.crash_images().iter().map(content).collect();
            images.sort();
            images.dedup();
            prop_assert_eq!(images, by_definition(&log));
        }
    }

    #[test]
    fn a_device_that_is_gone_does_nothing() {
        let disk = RecordingDisk::new(MemoryDisk::new(BLOCKS * 512, 512)).failing_after(1);
        assert!(disk.write_at(0, &[1; 1024]).is_err());
        assert!(disk.flush().is_err() && disk.read_at(0, &mut [0; 512]).is_err());
        assert_eq!(content(&disk.image()), [1, 0, 0]);
    }
}
