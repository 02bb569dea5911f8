//! Buffers that direct I/O accepts.

use std::ops::DerefMut;

use memmap2::{Advice, MmapMut};

/// Enough for every block device: the page size.
const ALIGNMENT: usize = 4096;

/// The huge page of x86_64 and of arm64 with 4 KiB pages.
const HUGE_PAGE: usize = 2 << 20;

/// A buffer that begins at a multiple of 4096 bytes, as direct I/O wants it.
///
/// One of 2 MiB or more lies in huge pages where the system has them: a medium that is handed two
/// pieces of memory is done in half the time that it takes with a thousand scattered ones.
pub struct AlignedBuf {
    bytes: Box<dyn DerefMut<Target = [u8]> + Send + Sync>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zeroes.
    pub fn zeroed(len: usize) -> Self {
        let alignment = if len < HUGE_PAGE { ALIGNMENT } else { HUGE_PAGE };
        let bytes = zeroes(len + alignment);
        let start = bytes.as_ptr().addr().next_multiple_of(alignment) - bytes.as_ptr().addr();
        Self { bytes, start, len }
    }

    /// Its bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes[self.start..self.start + self.len]
    }

    /// Its bytes, to be changed.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.start + self.len]
    }
}

fn zeroes(len: usize) -> Box<dyn DerefMut<Target = [u8]> + Send + Sync> {
    if len >= HUGE_PAGE
        && let Ok(mapped) = MmapMut::map_anon(len)
    {
        // Only advice: a kernel without huge pages refuses it.
        let _ = mapped.advise(Advice::HugePage);
        return Box::new(mapped);
    }
    Box::new(vec![0; len])
}

/// Whether direct I/O takes memory from `address` on as it is.
pub(super) fn is_aligned(address: *const u8) -> bool {
    address.addr().is_multiple_of(ALIGNMENT)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_buffers_begin_where_a_huge_page_does() {
        for (len, alignment) in [(0, 4096), (1, 4096), (HUGE_PAGE, HUGE_PAGE), (5 << 20, HUGE_PAGE)]
        {
            let mut buffer = AlignedBuf::zeroed(len);
            assert_eq!(buffer.bytes(), vec![0; len]);
            assert!(buffer.bytes().as_ptr().addr().is_multiple_of(alignment), "{len}");
            buffer.bytes_mut().fill(1);
            assert_eq!(buffer.bytes(), vec![1; len]);
        }
    }
}
