//! A disk in the standard layout on a loop device without a page cache.

use std::io::{self, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::process::Command;

use partition_layout::{
    Access, DiskFile, DiskPlan, Guid, Layout, Partition, SlotLetter, SlotTable, create_disk,
};
use payload_tools::format::{Manifest, Role};

use crate::{BenchError, at};

const MIB: u64 = 1 << 20;

/// A loop device, detached when dropped.
#[derive(Debug)]
pub struct Loop(PathBuf);

impl Loop {
    /// Attaches `file` with `--direct-io=on`, so that what reaches the device
    /// reaches the file's medium and no page cache.
    pub fn attach(file: &Path) -> Result<Self, BenchError> {
        Self::losetup(file, &[])
    }

    fn losetup(file: &Path, range: &[String]) -> Result<Self, BenchError> {
        if !rustix::process::geteuid().is_root() {
            return Err(BenchError::NotRoot);
        }
        let arguments = ["--find", "--show", "--direct-io=on"];
        let output = Command::new("losetup")
            .args(arguments)
            .args(range)
            .arg(file)
            .output()
            .map_err(at("start losetup (package mount)"))?;
        match output.status.success() {
            true => Ok(Loop(String::from_utf8_lossy(&output.stdout).trim().into())),
            false => Err(BenchError::Program {
                program: format!("losetup {}", arguments.join(" ")),
                output: String::from_utf8_lossy(&output.stderr).into_owned(),
            }),
        }
    }

    /// Its node.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Its number, as control groups take it: `MAJOR:MINOR`.
    pub(crate) fn number(&self) -> Result<String, BenchError> {
        let node = rustix::fs::stat(&self.0);
        let node = node.map_err(|error| at("look at the loop device")(error.into()))?.st_rdev;
        Ok(format!("{}:{}", rustix::fs::major(node), rustix::fs::minor(node)))
    }

    /// Bytes written to it since it was attached (/sys/block/*/stat, field 7,
    /// sectors of 512 bytes).
    pub fn bytes_written(&self) -> Result<u64, BenchError> {
        let name = self.0.file_name().unwrap_or_default();
        let path = Path::new("/sys/block").join(name).join("stat");
        let step = "read how much was written to the loop device";
        let stat = fs_err::read_to_string(path).map_err(at(step))?;
        let sectors = stat.split_whitespace().nth(6).and_then(|text| text.parse::<u64>().ok());
        let sectors = sectors.ok_or_else(|| at(step)(std::io::ErrorKind::InvalidData.into()))?;
        Ok(sectors * 512)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        // A loop device that stays attached is seen by `losetup -a`.
        let _ = Command::new("losetup").arg("--detach").arg(&self.0).status();
    }
}

/// A disk whose slot B has room for one release.
#[derive(Debug)]
pub struct TestDisk {
    /// The loop device over its image file.
    pub device: Loop,
    /// Its slots.
    pub table: SlotTable,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl TestDisk {
    /// Makes the disk in a new folder below `folder`.
    pub fn create(folder: &Path, manifest: &Manifest) -> Result<Self, BenchError> {
        Self::with_room_for(folder, &[manifest])
    }

    /// A disk whose slots have room for each of these releases.
    pub(crate) fn with_room_for(
        folder: &Path,
        manifests: &[&Manifest],
    ) -> Result<Self, BenchError> {
        let size_of = |role| {
            let images = manifests.iter().filter_map(|manifest| manifest.image(role));
            images.map(|image| image.size).max().unwrap_or(MIB)
        };
        let plan = DiskPlan {
            disk_guid: Guid::from_bytes(*b"seesaw benchmark"),
            layout: Layout::standard(),
            esp_size: MIB,
            kernel_size: size_of(Role::Kernel),
            root_size: size_of(Role::Root),
            verity_size: None,
        };
        let invalid = |error| BenchError::Payload(Box::new(error));
        let size = plan.disk_size(MIB).map_err(invalid)?;
        let folder = tempfile::tempdir_in(folder).map_err(at("make a folder for the disk"))?;
        let path = folder.path().join("disk");
        let file = fs_err::File::create(&path).map_err(at("make the disk's file"))?;
        // Allocated, so that no round pays for finding room.
        rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, size)
            .map_err(|error| at("allocate the disk's file")(error.into()))?;
        let device = Loop::attach(&path)?;
        let open = DiskFile::open(device.path(), Access::ReadWrite)
            .map_err(|error| BenchError::Payload(Box::new(error)))?;
        let table = create_disk(&open, &plan).map_err(invalid)?;
        Ok(TestDisk { device, table, file: path, _folder: folder })
    }

    /// Writes an image into slot A.
    pub(crate) fn write_booted(&self, role: Role, image: &Path) -> Result<(), BenchError> {
        let slot = self.table.slot(SlotLetter::A);
        let partition = match role {
            Role::Kernel => &slot.kernel,
            Role::Root => &slot.root,
        };
        let write = || -> io::Result<()> {
            let mut device = fs_err::OpenOptions::new().write(true).open(self.device.path())?;
            device.seek(SeekFrom::Start(partition.offset))?;
            io::copy(&mut fs_err::File::open(image)?, &mut device)?;
            device.sync_all()
        };
        write().map_err(at("write an image into slot A"))
    }

    /// Slot B's root on the disk.
    pub(crate) fn root(&self) -> &Partition {
        &self.table.slot(SlotLetter::B).root
    }

    /// Another loop device, of slot B's root alone: the node of its partition.
    pub(crate) fn attach_root(&self) -> Result<Loop, BenchError> {
        let Partition { offset, size, .. } = self.root();
        Loop::losetup(&self.file, &[format!("--offset={offset}"), format!("--sizelimit={size}")])
    }
}
