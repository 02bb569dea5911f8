//! The same calls on a real block device: direct I/O, ioctls and locks included.

use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};

use partition_layout::device::TableLock;
use partition_layout::{
    Access, BlockDevice, BootAttributes, DiskFile, DiskPlan, Guid, Layout, Nibble, SlotLetter,
    SlotTable, commit, commit_with, create_disk, preflight,
};

const MIB: u64 = 1 << 20;

/// A loop device, detached when dropped.
struct LoopDevice {
    node: PathBuf,
}

impl LoopDevice {
    fn attach(image: &Path, block_size: u32) -> Self {
        let uid = Command::new("id").arg("-u").output().expect("id runs").stdout;
        assert_eq!(uid, b"0\n", "root is missing: run this test as root, it attaches loop devices");
        let output = Command::new("losetup")
            .args(["--find", "--show", "--sector-size", &block_size.to_string()])
            .arg(image)
            .output()
            .expect("losetup is missing: install the package mount");
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "loop devices are missing: losetup says {errors}");
        Self { node: PathBuf::from(String::from_utf8(output.stdout).unwrap().trim_end()) }
    }
}

impl Drop for LoopDevice {
    fn drop(&mut self) {
        let _ = Command::new("losetup").arg("--detach").arg(&self.node).status();
    }
}

fn plan() -> DiskPlan {
    DiskPlan {
        disk_guid: Guid::random().unwrap(),
        layout: Layout::standard(),
        esp_size: MIB,
        kernel_size: 2 * MIB,
        root_size: 2 * MIB,
        verity_size: None,
    }
}

fn with_loop_device(block_size: u32, test: impl FnOnce(&Path, &Path)) {
    let folder = tempfile::tempdir().unwrap();
    let image = folder.path().join("disk.img");
    std::fs::File::create(&image).unwrap().set_len(16 * MIB).unwrap();
    let device = LoopDevice::attach(&image, block_size);
    test(&device.node, &image);
}

#[test]
fn a_loop_device_is_partitioned_changed_and_read_back() {
    for block_size in [512, 4096] {
        with_loop_device(block_size, |node, image| {
            let disk = DiskFile::open(node, Access::ReadWrite).unwrap();
            assert_eq!((disk.block_size(), disk.size()), (block_size, 16 * MIB));
            let number = create_disk(&disk, &plan()).unwrap().slot(SlotLetter::A).kernel.number;
            let boot = BootAttributes::default().with_boot(Nibble::MAX, Nibble::ZERO, true);
            let _durable = commit(&disk, &[(number, boot)]).unwrap();
            assert!(preflight(&disk, &Layout::standard()).is_ok());

            // What was flushed is in the file behind the device, whose block size shows too.
            for path in [node, image] {
                let disk = DiskFile::open(path, Access::ReadOnly).unwrap();
                assert_eq!(disk.block_size(), block_size);
                let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
                assert_eq!(table.slot(SlotLetter::A).attributes, boot);
                assert_eq!(table.next(), Some(SlotLetter::A));
                assert!(table.copies.agree());
            }
        });
    }
}

#[test]
fn direct_transfers_keep_every_byte_at_any_offset() {
    with_loop_device(4096, |node, _| {
        let disk = DiskFile::open(node, Access::ReadWrite).unwrap();
        let bytes: Vec<u8> = (0..3 * MIB).map(|i| (i % 251) as u8).collect();
        disk.write_at(MIB, &bytes).unwrap();
        disk.flush().unwrap();
        for (offset, len) in [(0, 3 * MIB), (1, 1), (4095, 2), (MIB - 7, MIB + 9), (5, 3 * MIB - 5)]
        {
            let mut read = vec![0; len as usize];
            disk.read_at(MIB + offset, &mut read).unwrap();
            assert!(read == bytes[offset as usize..(offset + len) as usize], "{len} at {offset}");
        }
        for (offset, len) in [(1, 4096), (0, 100), (16 * MIB, 4096), (u64::MAX - 4095, 4096)] {
            assert!(disk.write_at(offset, &vec![0; len]).is_err(), "{len} at {offset}");
        }
        assert!(disk.read_at(16 * MIB - 1, &mut [0; 2]).is_err());
    });
}

/// The kernel counts the flushes that reach a device.
#[test]
fn a_commit_flushes_the_device_itself() {
    with_loop_device(512, |node, _| {
        let disk = DiskFile::open(node, Access::ReadWrite).unwrap();
        create_disk(&disk, &plan()).unwrap();
        let flushes = || {
            let name = node.file_name().unwrap().to_str().unwrap();
            let stat = std::fs::read_to_string(format!("/sys/block/{name}/stat")).unwrap();
            // Documentation/block/stat.rst: the 16th number.
            stat.split_whitespace().nth(15).unwrap().parse::<u64>().unwrap()
        };
        let before = flushes();
        let boot = BootAttributes::default().with_boot(Nibble::MAX, Nibble::ZERO, true);
        let _durable = commit(&disk, &[(2, boot)]).unwrap();
        assert!(flushes() >= before + 3, "before, between and after the copies");
    });
}

/// Asks at every access whether somebody else could lock the disk.
struct Watched {
    disk: DiskFile,
    node: PathBuf,
    writes: AtomicU32,
}

fn others_can_lock(node: &Path) -> bool {
    let mut command = Command::new("flock");
    command.args(["--nonblock", "--exclusive"]).arg(node).arg("true");
    command.status().expect("flock is missing: install the package util-linux").success()
}

impl BlockDevice for Watched {
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        assert!(!others_can_lock(&self.node), "a read without the lock");
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        assert!(!others_can_lock(&self.node), "a write without the lock");
        self.writes.fetch_add(1, Ordering::Relaxed);
        self.disk.write_at(offset, buf)
    }

    fn flush(&self) -> io::Result<()> {
        self.disk.flush()
    }

    fn lock(&self) -> io::Result<TableLock> {
        self.disk.lock()
    }
}

/// udev and other updaters take the same lock on the whole disk.
#[test]
fn a_commit_locks_the_disk_until_it_is_done() {
    with_loop_device(512, |node, _| {
        let disk = DiskFile::open(node, Access::ReadWrite).unwrap();
        create_disk(&disk, &plan()).unwrap();
        let disk = Watched { disk, node: node.to_owned(), writes: AtomicU32::new(0) };
        let boot = BootAttributes::default().with_boot(Nibble::MAX, Nibble::ZERO, true);
        let _durable = commit(&disk, &[(2, boot)]).unwrap();
        assert_eq!(
            disk.writes.load(Ordering::Relaxed),
            4,
            "one block of entries and one header per copy"
        );
        assert!(others_can_lock(node), "the lock outlives the commit");
        // A decision is made on what nobody else can change any more.
        let mut asked = false;
        let refused: Result<_, &str> = commit_with(&disk, |_| {
            asked = true;
            assert!(!others_can_lock(node), "a decision without the lock");
            Err("no")
        })
        .unwrap();
        assert_eq!((asked, refused.unwrap_err()), (true, "no"));
        assert_eq!(disk.writes.into_inner(), 4, "a refused change writes nothing");
        assert!(others_can_lock(node), "the lock outlives the refusal");
    });
}
