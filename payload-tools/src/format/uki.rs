//! The unified kernel image, as far as Seesaw reads it: the `.osrel` section in
//! which every slot names its release, with no file system needed.

use std::io;
use std::ops::Range;

use jiff::Timestamp;
use partition_layout::kernel_image::{HEAD_SIZE, KernelImage, KernelImageError};

use super::{Compatible, NameError, Release};

/// Most bytes of a text section that are read.
pub const TEXT_SIZE_MAX: u64 = 64 << 10;

/// What a UKI's `.osrel` says of the release that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Osrel {
    /// `IMAGE_VERSION`.
    pub release: Release,
    /// `SEESAW_COMPATIBLE`.
    pub compatible: Compatible,
    /// `SEESAW_COUNTER`.
    pub counter: u64,
    /// `SEESAW_BUILT`, RFC 3339.
    pub built: Timestamp,
}

/// Why a kernel image does not say what release it belongs to.
#[derive(Debug, thiserror::Error)]
pub enum UkiError {
    /// It could not be read.
    #[error("cannot read the kernel image at byte {offset}")]
    Read {
        /// Offset in the image.
        offset: u64,
        /// What the system said.
        source: io::Error,
    },
    /// Not a kernel image.
    #[error("not a unified kernel image")]
    Headers(#[from] KernelImageError),
    /// A section is missing or there are several.
    #[error("the kernel image has {count} sections {section} where one is needed")]
    Sections {
        /// Name of the section.
        section: &'static str,
        /// How many it has.
        count: usize,
    },
    /// A section is longer than its text can be.
    #[error("section {section} has {len} bytes, more than the {TEXT_SIZE_MAX} allowed")]
    SectionLength {
        /// Name of the section.
        section: &'static str,
        /// Bytes of the section.
        len: u64,
    },
    /// Not text.
    #[error("section .osrel is not UTF-8 text")]
    NotText,
    /// A field is missing, there are several, or it is empty.
    #[error("section .osrel has {count} lines {key}=... where one is needed")]
    Field {
        /// Name of the field.
        key: &'static str,
        /// How many it has.
        count: usize,
    },
    /// A field's value is not a name.
    #[error("section .osrel: the value of {key} is refused")]
    Name {
        /// Name of the field.
        key: &'static str,
        /// The rule that it breaks.
        source: NameError,
    },
    /// A field's value is not a number or a time.
    #[error("section .osrel: {key}={value} is not {wanted}")]
    Value {
        /// Name of the field.
        key: &'static str,
        /// Its value, cut to 80 characters.
        value: String,
        /// What it is to be.
        wanted: &'static str,
    },
}

/// Where the bytes of the only section of this name are.
///
/// `head` is the first [`HEAD_SIZE`] bytes of the image, `available` the size of
/// the partition or file.
pub fn section(head: &[u8], available: u64, section: &'static str) -> Result<Range<u64>, UkiError> {
    let image = KernelImage::parse(head, available)?;
    let mut found = image.sections().filter(|found| is_named(&found.name, section));
    match (found.next(), found.count()) {
        (Some(only), 0) => Ok(only.bytes),
        (first, more) => {
            let count = usize::from(first.is_some()) + more;
            Err(UkiError::Sections { section, count })
        }
    }
}

/// The text of a section, without the zeroes that fill it up.
pub fn read_section(
    available: u64,
    name: &'static str,
    read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
) -> Result<Vec<u8>, UkiError> {
    let mut fill = |len: u64, offset: u64| -> Result<Vec<u8>, UkiError> {
        let mut bytes = vec![0; len as usize];
        read(&mut bytes, offset).map_err(|source| UkiError::Read { offset, source })?;
        Ok(bytes)
    };
    let head = fill(available.min(HEAD_SIZE as u64), 0)?;
    let Range { start, end } = section(&head, available, name)?;
    let len = end - start;
    if len > TEXT_SIZE_MAX {
        return Err(UkiError::SectionLength { section: name, len });
    }
    let mut text = fill(len, start)?;
    text.truncate(text.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1));
    Ok(text)
}

impl Osrel {
    /// Reads the release of the kernel image at the start of a partition or file
    /// of `available` bytes, by at most 68 KiB from two places.
    pub fn read(
        available: u64,
        read: &mut dyn FnMut(&mut [u8], u64) -> io::Result<()>,
    ) -> Result<Self, UkiError> {
        Self::parse(&read_section(available, ".osrel", read)?)
    }

    /// Reads the text of an `.osrel` section: os-release(5), of which only these
    /// four fields are looked at.
    pub fn parse(text: &[u8]) -> Result<Self, UkiError> {
        let text = str::from_utf8(text).map_err(|_| UkiError::NotText)?;
        let name = |key| move |source| UkiError::Name { key, source };
        let value = |key, value: &str, wanted| {
            let value = value.chars().take(80).collect();
            UkiError::Value { key, value, wanted }
        };
        let release = field(text, "IMAGE_VERSION")?;
        let compatible = field(text, "SEESAW_COMPATIBLE")?;
        let counter = field(text, "SEESAW_COUNTER")?;
        let built = field(text, "SEESAW_BUILT")?;
        Ok(Self {
            release: release.parse().map_err(name("IMAGE_VERSION"))?,
            compatible: compatible.parse().map_err(name("SEESAW_COMPATIBLE"))?,
            counter: decimal(counter)
                .ok_or_else(|| value("SEESAW_COUNTER", counter, "a number"))?,
            built: built.parse().map_err(|_| value("SEESAW_BUILT", built, "a time in RFC 3339"))?,
        })
    }
}

fn is_named(name: &[u8; 8], wanted: &str) -> bool {
    let len = name.iter().rposition(|&byte| byte != 0).map_or(0, |last| last + 1);
    &name[..len] == wanted.as_bytes()
}

/// The value of the only line with this key, without its quotes.
fn field<'a>(text: &'a str, key: &'static str) -> Result<&'a str, UkiError> {
    let value = |line: &'a str| line.trim_end().strip_prefix(key)?.strip_prefix('=');
    let mut values = text.lines().filter_map(value);
    match (values.next(), values.count()) {
        (Some(only), 0) if !unquote(only).is_empty() => Ok(unquote(only)),
        (Some(_), 0) | (None, _) => Err(UkiError::Field { key, count: 0 }),
        (Some(_), more) => Err(UkiError::Field { key, count: 1 + more }),
    }
}

fn unquote(value: &str) -> &str {
    let inside = |quote| value.strip_prefix(quote)?.strip_suffix(quote);
    inside('"').or_else(|| inside('\'')).unwrap_or(value)
}

/// `u64::from_str` also takes a plus sign.
fn decimal(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests;
