//! Memory from the firmware, aligned as every disk driver wants it.

use core::ptr::NonNull;
use core::slice;

use uefi::boot::{self, AllocateType, MemoryType, PAGE_SIZE};

/// Zeroed pages, given back when dropped. Unlike an allocation by Rust's allocator a failed one
/// is an error: an image as large as its headers claim may not fit the machine.
pub struct Pages {
    start: NonNull<u8>,
    count: usize,
    len: usize,
}

impl Pages {
    /// At least `len` bytes; the slices have exactly `len`.
    pub fn new(len: usize) -> uefi::Result<Self> {
        let count = len.div_ceil(PAGE_SIZE).max(1);
        let start = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, count)?;
        // SAFETY: the firmware has just given us these `count` pages and nobody else has them.
        // Zeroing makes them initialized, which `as_slice` relies on.
        unsafe { start.write_bytes(0, count * PAGE_SIZE) };
        Ok(Self { start, count, len })
    }

    /// Forgets the bytes from `len` on.
    pub fn truncate(&mut self, len: u64) {
        self.len = usize::try_from(len).map_or(self.len, |len| len.min(self.len));
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `len` initialized bytes that we own, borrowed as long as `self` is.
        unsafe { slice::from_raw_parts(self.start.as_ptr(), self.len) }
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and the borrow of `self` is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start.as_ptr(), self.len) }
    }
}

impl Drop for Pages {
    fn drop(&mut self) {
        // SAFETY: allocated by `new` with this count, and every slice borrowed `self`, which is
        // going. Pages that the firmware will not take back are merely lost to it.
        let _ = unsafe { boot::free_pages(self.start, self.count) };
    }
}
