//! Small releases, and targets to put them on.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use partition_layout::testing::sample_disk;
use partition_layout::{BlockDevice, Durable, Layout, Nibble, SlotLetter, SlotTable, commit};
use payload_tools::bundle::Bundle;
use payload_tools::format::seekable::{FrameEncoder, Writer};
use payload_tools::format::{GROUP, Image, Role, SEGMENT, Salt};
use payload_tools::tree::TreeBuilder;

use super::server::Server;
use crate::install::{
    BundleSource, DeltaOffer, Extent, HttpSource, ImagePlan, InstallError, Patience, PayloadSource,
    Prepared, StagePlan, TargetContent, prepare,
};

pub(super) const MIB: u64 = 1 << 20;
/// Where the tests' disks have their kernel and their root.
pub(super) const KERNEL_AT: u64 = MIB;
pub(super) const ROOT_AT: u64 = 8 * MIB;
pub(super) const DISK_SIZE: u64 = 32 * MIB;

/// Two images and what a server has of them.
pub(crate) struct TestRelease {
    pub kernel: TestImage,
    pub root: TestImage,
}

pub(crate) struct TestImage {
    pub bytes: Vec<u8>,
    pub image: Image,
    pub full: Vec<u8>,
    pub levels: Vec<u8>,
}

impl TestImage {
    pub fn of(role: Role, bytes: Vec<u8>) -> Self {
        let builder = TreeBuilder::new(Salt::default());
        let tree = builder.build(&bytes, bytes.len() as u64, &|_| ()).unwrap();
        let image = builder.image(role, bytes.len() as u64, &tree);
        let mut writer = Writer::new(Vec::new(), image.size);
        let mut encoder = FrameEncoder::new(1).unwrap();
        for segment in bytes.chunks(SEGMENT) {
            writer.frame(&encoder.encode(segment).unwrap()).unwrap();
        }
        TestImage { bytes, image, full: writer.finish().unwrap(), levels: tree.levels }
    }

    pub fn path(&self, file: &str) -> String {
        format!("/v1/images/{}/{file}", self.image.root)
    }
}

impl TestRelease {
    /// A kernel of one segment and a bit; a root of three segments and a bit,
    /// whose second is all zero.
    pub fn new(seed: u64) -> Self {
        let kernel = noise(seed, SEGMENT + 4096);
        let mut root = noise(seed + 1, 3 * SEGMENT + GROUP + 8192);
        root[SEGMENT..2 * SEGMENT].fill(0);
        TestRelease {
            kernel: TestImage::of(Role::Kernel, kernel),
            root: TestImage::of(Role::Root, root),
        }
    }

    /// Images of less than a segment, for disks that record every block.
    pub fn tiny(seed: u64) -> Self {
        TestRelease {
            kernel: TestImage::of(Role::Kernel, noise(seed, GROUP + 4096)),
            root: TestImage::of(Role::Root, noise(seed + 1, 2 * GROUP + 8192)),
        }
    }

    pub fn documents(&self) -> HashMap<String, Vec<u8>> {
        let images = [&self.kernel, &self.root];
        let full = images.map(|image| (image.path("full"), image.full.clone()));
        let levels = images.map(|image| (image.path("levels"), image.levels.clone()));
        full.into_iter().chain(levels).collect()
    }

    pub fn served(&self) -> Server {
        Server::start(self.documents())
    }

    /// A release folder (docs/formats.md), without what a stage does not read.
    pub fn in_folder(&self, folder: &Path) -> BundleSource {
        for image in [&self.kernel, &self.root] {
            let images = folder.join("images").join(image.image.root.to_string());
            fs_err::create_dir_all(&images).unwrap();
            fs_err::write(images.join("full"), &image.full).unwrap();
            fs_err::write(images.join("levels"), &image.levels).unwrap();
        }
        BundleSource::new(Bundle::open(folder).unwrap())
    }

    pub fn images(&self) -> [Image; 2] {
        [self.kernel.image.clone(), self.root.image.clone()]
    }

    pub fn prepared(&self) -> Prepared {
        let folder = tempfile::tempdir().unwrap();
        prepare(&self.images(), &[], &self.in_folder(folder.path())).unwrap()
    }

    /// From `source` onto `path` at [`KERNEL_AT`] and [`ROOT_AT`].
    pub fn plan(
        &self,
        source: &dyn PayloadSource,
        path: &Path,
        content: TargetContent,
    ) -> Result<StagePlan, InstallError> {
        self.plan_with(source, path, content, &[])
    }

    pub fn plan_with(
        &self,
        source: &dyn PayloadSource,
        path: &Path,
        content: TargetContent,
        deltas: &[DeltaOffer],
    ) -> Result<StagePlan, InstallError> {
        let Prepared { kernel, root } = prepare(&self.images(), deltas, source)?;
        let image_plan = |index, offset, size| {
            let target = Extent { path: path.to_owned(), offset, size };
            ImagePlan { index, target, booted: None }
        };
        Ok(StagePlan {
            slot: SlotLetter::B,
            kernel: image_plan(kernel, KERNEL_AT, ROOT_AT - KERNEL_AT),
            root: image_plan(root, ROOT_AT, DISK_SIZE - ROOT_AT),
            content,
            unbootable: durable(),
            claims: Vec::new(),
        })
    }

    /// `before` with the release in place.
    pub fn expected(&self, before: &[u8]) -> Vec<u8> {
        let mut disk = before.to_vec();
        for (at, image) in [(KERNEL_AT, &self.kernel), (ROOT_AT, &self.root)] {
            disk[at as usize..][..image.bytes.len()].copy_from_slice(&image.bytes);
        }
        disk
    }
}

pub(super) fn http(server: &Server) -> HttpSource {
    let patience = Patience {
        fruitless_attempts_max: 3,
        pause: Duration::ZERO,
        silence_max: Duration::from_secs(20),
        ..Patience::default()
    };
    let base = format!("http://{}", server.address).parse().unwrap();
    // A provider may have been installed by another test of this process.
    let _ = rustls::crypto::ring::default_provider().install_default();
    HttpSource::new(base, reqwest::Client::builder(), patience).unwrap()
}

/// The token that a stage asks for, from a commit to a disk in memory.
fn durable() -> Durable {
    let disk = sample_disk(4096);
    let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
    let slot = table.slot(SlotLetter::B);
    let nothing = slot.attributes.with_boot(Nibble::ZERO, Nibble::ZERO, false);
    commit(&disk, &[(slot.kernel.number, nothing)]).unwrap()
}

/// Bytes that look random, compress to half, and are the same for the same seed.
pub(super) fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8 & 0x0F
    };
    (0..len).map(|_| next()).collect()
}

/// All bytes of a device.
pub(super) fn content(device: &dyn BlockDevice, len: u64) -> Vec<u8> {
    let mut bytes = vec![0; len as usize];
    device.read_at(0, &mut bytes).unwrap();
    bytes
}
