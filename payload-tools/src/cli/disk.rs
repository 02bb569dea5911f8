use std::fmt;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use partition_layout::{Guid, Layout};
use serde::Serialize;

use super::{Failure, OUTPUT_EXISTS_HINT, Output, refuse_absent, refuse_no_release};
use crate::build::Warning;
use crate::bundle::Bundle;
use crate::disk::{CreatedDisk, DiskError, NewDisk, SlotSizes, create};
use crate::format::Release;

const EXAMPLES: &str = "\
Examples:
  payload disk create --release release-1 --esp seesaw-selector.efi --size 4G --out disk.img
  payload disk create --release release-1 --esp seesaw-selector.efi --state state \\
      --kernel-size 96M --root-size 512M --out disk.img

STATE gets the owners of the files in its folder: run as root, or in fakeroot.";

/// Make disks as they leave the factory.
#[derive(Debug, Args)]
pub struct Disk {
    #[command(subcommand)]
    verb: DiskVerb,
}

#[derive(Debug, Subcommand)]
enum DiskVerb {
    Create(Box<Create>),
}

/// Make a disk image: the selector, a release in slot A, slot B empty, STATE.
///
/// The image is sparse, and what is written is checked against the release.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
struct Create {
    /// `standard`, or a TOML file with the partitions' names.
    #[arg(long, default_value = "standard")]
    layout: PathBuf,
    /// Size of the disk (K, M, G, T: powers of 1024); STATE gets what is left.
    #[arg(long, value_parser = parse_size)]
    size: Option<u64>,
    /// Release folder or bundle for slot A.
    #[arg(long, value_name = "RELEASE")]
    release: PathBuf,
    /// The boot selector, signed where Secure Boot is on.
    #[arg(long, value_name = "EFI")]
    esp: PathBuf,
    /// Folder with the first content of STATE.
    #[arg(long, value_name = "FOLDER")]
    state: Option<PathBuf>,
    /// File to make.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Size of the EFI system partition.
    #[arg(long, value_parser = parse_size, default_value = "32M")]
    esp_size: u64,
    /// Size of KERNEL-A and KERNEL-B; by default twice the release's, at least 64M.
    #[arg(long, value_parser = parse_size)]
    kernel_size: Option<u64>,
    /// Size of ROOT-A and ROOT-B; by default one and a half times the release's.
    #[arg(long, value_parser = parse_size)]
    root_size: Option<u64>,
    /// Bytes of a logical block of the disk.
    #[arg(long, default_value_t = 512)]
    block_size: u32,
    /// Identity of the disk; random by default. The same gives the same table.
    #[arg(long, value_name = "GUID")]
    disk_guid: Option<Guid>,
}

#[derive(Debug, Serialize)]
struct DiskReport {
    disk: PathBuf,
    size: u64,
    disk_guid: String,
    release: Release,
    counter: u64,
    partitions: Vec<PartitionReport>,
    warnings: Vec<Warning>,
}

#[derive(Debug, Serialize)]
struct PartitionReport {
    number: u32,
    name: String,
    partuuid: String,
    offset: u64,
    size: u64,
}

impl Disk {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        match self.verb {
            DiskVerb::Create(verb) => verb.run(output),
        }
    }
}

impl Create {
    fn run(self, output: &Output) -> Result<(), Failure> {
        refuse_no_release(&self.release)?;
        refuse_absent(&self.esp)?;
        let disk = NewDisk {
            layout: self.read_layout()?,
            disk_guid: self.disk_guid.map_or_else(Guid::random, Ok)?,
            size: self.size,
            block_size: self.block_size,
            esp_size: self.esp_size,
            slot_sizes: SlotSizes { kernel: self.kernel_size, root: self.root_size },
            release: self.release,
            selector: self.esp,
            state: self.state,
        };
        let manifest = Bundle::open(&disk.release)?.manifest().map_err(Failure::refused)?;
        let total = manifest.images.iter().map(|image| image.size).sum();
        let bar = output.bytes_bar("writing", total);
        let created = create(&disk, &self.out, &|bytes| bar.inc(bytes)).map_err(failure)?;
        bar.finish_and_clear();
        for warning in &created.warnings {
            eprintln!("warning: {warning}");
        }
        output.report(&report(self.out, created))
    }

    fn read_layout(&self) -> Result<Layout, Failure> {
        if self.layout.as_os_str() == "standard" {
            return Ok(Layout::standard());
        }
        let text = fs_err::read_to_string(&self.layout)?;
        Layout::from_toml(&text).map_err(Failure::usage)
    }
}

fn failure(error: DiskError) -> Failure {
    match error {
        DiskError::Exists(_) => Failure::usage(error).hint(OUTPUT_EXISTS_HINT),
        DiskError::Selector { .. } => {
            Failure::refused(error).hint("`cargo xtask selector --output FILE` makes it")
        }
        DiskError::Image { ref source, .. } if !source.is_of_payload() => error.into(),
        DiskError::Release(_) | DiskError::Kernel(_) | DiskError::Image { .. } => {
            Failure::refused(error)
        }
        DiskError::Create(_) => Failure::usage(error)
            .hint("give a larger --size, or smaller --kernel-size, --root-size"),
        DiskError::Fit(_) => Failure::usage(error).hint("give larger --kernel-size, --root-size"),
        other => other.into(),
    }
}

fn report(disk: PathBuf, created: CreatedDisk) -> DiskReport {
    let CreatedDisk { size, table, manifest, warnings } = created;
    let slots = table.slots.iter().flat_map(|slot| [&slot.kernel, &slot.root]);
    let mut partitions: Vec<_> = table.esp.iter().chain(slots).chain(&table.state).collect();
    partitions.sort_by_key(|partition| partition.number);
    let partitions = partitions.into_iter().map(|partition| PartitionReport {
        number: partition.number,
        name: partition.name.clone(),
        partuuid: partition.guid.to_string(),
        offset: partition.offset,
        size: partition.size,
    });
    DiskReport {
        disk,
        size,
        disk_guid: table.disk_guid.to_string(),
        release: manifest.release,
        counter: manifest.counter,
        partitions: partitions.collect(),
        warnings,
    }
}

impl fmt::Display for DiskReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { disk, size, release, counter, partitions, .. } = self;
        writeln!(f, "made {}, {size} bytes, disk {}", disk.display(), self.disk_guid)?;
        for PartitionReport { number, name, partuuid, size, .. } in partitions {
            writeln!(f, "  {number} {name:<9} {:>6} MiB  {partuuid}", size >> 20)?;
        }
        writeln!(f, "  slot A: release {release}, counter {counter}, confirmed; slot B: empty")
    }
}

/// Bytes, with an optional K, M, G or T for powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let (digits, shift) = match text.as_bytes().last() {
        Some(b'K') => (&text[..text.len() - 1], 10),
        Some(b'M') => (&text[..text.len() - 1], 20),
        Some(b'G') => (&text[..text.len() - 1], 30),
        Some(b'T') => (&text[..text.len() - 1], 40),
        _ => (text, 0),
    };
    let number: u64 = digits.parse().map_err(|_| "use a number and K, M, G or T".to_owned())?;
    number.checked_mul(1 << shift).ok_or_else(|| "larger than any disk".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_powers_of_1024() {
        let sizes = [("0", 0), ("512", 512), ("3K", 3072), ("2M", 2 << 20), ("4G", 4 << 30)];
        for (text, size) in sizes {
            assert_eq!(parse_size(text), Ok(size));
        }
        for text in ["", "G", "1.5G", "-1", "4GiB", "18446744073709551615K"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
