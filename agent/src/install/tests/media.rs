//! Whole stages onto image files and loop devices, from folders and servers.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use payload_tools::format::seekable::{SeekTable, tail_len};
use payload_tools::format::{Role, SEGMENT};

use super::fixture::{DISK_SIZE, KERNEL_AT, MIB, ROOT_AT, TestRelease, http, noise};
use super::loop_device::Loop;
use super::server::Fault;
use crate::install::{
    InstallError, PayloadSource, Phase, Progress, Report, StagePlan, Staged, TargetContent,
    prepare, stage,
};

/// A disk full of something else, in a file.
pub(super) struct Disk {
    pub before: Vec<u8>,
    pub path: PathBuf,
    pub folder: tempfile::TempDir,
}

impl Disk {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (path, before) = (folder.path().join("disk"), noise(99, DISK_SIZE as usize));
        fs_err::write(&path, &before).unwrap();
        Disk { before, path, folder }
    }

    pub fn now(&self) -> Vec<u8> {
        fs_err::read(&self.path).unwrap()
    }

    pub fn kernel_head(&self) -> Vec<u8> {
        self.now()[KERNEL_AT as usize..][..4096].to_vec()
    }

    /// The first difference, rather than 32 MiB of it.
    pub fn assert_is(&self, expected: &[u8]) {
        let now = self.now();
        assert_eq!(now.len(), expected.len());
        let differs =
            now.chunks(4096).zip(expected.chunks(4096)).position(|(now, then)| now != then);
        assert_eq!(differs, None, "first block that differs");
    }
}

pub(super) fn stage_from_server(
    release: &TestRelease,
    disk: &Disk,
    faults: &[Fault],
) -> Result<Staged, InstallError> {
    let server = release.served();
    server.fault(&release.root.path("full"), faults);
    stage_onto(&disk.path, release, &http(&server))
}

fn stage_onto(
    path: &Path,
    release: &TestRelease,
    source: &dyn PayloadSource,
) -> Result<Staged, InstallError> {
    stage(&release.plan(source, path, TargetContent::Other)?, source, &())
}

#[test]
fn a_folder_is_staged_into_an_image_file() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let source = release.in_folder(disk.folder.path());
    let staged = stage_onto(&disk.path, &release, &source).unwrap();
    assert_eq!(staged.root(), release.root.image.root);
    assert_eq!(staged.kernel(), release.kernel.image.root);
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn a_server_is_staged_into_a_loop_device() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let (device, server) = (Loop::attach(&disk.path), release.served());
    stage_onto(device.path(), &release, &http(&server)).unwrap();
    drop(device);
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn zero_segments_are_known_from_the_tree() {
    let (mut release, disk) = (TestRelease::new(1), Disk::new());
    let (size, len) = (release.root.image.size, release.root.full.len());
    let tail = &release.root.full[len - tail_len(size) as usize..];
    let frame = SeekTable::parse(tail, size, len as u64).unwrap().frame(1).unwrap().compressed;
    release.root.full[frame.start as usize..frame.end as usize].fill(0x55);
    stage_from_server(&release, &disk, &[]).unwrap();
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn a_bad_segment_is_fetched_again_once() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let faults = [Fault::None, Fault::FlipAt(1000)];
    stage_from_server(&release, &disk, &faults).unwrap();
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn a_segment_that_stays_bad_is_never_written() {
    let (mut release, disk) = (TestRelease::new(1), Disk::new());
    // Segment 2 of another build under this build's tree: it decodes, and is
    // not what was signed.
    let mut other = release.root.bytes.clone();
    other[2 * SEGMENT + 5000] ^= 1;
    release.root.full = super::fixture::TestImage::of(Role::Root, other).full;
    let error = stage_from_server(&release, &disk, &[]).unwrap_err();
    let InstallError::Mismatch { place, .. } = error else { panic!("{error}") };
    assert_eq!((place.role, place.segment), (Role::Root, 2));
    let segment = ROOT_AT as usize + 2 * SEGMENT;
    assert_eq!(disk.now()[segment..][..SEGMENT], disk.before[segment..][..SEGMENT]);
    assert_eq!(disk.kernel_head(), [0; 4096]);
}

#[test]
fn a_segment_that_does_not_decode_is_named() {
    let (mut release, disk) = (TestRelease::new(1), Disk::new());
    release.root.full[20] ^= 0xFF;
    let magic = &mut release.root.full[..4];
    magic.fill(0);
    let error = stage_from_server(&release, &disk, &[]).unwrap_err();
    assert!(matches!(error, InstallError::Decode { place, .. } if place.segment == 0), "{error}");
    assert_eq!(disk.kernel_head(), [0; 4096]);
}

/// Each row spoils one thing that is known before a target is made unbootable.
#[test]
fn what_a_source_lacks_is_refused_while_the_target_is_what_it_was() {
    type Spoil = fn(&mut TestRelease);
    type Expected = fn(&InstallError) -> bool;
    let rows: [(&str, Spoil, Expected); 4] = [
        (
            "levels",
            |release| release.root.levels[100] ^= 1,
            |error| matches!(error, InstallError::Levels { role: Role::Root, .. }),
        ),
        (
            "levels cut",
            |release| release.kernel.levels.truncate(4095),
            |error| matches!(error, InstallError::Levels { role: Role::Kernel, .. }),
        ),
        (
            "payload cut",
            |release| release.root.full.truncate(100_000),
            |error| matches!(error, InstallError::SeekTable { role: Role::Root, .. }),
        ),
        (
            "payload almost empty",
            |release| release.root.full.truncate(10),
            |error| matches!(error, InstallError::Index { role: Role::Root, .. }),
        ),
    ];
    for (name, spoil, expected) in rows {
        let (mut release, folder) = (TestRelease::new(1), tempfile::tempdir().unwrap());
        spoil(&mut release);
        let error = prepare(&release.images(), &[], &release.in_folder(folder.path())).unwrap_err();
        assert!(expected(&error), "{name}: {error:?}");
    }
    let (release, folder) = (TestRelease::new(1), tempfile::tempdir().unwrap());
    let [kernel, _] = release.images();
    let error = prepare(&[kernel], &[], &release.in_folder(folder.path())).unwrap_err();
    assert!(matches!(error, InstallError::NoImage(Role::Root)), "{error:?}");
}

#[test]
fn what_does_not_fit_is_refused_before_anything_is_written() {
    type Shrink = fn(&mut StagePlan);
    let rows: [(Role, Shrink); 2] = [
        (Role::Root, |plan| plan.root.target.size = plan.root.image().size - 1),
        (Role::Kernel, |plan| plan.kernel.target.size = 4096),
    ];
    for (too_large, shrink) in rows {
        let (release, disk) = (TestRelease::new(1), Disk::new());
        let source = release.in_folder(disk.folder.path());
        let mut plan = release.plan(&source, &disk.path, TargetContent::Other).unwrap();
        shrink(&mut plan);
        let error = stage(&plan, &source, &()).unwrap_err();
        let named = matches!(error, InstallError::DoesNotFit { role, .. } if role == too_large);
        assert!(named, "{error:?}");
        disk.assert_is(&disk.before);
    }
}

#[test]
fn a_medium_that_ends_early_is_a_write_error() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let source = release.in_folder(disk.folder.path());
    let file = fs_err::OpenOptions::new().write(true).open(&disk.path).unwrap();
    file.set_len(ROOT_AT + 6 * MIB).unwrap();
    let device = Loop::attach(&disk.path);
    let error = stage_onto(device.path(), &release, &source).unwrap_err();
    assert!(
        matches!(error, InstallError::Write { place, .. } if place.role == Role::Root),
        "{error}"
    );
    drop(device);
    assert_eq!(disk.kernel_head(), [0; 4096]);
}

/// Cancels once this many bytes were written, and remembers the phases.
struct CancelAt {
    bytes: u64,
    seen: Mutex<Vec<Report>>,
}

impl Progress for CancelAt {
    fn advanced(&self, report: &Report) -> ControlFlow<()> {
        self.seen.lock().unwrap().push(*report);
        match report.phase == Phase::Writing && report.bytes_done >= self.bytes {
            true => ControlFlow::Break(()),
            false => ControlFlow::Continue(()),
        }
    }
}

#[test]
fn a_cut_stage_goes_on_where_it_was_cut() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let source = release.in_folder(disk.folder.path());
    let cancel = CancelAt { bytes: 9 * MIB, seen: Mutex::default() };
    let plan = release.plan(&source, &disk.path, TargetContent::Other).unwrap();
    let error = stage(&plan, &source, &cancel).unwrap_err();
    assert!(matches!(error, InstallError::Cancelled { .. }), "{error}");
    assert_eq!(disk.kernel_head(), [0; 4096]);

    let whole = release.kernel.full.len() + release.root.full.len();
    let plan = release.plan(&source, &disk.path, TargetContent::CutStage).unwrap();
    let fetched = stage(&plan, &source, &()).unwrap().download().fetched;
    // The kernel's first segment, whose head is not on the target, and one of the root.
    assert!(fetched < whole as u64 * 3 / 4, "{fetched} of {whole}");
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn groups_of_the_booted_slot_are_copied_and_the_rest_is_fetched() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let mut booted = release.root.bytes.clone();
    booted[2 * SEGMENT + 5000] ^= 1;
    let path = disk.folder.path().join("booted");
    fs_err::write(&path, &booted).unwrap();
    let server = release.served();
    let source = http(&server);
    let mut plan = release.plan(&source, &disk.path, TargetContent::Other).unwrap();
    let mut extent = plan.root.target.clone();
    (extent.path, extent.offset) = (path.clone(), 0);
    plan.root.booted = Some(extent);
    stage(&plan, &source, &()).unwrap();
    disk.assert_is(&release.expected(&disk.before));
    assert_eq!(fs_err::read(&path).unwrap(), booted);
    let of_root = |entry: &&String| entry.starts_with(&release.root.path("full"));
    let ranges = server.log().iter().filter(of_root).count();
    assert_eq!(ranges, 2, "the seek table and one segment: {:#?}", server.log());
}

#[test]
fn a_connection_cut_in_the_middle_costs_nothing_but_the_rest() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let faults = [Fault::None, Fault::CutAfter(1_000_000), Fault::CutAfter(1)];
    stage_from_server(&release, &disk, &faults).unwrap();
    disk.assert_is(&release.expected(&disk.before));
}

#[test]
fn progress_goes_through_both_images_in_each_phase() {
    let (release, disk) = (TestRelease::new(1), Disk::new());
    let source = release.in_folder(disk.folder.path());
    let watch = CancelAt { bytes: u64::MAX, seen: Mutex::default() };
    let plan = release.plan(&source, &disk.path, TargetContent::Other).unwrap();
    stage(&plan, &source, &watch).unwrap();
    let seen = watch.seen.into_inner().unwrap();
    let total = release.kernel.image.size + release.root.image.size;
    let most = |phase| {
        let of_phase = seen.iter().filter(|report| report.phase == phase);
        of_phase.map(|report| report.bytes_done).max()
    };
    // When the last byte was written, only reading back is left.
    assert!(most(Phase::Writing).is_some_and(|bytes| bytes < total));
    assert_eq!(most(Phase::ReadingBack), Some(total));
    assert!(seen.iter().all(|report| report.bytes_total == total));
}

/// The source is a trait object to `stage`; both kinds give the same bytes.
#[test]
fn folder_and_server_are_the_same_source() {
    let (release, folder) = (TestRelease::new(1), tempfile::tempdir().unwrap());
    let (server, image) = (release.served(), &release.root.image);
    let sources: [&dyn PayloadSource; 2] = [&http(&server), &release.in_folder(folder.path())];
    for source in sources {
        assert_eq!(source.levels(image, 4096).unwrap(), release.root.levels);
        let tail = source.tail(image, 40).unwrap();
        assert_eq!(tail.total, release.root.full.len() as u64);
        assert_eq!(tail.bytes, release.root.full[release.root.full.len() - 40..]);
        let mut bytes = [0; 100];
        source.open(image, 50..150).unwrap().read_exact(&mut bytes).unwrap();
        assert_eq!(bytes, release.root.full[50..150]);
    }
}
