//! Buffers that direct I/O accepts.

/// Enough for every block device: the page size.
const ALIGNMENT: usize = 4096;

/// A buffer that begins at a multiple of 4096 bytes, as direct I/O wants it.
pub struct AlignedBuf {
    bytes: Vec<u8>,
    start: usize,
    len: usize,
}

impl AlignedBuf {
    /// `len` zeroes.
    pub fn zeroed(len: usize) -> Self {
        let bytes = vec![0; len + ALIGNMENT];
        let start = bytes.as_ptr().addr().next_multiple_of(ALIGNMENT) - bytes.as_ptr().addr();
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

/// Whether direct I/O takes memory from `address` on as it is.
pub(super) fn is_aligned(address: *const u8) -> bool {
    address.addr().is_multiple_of(ALIGNMENT)
}
