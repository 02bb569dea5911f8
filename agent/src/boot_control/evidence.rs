//! What booted, by evidence from what started us: the kernel partition that the
//! firmware loaded (an EFI variable of systemd-stub) and the device that is
//! mounted as root. Never the boot attributes, which say what should start.

use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use partition_layout::{BootReport, Guid, SlotLetter, SlotTable};

use crate::update::Booted;

const EFIVARS: &str = "sys/firmware/efi/efivars";
/// Vendor of the variables of the boot loader interface and of systemd-stub.
const LOADER_VENDOR: &str = "4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
/// The newer one first: `Loader...` may be a loader's word about itself.
const KERNEL_VARIABLES: [&str; 2] = ["StubDevicePartUUID", "LoaderDevicePartUUID"];
/// An efivarfs file begins with the variable's attributes.
const ATTRIBUTES_SIZE: usize = 4;
/// Set where the variable is stored: the stub's are volatile, made anew by each boot.
const NON_VOLATILE: u8 = 1;

/// What says which slot runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Evidence {
    /// Of a running device.
    Device {
        /// The partition that the kernel image was loaded from; `None`: no volatile variable says it.
        kernel: Option<Guid>,
        /// Number of the partition that is mounted as root.
        root: u32,
        /// The kernel's id of this boot.
        boot_id: String,
        /// The selector's report.
        report: Option<String>,
    },
    /// Nothing runs from this image file; the slot is the one that somebody says is booted.
    Said {
        /// The slot.
        letter: SlotLetter,
        /// Stands for one boot.
        boot_id: String,
    },
}

/// Evidence that could not be gathered.
#[derive(Debug, thiserror::Error)]
pub enum EvidenceError {
    /// A file of /proc or /sys.
    #[error("cannot find out what booted")]
    Io(#[from] io::Error),
    /// The root file system is not on a partition of a disk.
    #[error(
        "the root file system is on device {device}, which is no partition of a disk: Seesaw updates slots of one disk"
    )]
    NoPartition {
        /// Major and minor number.
        device: String,
    },
}

impl Evidence {
    /// Gathers the evidence of the running device below `root` (`/`), and the
    /// disk that it points to.
    ///
    /// # Errors
    /// The root file system is on no partition.
    pub fn of_device(root: &Path) -> Result<(Self, PathBuf), EvidenceError> {
        let mounts = fs::read_to_string(root.join("proc/self/mountinfo"))?;
        let device = root_device(&mounts).ok_or_else(|| no_partition("none"))?;
        let (disk, partition) = partition_of(root, device)?;
        let efivars = root.join(EFIVARS);
        let boot_id = fs::read_to_string(root.join("proc/sys/kernel/random/boot_id"))?;
        let evidence = Self::Device {
            kernel: kernel_partition(&efivars),
            root: partition,
            boot_id: boot_id.trim().to_owned(),
            report: boot_report(&efivars),
        };
        Ok((evidence, Path::new("/dev").join(disk)))
    }

    /// Whether `path` is the disk that the system below `root` (`/`) runs from.
    ///
    /// # Errors
    /// What it runs from cannot be told, as where an overlay or NFS is its root.
    pub(super) fn runs_from(root: &Path, path: &Path) -> Result<bool, EvidenceError> {
        let (_, disk) = Self::of_device(root)?;
        let disk = root.join(disk.strip_prefix("/").unwrap_or(&disk));
        Ok(fs::canonicalize(path)? == fs::canonicalize(disk)?)
    }

    /// The slot that runs, if kernel and root agree.
    pub fn booted(&self, table: &SlotTable) -> Booted {
        let (kernel, root) = match self {
            Self::Said { letter, .. } => return Booted::Slot(*letter),
            Self::Device { kernel, root, .. } => (kernel, *root),
        };
        let Some(kernel) = kernel else {
            return Booted::Mixed(
                "no EFI variable of this boot says which partition the kernel was loaded from"
                    .to_owned(),
            );
        };
        let of_kernel = table.slot_of_kernel(*kernel).map(|letter| table.slot(letter));
        let of_root = table.slot_of_number(root).map(|letter| table.slot(letter));
        match (of_kernel, of_root) {
            (Some(kernel), Some(root)) if kernel.letter == root.letter => {
                Booted::Slot(kernel.letter)
            }
            (Some(kernel), Some(root)) => Booted::Mixed(format!(
                "the kernel comes from slot {} and the root file system from slot {}",
                kernel.letter, root.letter
            )),
            (None, _) => Booted::Mixed(format!(
                "the kernel comes from partition {kernel}, which is no slot of the disk that root is on"
            )),
            (_, None) => Booted::Mixed(format!("root is on partition {root}, which is no slot")),
        }
    }

    /// Differs from boot to boot.
    pub fn boot_id(&self) -> &str {
        match self {
            Self::Device { boot_id, .. } | Self::Said { boot_id, .. } => boot_id,
        }
    }

    /// The selector's words about this boot.
    pub fn report(&self) -> Option<&str> {
        match self {
            Self::Device { report, .. } => report.as_deref(),
            Self::Said { .. } => None,
        }
    }
}

fn no_partition(device: &str) -> EvidenceError {
    EvidenceError::NoPartition { device: device.to_owned() }
}

/// Major and minor number of what is mounted on `/` (proc_pid_mountinfo(5)); a
/// later mount hides an earlier one.
fn root_device(mountinfo: &str) -> Option<&str> {
    let line = mountinfo.lines().rev().find(|line| line.split(' ').nth(4) == Some("/"))?;
    line.split(' ').nth(2)
}

/// Disk name and partition number of a block device; of dm-verity, of the
/// device that it maps.
fn partition_of(root: &Path, device: &str) -> Result<(PathBuf, u32), EvidenceError> {
    let node = root.join("sys/dev/block").join(device);
    if let Ok(slaves) = fs::read_dir(node.join("slaves")) {
        for slave in slaves.flatten() {
            if let Ok(found) = partition_at(&slave.path()) {
                return Ok(found);
            }
        }
    }
    partition_at(&node).map_err(|_| no_partition(device))
}

fn partition_at(node: &Path) -> io::Result<(PathBuf, u32)> {
    let number = fs::read_to_string(node.join("partition"))?;
    let number = number.trim().parse().map_err(io::Error::other)?;
    let node = fs::canonicalize(node)?;
    let disk = node
        .parent()
        .and_then(Path::file_name)
        .ok_or_else(|| io::Error::other("no disk above it"))?;
    Ok((PathBuf::from(disk), number))
}

fn kernel_partition(efivars: &Path) -> Option<Guid> {
    let read = |name: &&str| fs::read(efivars.join(format!("{name}-{LOADER_VENDOR}"))).ok();
    let value = KERNEL_VARIABLES.iter().find_map(read)?;
    // A leftover or a forgery, and it kept the stub from writing its own.
    if value.first()? & NON_VOLATILE != 0 {
        return None;
    }
    let units = value.get(ATTRIBUTES_SIZE..)?.chunks_exact(2);
    let text: String = units
        .map(|unit| u16::from_le_bytes([unit[0], unit[1]]))
        .take_while(|unit| *unit != 0)
        .map(|unit| char::from_u32(unit.into()).unwrap_or('?'))
        .collect();
    text.parse().ok()
}

/// For people only: a report that cannot be read is told as such.
fn boot_report(efivars: &Path) -> Option<String> {
    let vendor = BootReport::VENDOR.to_string().to_lowercase();
    let name = format!("{}-{vendor}", BootReport::VARIABLE);
    let value = fs::read(efivars.join(name)).ok()?;
    let report = BootReport::decode(value.get(ATTRIBUTES_SIZE..)?);
    Some(report.map_or_else(|error| error.to_string(), |report| describe(&report)))
}

fn describe(report: &BootReport) -> String {
    let mut text = format!("slot {} ({}) started: {}", report.started, report.state, report.reason);
    for refused in &report.refused {
        text += &format!("; slot {} ({}) not: {}", refused.letter, refused.state, refused.failure);
        if refused.efi_status != 0 {
            text += &format!(", EFI status {}", refused.efi_status);
        }
    }
    text
}

#[cfg(test)]
mod tests;
