//! Loads and starts the image in a kernel partition.

use partition_layout::kernel_image::HEAD_SIZE;
use partition_layout::{Entry, KernelImage, KernelImageError, ReadBlocks, StartFailure};
use uefi::boot::{self, LoadImageSource};
use uefi::{Handle, Status};

use crate::disk::DiskError;
use crate::own_disk::{self, OwnDisk, OwnDiskError};
use crate::pages::Pages;

/// Why an image did not run.
#[derive(Debug, thiserror::Error)]
pub enum KernelError {
    /// The partition could not be read.
    #[error("the kernel partition cannot be read")]
    Disk(#[from] DiskError),
    /// What it holds is no image.
    #[error("the kernel partition holds no valid image")]
    Image(#[from] KernelImageError),
    /// The machine is too small for it.
    #[error("no memory for an image of {size} bytes: {status}")]
    Memory { size: u64, status: Status },
    /// The partition has no name that firmware understands.
    #[error("the kernel partition has no device path")]
    Path(#[from] OwnDiskError),
    /// LoadImage said no.
    #[error("the firmware refused the image: {0}")]
    Refused(Status),
    /// StartImage came back.
    #[error("the image gave control back: {0}")]
    Returned(Status),
}

impl KernelError {
    /// The reason as the boot report has it, and the low byte of the EFI status.
    pub fn for_report(&self) -> (StartFailure, u8) {
        match self {
            Self::Disk(error) => (StartFailure::NoValidImage, low_byte(error.status)),
            Self::Image(_) | Self::Path(_) => (StartFailure::NoValidImage, 0),
            Self::Memory { status, .. } => (StartFailure::NoValidImage, low_byte(*status)),
            Self::Refused(status) => (StartFailure::LoadImage, low_byte(*status)),
            Self::Returned(status) => (StartFailure::Returned, low_byte(*status)),
        }
    }
}

fn low_byte(status: Status) -> u8 {
    // EFI numbers its errors from 1 to 35 below a bit that says "error".
    (status.0 & 0xff) as u8
}

/// An image that the firmware has taken, Secure Boot's verdict included.
pub struct LoadedKernel(Handle);

/// Reads the image in the partition `entry` and hands it to the firmware.
pub fn load(own: &OwnDisk, entry: &Entry) -> Result<LoadedKernel, KernelError> {
    let image = read_image(own, entry)?;
    let path = own.partition_path(entry)?;
    let source = LoadImageSource::FromBuffer {
        buffer: image.as_slice(),
        file_path: Some(own_disk::parse(&path)?),
    };
    // LoadImage makes its own copy: ours goes before the image starts.
    boot::load_image(boot::image_handle(), source)
        .map(LoadedKernel)
        .map_err(|error| KernelError::Refused(error.status()))
}

impl LoadedKernel {
    /// Runs it. A kernel that takes over the machine does not come back.
    pub fn start(self) -> KernelError {
        let status = match boot::start_image(self.0) {
            Ok(()) => Status::SUCCESS,
            Err(error) => error.status(),
        };
        KernelError::Returned(status)
    }
}

/// Exactly the file: Secure Boot refuses an image with one byte more.
fn read_image(own: &OwnDisk, entry: &Entry) -> Result<Pages, KernelError> {
    let block_size = u64::from(own.disk.block_size());
    let blocks = (entry.last_lba - entry.first_lba).saturating_add(1);
    let partition_size = blocks.saturating_mul(block_size);

    let mut head = pages(HEAD_SIZE as u64)?;
    own.disk.read(entry.first_lba, head.as_mut_slice())?;
    let size = KernelImage::parse(head.as_slice(), partition_size)?.file_size();

    // Whole blocks, which the partition has: its size is a multiple of the block size too.
    let mut image = pages(size.next_multiple_of(block_size))?;
    own.disk.read(entry.first_lba, image.as_mut_slice())?;
    image.truncate(size);
    Ok(image)
}

fn pages(size: u64) -> Result<Pages, KernelError> {
    let too_large = |status| KernelError::Memory { size, status };
    let len = usize::try_from(size).map_err(|_| too_large(Status::OUT_OF_RESOURCES))?;
    Pages::new(len).map_err(|error| too_large(error.status()))
}
