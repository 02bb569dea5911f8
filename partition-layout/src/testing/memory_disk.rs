//! A sparse disk in memory.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::device::{BlockDevice, check_write};

/// A disk in memory. Blocks that were never written read as zero and cost nothing, so a clone
/// is cheap and a terabyte is small.
#[derive(Debug)]
pub struct MemoryDisk {
    block_size: u32,
    size: u64,
    blocks: Mutex<BTreeMap<u64, Vec<u8>>>,
}

impl MemoryDisk {
    /// An empty disk of `size` bytes.
    pub fn new(size: u64, block_size: u32) -> Self {
        Self { block_size, size, blocks: Mutex::default() }
    }

    /// This disk with another size, as a virtual machine's gets: more zeroes, or its end cut off.
    #[must_use]
    pub fn resized(self, size: u64) -> Self {
        self.blocks().retain(|lba, _| (lba + 1) * u64::from(self.block_size) <= size);
        Self { size, ..self }
    }

    /// The content of block `lba`.
    pub fn block(&self, lba: u64) -> Vec<u8> {
        let zeroes = || vec![0; self.block_size as usize];
        self.blocks().get(&lba).cloned().unwrap_or_else(zeroes)
    }

    /// Replaces block `lba`.
    pub fn set_block(&self, lba: u64, bytes: Vec<u8>) {
        assert_eq!(bytes.len(), self.block_size as usize, "not one block");
        self.blocks().insert(lba, bytes);
    }

    /// Flips the lowest bit of a byte of block `lba`, as damage.
    pub fn damage(&self, lba: u64, at: usize) {
        let mut bytes = self.block(lba);
        bytes[at] ^= 1;
        self.set_block(lba, bytes);
    }

    fn blocks(&self) -> MutexGuard<'_, BTreeMap<u64, Vec<u8>>> {
        self.blocks.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lbas(&self, offset: u64) -> impl Iterator<Item = (u64, usize)> + use<> {
        let block = u64::from(self.block_size);
        let starts = [(offset / block, (offset % block) as usize)];
        starts.into_iter().chain((offset / block + 1..).map(|lba| (lba, 0)))
    }
}

impl Clone for MemoryDisk {
    fn clone(&self) -> Self {
        Self { blocks: Mutex::new(self.blocks().clone()), ..*self }
    }
}

impl PartialEq for MemoryDisk {
    fn eq(&self, other: &Self) -> bool {
        let written: Vec<u64> =
            self.blocks().keys().chain(other.blocks().keys()).copied().collect();
        (self.block_size, self.size) == (other.block_size, other.size)
            && written.into_iter().all(|lba| self.block(lba) == other.block(lba))
    }
}

impl BlockDevice for MemoryDisk {
    fn block_size(&self) -> u32 {
        self.block_size
    }

    fn size(&self) -> u64 {
        self.size
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        if offset.checked_add(buf.len() as u64).is_none_or(|end| end > self.size) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let mut rest = buf;
        for (lba, skip) in self.lbas(offset) {
            let bytes = &self.block(lba)[skip..];
            let len = bytes.len().min(rest.len());
            rest[..len].copy_from_slice(&bytes[..len]);
            rest = &mut rest[len..];
            if rest.is_empty() {
                break;
            }
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        check_write(self, offset, buf.len())?;
        for ((lba, _), bytes) in self.lbas(offset).zip(buf.chunks(self.block_size as usize)) {
            self.set_block(lba, bytes.to_vec());
        }
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        Ok(())
    }
}
