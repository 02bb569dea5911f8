//! Which disk this program was loaded from.
//!
//! Another disk in the machine may carry a slot table too, even a copy of ours. It is never read.

use alloc::vec::Vec;

use partition_layout::Entry;
use uefi::boot::{self, OpenProtocolAttributes, OpenProtocolParams, ScopedProtocol};
use uefi::proto::device_path::build::{self, BuildError, DevicePathBuilder};
use uefi::proto::device_path::media::{PartitionFormat, PartitionSignature};
use uefi::proto::device_path::{DevicePath, DevicePathNode, DeviceSubType, DeviceType};
use uefi::proto::loaded_image::LoadedImage;
use uefi::proto::media::block::BlockIO;
use uefi::proto::{Protocol, ProtocolPointer};
use uefi::{Guid, Handle, Status};

use crate::disk::Disk;

/// The disk cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum OwnDiskError {
    /// Loaded over the network, say.
    #[error("this program was not loaded from a partition of a disk")]
    NotFromPartition,
    /// The firmware said no.
    #[error("the firmware does not {step}: {status}")]
    Firmware { step: &'static str, status: Status },
    /// The path of the disk cannot be written down again.
    #[error("the device path of the disk cannot be built: {0}")]
    Path(BuildError),
    /// What is found at the path is itself a partition.
    #[error("the device behind this program's partition is not a whole disk")]
    NotWhole,
}

/// The disk that this program was loaded from, and how firmware calls it.
pub struct OwnDisk {
    pub disk: Disk,
    path: Vec<u8>,
}

impl OwnDisk {
    pub fn find() -> Result<Self, OwnDiskError> {
        let image = open::<LoadedImage>(boot::image_handle(), "describe this program")?;
        let partition = image.device().ok_or(OwnDiskError::NotFromPartition)?;
        let partition = open::<DevicePath>(partition, "name this program's partition")?;
        let path = path_of_disk(&partition)?;
        let mut rest = parse(&path)?;
        let disk = boot::locate_device_path::<BlockIO>(&mut rest)
            .map_err(firmware("find this program's disk"))?;
        // A shorter match would be another device: the controller, or the partition's parent.
        let exact = rest.node_iter().next().is_none();
        let blocks = open::<BlockIO>(disk, "give access to this program's disk")?;
        if !exact || blocks.media().is_logical_partition() {
            return Err(OwnDiskError::NotWhole);
        }
        Ok(Self { disk: Disk::new(blocks), path })
    }

    /// The device path of a partition of this disk, as firmware makes it (UEFI 2.10, 10.3.5.1).
    /// An image loaded under it knows the partition that it came from.
    pub fn partition_path(&self, entry: &Entry) -> Result<Vec<u8>, OwnDiskError> {
        let node = build::media::HardDrive {
            partition_number: entry.number,
            partition_start: entry.first_lba,
            partition_size: (entry.last_lba - entry.first_lba).saturating_add(1),
            partition_signature: PartitionSignature::Guid(Guid::from_bytes(entry.guid.to_bytes())),
            partition_format: PartitionFormat::GPT,
        };
        let disk = parse(&self.path)?;
        let nodes: Vec<&DevicePathNode> = disk.node_iter().collect();
        join(&nodes, Some(&node))
    }
}

/// The nodes before the last one that names a partition.
fn path_of_disk(partition: &DevicePath) -> Result<Vec<u8>, OwnDiskError> {
    const PARTITION: (DeviceType, DeviceSubType) =
        (DeviceType::MEDIA, DeviceSubType::MEDIA_HARD_DRIVE);
    let nodes: Vec<&DevicePathNode> = partition.node_iter().collect();
    let last = nodes.iter().rposition(|node| node.full_type() == PARTITION);
    join(&nodes[..last.ok_or(OwnDiskError::NotFromPartition)?], None)
}

fn join(
    nodes: &[&DevicePathNode],
    partition: Option<&build::media::HardDrive>,
) -> Result<Vec<u8>, OwnDiskError> {
    let mut bytes = Vec::new();
    let mut path = DevicePathBuilder::with_vec(&mut bytes);
    for node in nodes {
        path = path.push(node).map_err(OwnDiskError::Path)?;
    }
    if let Some(node) = partition {
        path = path.push(node).map_err(OwnDiskError::Path)?;
    }
    path.finalize().map_err(OwnDiskError::Path)?;
    Ok(bytes)
}

/// Reads a path that [`join`] made.
pub fn parse(path: &[u8]) -> Result<&DevicePath, OwnDiskError> {
    path.try_into().map_err(|_| OwnDiskError::NotFromPartition)
}

fn open<P: ProtocolPointer + Protocol + ?Sized>(
    handle: Handle,
    step: &'static str,
) -> Result<ScopedProtocol<P>, OwnDiskError> {
    let params = OpenProtocolParams { handle, agent: boot::image_handle(), controller: None };
    // SAFETY: the interface could go while we hold it only if its driver were disconnected. That
    // needs a call of ConnectController, DisconnectController or UnloadImage: we make none, and
    // no other program runs until StartImage, behind which a kernel that comes back is trusted
    // as firmware is. (Opening exclusively would do the harm itself: it disconnects the
    // partition driver that this program's own file system stands on.)
    unsafe { boot::open_protocol::<P>(params, OpenProtocolAttributes::GetProtocol) }
        .map_err(firmware(step))
}

fn firmware(step: &'static str) -> impl FnOnce(uefi::Error) -> OwnDiskError {
    move |error| OwnDiskError::Firmware { step, status: error.status() }
}
