use std::io;
use std::path::{Path, PathBuf};

use partition_layout::device::OpenError;
use partition_layout::kernel_image::{KernelImage, KernelImageError};
use partition_layout::slot_table::{DoesNotFit, Partition};
use partition_layout::{
    BlockDevice, CommitError, CreateError, DiskFile, DiskPlan, Guid, Layout, Nibble, SlotLetter,
    SlotTable, commit, create_disk,
};

use super::esp::{EspError, esp_image};
use super::state::{self, StateError};
use crate::build::{KernelError, Warning, check_kernel_of};
use crate::bundle::{Bundle, BundleError};
use crate::durable_file::{self, Existing, OutputExists, Readers, folder_of};
use crate::format::{Image, Manifest, Role};
use crate::verify::{Decoding, ExpandError, expand};
use crate::{ReadAt, workers};

/// Priority of the one slot of a new disk.
const FIRST_PRIORITY: Nibble = match Nibble::ZERO.checked_increment() {
    Some(priority) => priority,
    None => Nibble::MAX,
};
/// STATE where neither it nor the disk is given a size.
const STATE_SIZE: u64 = 256 << 20;
const MIB: u64 = 1 << 20;

/// A disk to make.
#[derive(Debug, Clone)]
pub struct NewDisk {
    /// What the partitions are called.
    pub layout: Layout,
    /// Identity of the disk, from which those of its partitions are derived.
    pub disk_guid: Guid,
    /// Bytes of the disk; by default enough for the slots and 256 MiB of STATE.
    pub size: Option<u64>,
    /// Bytes of a logical block, 512 or 4096.
    pub block_size: u32,
    /// Bytes of the EFI system partition.
    pub esp_size: u64,
    /// Bytes of the slots' partitions.
    pub slot_sizes: SlotSizes,
    /// The release in slot A.
    pub release: PathBuf,
    /// The boot selector, a UEFI program.
    pub selector: PathBuf,
    /// Folder with the first content of STATE.
    pub state: Option<PathBuf>,
}

/// Bytes of the partitions of each slot.
#[derive(Debug, Clone, Copy, Default)]
pub struct SlotSizes {
    /// KERNEL; by default twice the release's, at least 64 MiB.
    pub kernel: Option<u64>,
    /// ROOT; by default one and a half times the release's.
    pub root: Option<u64>,
}

/// A disk that was made.
#[derive(Debug)]
pub struct CreatedDisk {
    /// Bytes of the disk.
    pub size: u64,
    /// Its table, slot A confirmed.
    pub table: SlotTable,
    /// What is in slot A.
    pub manifest: Manifest,
    /// What is probably a mistake in its kernel image.
    pub warnings: Vec<Warning>,
}

/// A disk that could not be made.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// Something has the disk image's name.
    #[error(transparent)]
    Exists(#[from] OutputExists),
    /// The release cannot be read.
    #[error(transparent)]
    Release(#[from] BundleError),
    /// The release's kernel image could not be booted.
    #[error("the kernel image of the release is refused")]
    Kernel(#[from] KernelError),
    /// What firmware would start is no program.
    #[error("{} is no boot selector that firmware could start", path.display())]
    Selector {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: KernelImageError,
    },
    /// The disk image cannot be made.
    #[error("cannot make the disk image")]
    Open(#[from] OpenError),
    /// The table cannot be written.
    #[error("cannot partition the disk")]
    Create(#[from] CreateError),
    /// A partition is too small.
    #[error("the release does not fit")]
    Fit(#[from] DoesNotFit),
    /// The EFI system partition cannot be made.
    #[error("cannot make the EFI system partition")]
    Esp(#[from] EspError),
    /// A payload does not hold its image, or the disk failed.
    #[error("cannot write the {role} image")]
    Image {
        /// Role of the image.
        role: Role,
        /// Why.
        source: ExpandError,
    },
    /// STATE cannot be made.
    #[error(transparent)]
    State(#[from] StateError),
    /// The slot cannot be confirmed.
    #[error("cannot confirm slot A")]
    Commit(#[from] CommitError),
    /// The table that was written is not read back.
    #[error("cannot read the new table")]
    ReadBack(#[from] partition_layout::slot_table::DiscoverError),
    /// The layout has no ESP or no STATE.
    #[error("the new disk has no partition for {0}")]
    NoPartition(&'static str),
    /// The system failed.
    #[error("cannot write the disk image")]
    Io(#[from] io::Error),
}

/// Makes the disk image `out`, sparse: ESP with the selector, the release in slot
/// A, confirmed, slot B empty, STATE. It appears complete or not at all, and replaces nothing. Payloads
/// are decoded confined. Tells `progress` of image bytes as they are done.
pub fn create(
    disk: &NewDisk,
    out: &Path,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<CreatedDisk, DiskError> {
    durable_file::refuse_existing(out)?;
    let release = Bundle::open(&disk.release)?;
    let manifest = release.manifest()?;
    let selector = fs_err::read(&disk.selector)?;
    KernelImage::parse(&selector, selector.len() as u64)
        .map_err(|source| DiskError::Selector { path: disk.selector.clone(), source })?;
    state::check_content(disk.state.as_deref())?;
    let plan = disk.plan(&manifest);
    let size = disk.size.map_or_else(|| plan.disk_size(STATE_SIZE), Ok)?;

    let file = durable_file::begin(folder_of(out), Readers::Everyone)?;
    let device = DiskFile::create(file.path(), size, disk.block_size)?;
    let table = create_disk(&device, &plan)?;
    let esp = table.esp.as_ref().ok_or(DiskError::NoPartition("the EFI system"))?;
    write_sparse(&device, esp.offset, &esp_image(esp.size, &selector)?)?;
    let warnings = write_release(&device, &table, &release, &manifest, progress)?;
    let state = table.state.as_ref().ok_or(DiskError::NoPartition("STATE"))?;
    state::make(file.path(), state, disk.state.as_deref(), state.guid)?;
    device.flush()?;

    // Last, as when a release is staged: until here no slot can be booted.
    let first = table.slot(SlotLetter::A);
    let confirmed = first.attributes.with_boot(FIRST_PRIORITY, Nibble::ZERO, true);
    let _durable = commit(&device, &[(first.kernel.number, confirmed)])?;
    let table = SlotTable::read(&device, &disk.layout)?;
    durable_file::finish(file, out, Existing::Refuse)?;
    Ok(CreatedDisk { size, table, manifest, warnings })
}

impl NewDisk {
    fn plan(&self, manifest: &Manifest) -> DiskPlan {
        let image_size = |role| manifest.image(role).map_or(0, |image| image.size);
        let (kernel, root) = (image_size(Role::Kernel), image_size(Role::Root));
        DiskPlan {
            disk_guid: self.disk_guid,
            layout: self.layout.clone(),
            esp_size: self.esp_size,
            kernel_size: self.slot_sizes.kernel.unwrap_or((2 * kernel).max(64 * MIB)),
            root_size: self.slot_sizes.root.unwrap_or(root + root / 2),
            verity_size: None,
        }
    }
}

fn write_release(
    device: &DiskFile,
    table: &SlotTable,
    release: &Bundle,
    manifest: &Manifest,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<Vec<Warning>, DiskError> {
    let slot = table.slot(SlotLetter::A);
    for image in &manifest.images {
        let partition = match image.role {
            Role::Kernel => &slot.kernel,
            Role::Root => &slot.root,
        };
        partition.check_fit(image.size)?;
        write_image(device, partition, release, image, progress)?;
    }
    let kernel = Region { device, partition: &slot.kernel };
    let (_, warnings) = check_kernel_of(&kernel, slot.kernel.size, manifest)?;
    Ok(warnings)
}

fn write_image(
    device: &DiskFile,
    partition: &Partition,
    release: &Bundle,
    image: &Image,
    progress: &(dyn Fn(u64) + Sync),
) -> Result<(), DiskError> {
    let full = release.image_full(&image.root)?;
    let seek_table = release.seek_table(image, &full)?;
    let levels = release.levels(image)?;
    let with = (Decoding::Confined, workers::every_core());
    let written = expand(&full, &seek_table, &levels, with, &|group| {
        progress(group.bytes().len() as u64);
        write_sparse(device, partition.offset + group.offset(), group.bytes())
    });
    let role = image.role;
    written.map(|_complete| ()).map_err(|source| DiskError::Image { role, source })
}

/// Leaves holes where the bytes are zero: the file is new.
fn write_sparse(device: &DiskFile, offset: u64, bytes: &[u8]) -> io::Result<()> {
    const CHUNK: usize = 64 << 10;
    for (offset, chunk) in (offset..).step_by(CHUNK).zip(bytes.chunks(CHUNK)) {
        if chunk.iter().any(|&byte| byte != 0) {
            device.write_at(offset, chunk)?;
        }
    }
    Ok(())
}

/// A partition, read from its own start.
struct Region<'a> {
    device: &'a DiskFile,
    partition: &'a Partition,
}

impl ReadAt for Region<'_> {
    fn fill_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset.checked_add(buf.len() as u64);
        end.filter(|end| *end <= self.partition.size).ok_or(io::ErrorKind::UnexpectedEof)?;
        self.device.read_at(self.partition.offset + offset, buf)
    }
}
