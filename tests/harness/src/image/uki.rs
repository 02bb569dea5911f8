//! Unified kernel images: systemd's UEFI stub with the kernel's parts as more PE sections.

use std::path::{Path, PathBuf};
use std::process::Command;

use fs_err as fs;
use thiserror::Error;

use crate::command::{CommandError, run};

/// The files that become one kernel image.
#[derive(Clone, Copy, Debug)]
pub struct UkiParts<'a> {
    /// systemd's `linuxx64.efi.stub`.
    pub stub: &'a Path,
    /// The text of os-release: names the release without a file system.
    pub os_release: &'a Path,
    /// The kernel's command line. Always there: the stub obeys anyone's when it is not.
    pub command_line: &'a Path,
    /// The kernel.
    pub linux: &'a Path,
    /// The initrd, uncompressed: the payload compresses, and deltas see into it.
    pub initrd: Option<&'a Path>,
}

/// Why a kernel image could not be put together.
#[derive(Debug, Error)]
pub enum UkiError {
    /// A part could not be read.
    #[error("a part of the kernel image could not be read")]
    Part(#[from] std::io::Error),
    /// The stub is not a PE file as systemd ships it.
    #[error("the UEFI stub {} is no 64-bit PE file with sections", stub.display())]
    Stub {
        /// The file.
        stub: PathBuf,
    },
    /// objcopy was of no use.
    #[error(transparent)]
    Objcopy(#[from] CommandError),
}

/// Sections are loaded at page boundaries.
const ALIGNMENT: u64 = 4096;

/// Writes the kernel image of `parts` to the file `image`.
pub fn assemble_uki(parts: &UkiParts<'_>, image: &Path) -> Result<(), UkiError> {
    let stub = fs::read(parts.stub)?;
    let mut address = end_of_sections(&stub)
        .ok_or_else(|| UkiError::Stub { stub: parts.stub.to_owned() })?
        .next_multiple_of(ALIGNMENT);
    // The kernel comes last: it is unpacked in place and may write behind its end.
    let sections = [
        (".osrel", Some(parts.os_release)),
        (".cmdline", Some(parts.command_line)),
        (".initrd", parts.initrd),
        (".linux", Some(parts.linux)),
    ];
    let mut objcopy = Command::new("objcopy");
    // Keeps the stub's time in the PE header too, where objcopy would write the present.
    objcopy.arg("--preserve-dates");
    for (name, file) in sections {
        let Some(file) = file else { continue };
        objcopy.arg("--add-section").arg(format!("{name}={}", file.display()));
        objcopy.arg("--change-section-vma").arg(format!("{name}={address:#x}"));
        address = (address + fs::metadata(file)?.len()).next_multiple_of(ALIGNMENT);
    }
    run("adding sections", objcopy.args([parts.stub, image]))?;
    Ok(())
}

/// The virtual address behind the last section of the PE file `pe` (PE format, "COFF File
/// Header", "Optional Header", "Section Table"), image base included as objcopy counts.
fn end_of_sections(pe: &[u8]) -> Option<u64> {
    const PE32_PLUS: u64 = 0x20b;
    let signature = usize::try_from(number(pe, 0x3c, 4)?).ok()?;
    if pe.get(signature..signature.checked_add(4)?)? != b"PE\0\0" {
        return None;
    }
    let file_header = signature + 4;
    let optional_header = file_header + 20;
    if number(pe, optional_header, 2)? != PE32_PLUS {
        return None;
    }
    let image_base = number(pe, optional_header + 24, 8)?;
    let table = optional_header + usize::try_from(number(pe, file_header + 16, 2)?).ok()?;
    let count = usize::try_from(number(pe, file_header + 2, 2)?).ok()?;
    let ends = (0..count).map(|index| {
        let section = table + index * 40;
        Some(number(pe, section + 12, 4)? + number(pe, section + 8, 4)?)
    });
    let end = ends.collect::<Option<Vec<u64>>>()?.into_iter().max()?;
    image_base.checked_add(end)
}

/// The little-endian number of `length` bytes at `offset`.
fn number(bytes: &[u8], offset: usize, length: usize) -> Option<u64> {
    let field = bytes.get(offset..offset.checked_add(length)?)?;
    Some(field.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte)))
}
