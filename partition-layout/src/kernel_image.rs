//! The raw unified kernel image at the start of a KERNEL partition: how much of the partition it
//! takes. The partition has no file system, so only the image's own headers can tell.
//!
//! Offsets are those of the Microsoft PE/COFF specification, "File Headers". The headers are
//! untrusted: an image is read before any signature is checked.
//!
//! ```text
//! 0      "MZ" ... u32 at 60: offset p of the PE header
//! p      "PE\0\0"
//! p+4    COFF header: u16 at +2 number of sections, u16 at +16 size of the optional header
//! p+24   optional header: u16 magic 0x20b, u32 at +60 size of all headers,
//!        u32 at +108 number of directories; at +112, 8 bytes each; the fifth is the
//!        certificate table: u32 *file offset*, u32 size
//! ...    section table, 40 bytes each: name, u32 at +16 raw size, u32 at +20 raw offset
//! ```

use core::ops::Range;

/// Bytes at the start of the partition that hold every header. `stage` writes this block last,
/// and zeroes it first: without it there is no image.
pub const HEAD_SIZE: usize = 4096;

const PE_OFFSET_AT: usize = 60;
const COFF: usize = 4;
const SECTION_COUNT: usize = COFF + 2;
const OPTIONAL_SIZE: usize = COFF + 16;
const OPTIONAL: usize = COFF + 20;
const HEADERS_SIZE: usize = OPTIONAL + 60;
const DIRECTORY_COUNT: usize = OPTIONAL + 108;
const CERTIFICATES: usize = OPTIONAL + 112 + 4 * 8;
const SECTION_SIZE: usize = 40;
const PE32_PLUS: u16 = 0x20b;
const CERTIFICATES_INDEX: u32 = 4;

/// Why the start of a partition is not the start of an image.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum KernelImageError {
    /// Only zeroes: nothing was written yet, or the writing was cut off.
    #[error("the first 4 KiB are zero: no image was completely written")]
    Blank,
    /// Something else than a program.
    #[error("no PE program begins here")]
    NotPe,
    /// A program for 16 or 32 bits.
    #[error("the PE program is not of the 64-bit kind")]
    NotPe32Plus,
    /// More headers than an image of this project can have.
    #[error("the PE headers do not end within the first {HEAD_SIZE} bytes")]
    HeadersTooLong,
    /// A signature over bytes that include the signature.
    #[error("the certificate table begins at {begin}, within the image that ends at {end}")]
    CertificatesInside {
        /// Where the table begins in the file.
        begin: u64,
        /// Where the last section ends in the file.
        end: u64,
    },
    /// The headers promise more than there is.
    #[error("the image takes {size} bytes and only {available} are there")]
    TooLarge {
        /// Bytes that the image takes by its headers.
        size: u64,
        /// Bytes of the partition or file.
        available: u64,
    },
}

/// A section of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, filled up with zeroes.
    pub name: [u8; 8],
    /// Its bytes in the file; never empty.
    pub bytes: Range<u64>,
}

/// What the headers of an image say, checked against the room that there is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelImage<'a> {
    section_table: &'a [u8],
    file_size: u64,
}

impl<'a> KernelImage<'a> {
    /// Reads the headers in `head`, the first bytes of `available` (a partition's size, or a
    /// file's). At most [`HEAD_SIZE`] bytes of `head` are looked at.
    ///
    /// # Errors
    /// When they are not an image's, or the image would not fit `available`.
    pub fn parse(head: &'a [u8], available: u64) -> Result<Self, KernelImageError> {
        let head = Head(&head[..head.len().min(HEAD_SIZE)]);
        if head.0.iter().all(|&byte| byte == 0) {
            return Err(KernelImageError::Blank);
        }
        if head.0.get(..2) != Some(b"MZ") {
            return Err(KernelImageError::NotPe);
        }
        let pe = head.from(head.u32(PE_OFFSET_AT)?)?;
        if pe.0.get(..COFF) != Some(b"PE\0\0") {
            return Err(KernelImageError::NotPe);
        }
        if pe.u16(OPTIONAL)? != PE32_PLUS {
            return Err(KernelImageError::NotPe32Plus);
        }
        let section_table = pe.section_table()?;
        let image_end = sections(section_table).map(|section| section.bytes.end).max().unwrap_or(0);
        let image_end = image_end.max(pe.u32(HEADERS_SIZE)?.into());
        let file_size = pe.certificates_end(image_end)?.unwrap_or(image_end);
        if file_size > available {
            return Err(KernelImageError::TooLarge { size: file_size, available });
        }
        Ok(Self { section_table, file_size })
    }

    /// Bytes of the file: to the end of its certificate table, else of its last section. Under
    /// Secure Boot firmware refuses an image with one byte more.
    pub fn file_size(&self) -> u64 {
        self.file_size
    }

    /// The sections that have bytes in the file, in the order of the section table.
    pub fn sections(&self) -> impl Iterator<Item = Section> + 'a {
        sections(self.section_table)
    }
}

fn sections(table: &[u8]) -> impl Iterator<Item = Section> + '_ {
    table.chunks_exact(SECTION_SIZE).filter_map(|entry| {
        let field = |at: usize| u32::from_le_bytes([0, 1, 2, 3].map(|i| entry[at + i]));
        let (size, begin) = (u64::from(field(16)), u64::from(field(20)));
        let name = [0, 1, 2, 3, 4, 5, 6, 7].map(|i| entry[i]);
        // Two numbers below 2^32 cannot overflow 64 bits.
        (size > 0).then_some(Section { name, bytes: begin..begin + size })
    })
}

/// Bytes at the start of an image, read with the end in mind.
#[derive(Clone, Copy)]
struct Head<'a>(&'a [u8]);

impl<'a> Head<'a> {
    fn from(self, offset: u32) -> Result<Self, KernelImageError> {
        let offset = usize::try_from(offset).map_err(|_| KernelImageError::HeadersTooLong)?;
        self.0.get(offset..).map(Self).ok_or(KernelImageError::HeadersTooLong)
    }

    fn array<const N: usize>(self, at: usize) -> Result<[u8; N], KernelImageError> {
        let rest = self.0.get(at..).ok_or(KernelImageError::HeadersTooLong)?;
        rest.first_chunk().copied().ok_or(KernelImageError::HeadersTooLong)
    }

    fn u16(self, at: usize) -> Result<u16, KernelImageError> {
        self.array(at).map(u16::from_le_bytes)
    }

    fn u32(self, at: usize) -> Result<u32, KernelImageError> {
        self.array(at).map(u32::from_le_bytes)
    }

    /// Seen from the PE header: the whole section table.
    fn section_table(self) -> Result<&'a [u8], KernelImageError> {
        let begin = OPTIONAL + usize::from(self.u16(OPTIONAL_SIZE)?);
        let size = usize::from(self.u16(SECTION_COUNT)?) * SECTION_SIZE;
        self.0.get(begin..begin + size).ok_or(KernelImageError::HeadersTooLong)
    }

    /// Seen from the PE header: where the certificate table ends, if there is one.
    fn certificates_end(self, image_end: u64) -> Result<Option<u64>, KernelImageError> {
        if self.u32(DIRECTORY_COUNT)? <= CERTIFICATES_INDEX {
            return Ok(None);
        }
        let begin = u64::from(self.u32(CERTIFICATES)?);
        let size = u64::from(self.u32(CERTIFICATES + 4)?);
        if size == 0 {
            return Ok(None);
        }
        if begin < image_end {
            return Err(KernelImageError::CertificatesInside { begin, end: image_end });
        }
        Ok(Some(begin + size))
    }
}

#[cfg(test)]
mod tests;
