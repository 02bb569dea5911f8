//! The second gate: whatever moment the power goes, and whatever the medium
//! does, a kernel head on the medium means that the whole slot is there.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};

use partition_layout::BlockDevice;
use partition_layout::testing::{MemoryDisk, Operation, RecordingDisk};
use payload_tools::format::{GROUP, Role};

use super::fixture::{KERNEL_AT, MIB, ROOT_AT, TestImage, TestRelease, content, noise};
use crate::install::checked::Partition;
use crate::install::stage::{Slot, stage_on};
use crate::install::{HeadStep, InstallError, Staged, TargetContent};

const BLOCK: u64 = 4096;
const SIZE: u64 = ROOT_AT + 4 * MIB;

/// A disk whose target holds an older release, head and all.
fn old_disk() -> MemoryDisk {
    let disk = MemoryDisk::new(SIZE, BLOCK as u32);
    let old = TestRelease::tiny(50);
    for (at, image) in [(KERNEL_AT, &old.kernel), (ROOT_AT, &old.root)] {
        disk.write_at(at, &image.bytes).unwrap();
    }
    disk
}

fn stage_onto(release: &TestRelease, device: &dyn BlockDevice) -> Result<Staged, InstallError> {
    let folder = tempfile::tempdir().unwrap();
    let partition = |role, offset| Partition { role, device, offset };
    let slot = Slot {
        kernel: partition(Role::Kernel, KERNEL_AT),
        root: partition(Role::Root, ROOT_AT),
        booted_kernel: None,
        booted_root: None,
    };
    let source = release.in_folder(folder.path());
    let plan = release.plan(&source, "unused".as_ref(), TargetContent::Other)?;
    stage_on(&plan, &slot, &source, &())
}

/// What the blocks of the release must be, and which is the head.
struct Model {
    expected: BTreeMap<u64, Vec<u8>>,
}

impl Model {
    const HEAD: u64 = KERNEL_AT / BLOCK;

    fn of(release: &TestRelease) -> Self {
        let blocks = |at: u64, image: &TestImage| {
            let blocks: Vec<_> = image.bytes.chunks(BLOCK as usize).map(<[u8]>::to_vec).collect();
            (at / BLOCK..).zip(blocks)
        };
        let kernel = blocks(KERNEL_AT, &release.kernel);
        Model { expected: kernel.chain(blocks(ROOT_AT, &release.root)).collect() }
    }

    /// Walks the log. A cut at any operation may leave, of each block, what was
    /// durable or what was written since: so while a non-zero head is in either,
    /// everything else must be durable and right.
    fn check(&self, start: &MemoryDisk, log: &[Operation]) {
        let durable = start.clone();
        let mut pending: BTreeMap<u64, Vec<Vec<u8>>> = BTreeMap::new();
        let mut gate_was_closed = false;
        for (at, operation) in log.iter().enumerate() {
            match operation {
                Operation::Write { lba, bytes } => {
                    pending.entry(*lba).or_default().push(bytes.clone());
                }
                Operation::Flush => {
                    for (lba, versions) in std::mem::take(&mut pending) {
                        durable.set_block(lba, versions.into_iter().next_back().unwrap());
                    }
                }
            }
            let closed = durable.block(Self::HEAD).iter().all(|byte| *byte == 0);
            gate_was_closed |= closed;
            if !gate_was_closed {
                let others = pending.keys().filter(|lba| **lba != Self::HEAD).count();
                assert_eq!(others, 0, "operation {at} before the gate was closed");
            } else if !closed || pending.contains_key(&Self::HEAD) {
                self.assert_complete(&durable, &pending, at);
            }
        }
        assert!(gate_was_closed);
    }

    fn assert_complete(
        &self,
        durable: &MemoryDisk,
        pending: &BTreeMap<u64, Vec<Vec<u8>>>,
        at: usize,
    ) {
        for (lba, bytes) in self.expected.iter().filter(|(lba, _)| **lba != Self::HEAD) {
            let right = durable.block(*lba) == *bytes && !pending.contains_key(lba);
            assert!(right, "operation {at}: head with block {lba} missing");
        }
    }

    fn head_is_closed(device: &dyn BlockDevice) -> bool {
        let mut head = [0; BLOCK as usize];
        device.read_at(KERNEL_AT, &mut head).unwrap();
        head == [0; BLOCK as usize]
    }
}

#[test]
fn no_cut_leaves_a_head_on_an_incomplete_slot() {
    let (release, start) = (TestRelease::tiny(1), old_disk());
    let disk = RecordingDisk::new(start.clone());
    stage_onto(&release, &disk).unwrap();
    let log = disk.log();
    Model::of(&release).check(&start, &log);
    let last_two = &log[log.len() - 2..];
    let head = &release.kernel.bytes[..BLOCK as usize];
    assert!(matches!(&last_two[0], Operation::Write { lba: Model::HEAD, bytes } if bytes == head));
    assert_eq!(last_two[1], Operation::Flush);
}

/// The disk fails for good at every 40th operation in turn, at each of the
/// first few and at each of the last few.
#[test]
fn a_medium_that_dies_leaves_the_gate_closed_or_the_slot_whole() {
    let (release, start) = (TestRelease::tiny(1), old_disk());
    let whole = RecordingDisk::new(start.clone());
    stage_onto(&release, &whole).unwrap();
    // Blocks written and flushes; reads count too, so go on until it succeeds.
    let mut survived = 0;
    let writes = whole.log().len() as u64;
    let points = (0..12).chain((12..writes).step_by(40)).chain(writes..writes + 20);
    for operations in points {
        let disk = RecordingDisk::new(start.clone()).failing_after(operations);
        match stage_onto(&release, &disk) {
            Ok(_) => survived += 1,
            Err(InstallError::Write { .. } | InstallError::Read { .. }) => {}
            Err(InstallError::Flush { .. } | InstallError::KernelHead { .. }) => {}
            Err(error) => panic!("after {operations} operations: {error}"),
        }
        if operations > 2 {
            Model::of(&release).check(&start, &disk.log());
        }
    }
    assert!(survived > 0, "the last points are past the end of a stage");
}

/// A disk whose writes and flushes are somebody's.
struct Faulty<'d, W, F> {
    disk: &'d MemoryDisk,
    write: W,
    flush: F,
}

impl<W, F> BlockDevice for Faulty<'_, W, F>
where
    W: Fn(u64, &[u8]) -> io::Result<()> + Send + Sync,
    F: Fn() -> io::Result<()> + Send + Sync,
{
    fn block_size(&self) -> u32 {
        self.disk.block_size()
    }

    fn size(&self) -> u64 {
        self.disk.size()
    }

    fn read_at(&self, offset: u64, buf: &mut [u8]) -> io::Result<()> {
        self.disk.read_at(offset, buf)
    }

    fn write_at(&self, offset: u64, buf: &[u8]) -> io::Result<()> {
        (self.write)(offset, buf)
    }

    fn flush(&self) -> io::Result<()> {
        (self.flush)()
    }
}

/// Whether there is one left of `times`, which is then one less.
fn once_more(times: &AtomicU64) -> bool {
    let less = |times: u64| times.checked_sub(1);
    times.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
}

/// Stores the byte at `at` of the disk wrongly, so many times.
fn lying(disk: &MemoryDisk, at: u64, lies: u64) -> impl BlockDevice {
    let lies = AtomicU64::new(lies);
    let write = move |offset: u64, buf: &[u8]| {
        let mut bytes = buf.to_vec();
        let hit = at.checked_sub(offset).and_then(|at| bytes.get_mut(at as usize));
        if let Some(byte) = hit
            && once_more(&lies)
        {
            *byte ^= 0x80;
        }
        disk.write_at(offset, &bytes)
    };
    Faulty { disk, write, flush: || Ok(()) }
}

#[test]
fn a_medium_that_lies_once_is_repaired_and_twice_is_refused() {
    let release = TestRelease::tiny(1);
    for at in [KERNEL_AT + 5000, ROOT_AT, ROOT_AT + GROUP as u64 + 77] {
        let disk = old_disk();
        stage_onto(&release, &lying(&disk, at, 1)).unwrap();
        assert_eq!(content(&disk, SIZE), release.expected(&content(&old_disk(), SIZE)), "{at}");

        let disk = old_disk();
        let error = stage_onto(&release, &lying(&disk, at, 2)).unwrap_err();
        assert!(matches!(error, InstallError::ReadBack { .. }), "{at}: {error}");
        assert!(Model::head_is_closed(&disk), "{at}");
    }
}

#[test]
fn a_head_that_is_not_stored_is_noticed() {
    let release = TestRelease::tiny(1);
    // The first write of the head, zeroes, is the first lie: it is noticed when
    // the kernel is read back.
    let disk = old_disk();
    let error = stage_onto(&release, &lying(&disk, KERNEL_AT, 1)).unwrap_err();
    assert!(matches!(error, InstallError::Read { place, .. } if place.role == Role::Kernel));

    // Here only the last write is a lie.
    let disk = old_disk();
    let write =
        |offset: u64, buf: &[u8]| match offset == KERNEL_AT && buf.iter().any(|byte| *byte != 0) {
            true => Ok(()),
            false => disk.write_at(offset, buf),
        };
    let device = Faulty { disk: &disk, write, flush: || Ok(()) };
    let error = stage_onto(&release, &device).unwrap_err();
    assert!(matches!(error, InstallError::KernelHead { step: HeadStep::ReadBack, .. }), "{error}");
}

/// Sizes at the edges of blocks, groups and segments.
#[test]
fn images_of_every_shape_are_staged() {
    let group = GROUP as u64;
    for (kernel, root) in [(1, 1), (2, 3), (128, 129), (127, 256), (1, 2 * group / BLOCK + 1)] {
        let image =
            |role, seed, blocks: u64| TestImage::of(role, noise(seed, (blocks * BLOCK) as usize));
        let release = TestRelease {
            kernel: image(Role::Kernel, 3, kernel),
            root: image(Role::Root, 4, root),
        };
        let disk = old_disk();
        stage_onto(&release, &disk).unwrap();
        let expected = release.expected(&content(&old_disk(), SIZE));
        assert!(content(&disk, SIZE) == expected, "{kernel} and {root} blocks");
    }
}

/// A byte that is lost when the medium is told to flush, and not before.
#[test]
fn what_a_flush_loses_is_seen() {
    let release = TestRelease::tiny(1);
    let (disk, losses) = (old_disk(), AtomicU64::new(1));
    let before = content(&disk, SIZE);
    let old = &before[ROOT_AT as usize..][..BLOCK as usize];
    let flush = || {
        let mut block = [0; BLOCK as usize];
        disk.read_at(ROOT_AT, &mut block)?;
        if block != *old && once_more(&losses) {
            block[17] ^= 1;
            disk.write_at(ROOT_AT, &block)?;
        }
        Ok(())
    };
    let write = |offset: u64, buf: &[u8]| disk.write_at(offset, buf);
    stage_onto(&release, &Faulty { disk: &disk, write, flush }).unwrap();
    assert_eq!(losses.into_inner(), 0, "the flush after the writes lost nothing");
    assert_eq!(content(&disk, SIZE), release.expected(&before));
}
