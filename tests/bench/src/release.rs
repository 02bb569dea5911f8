//! A release of realistic content, made of the files of this machine.

use std::io::{self, BufWriter, Read, Write};
use std::path::{Path, PathBuf};

use payload_tools::ReadAt;
use payload_tools::format::seekable::{FrameEncoder, Writer, segment_count, segment_range};
use payload_tools::format::{BLOCK, Compatible, Image, Manifest, Role, SEGMENT, Salt};
use payload_tools::tree::TreeBuilder;

use crate::{BenchError, at};

const MIB: u64 = 1 << 20;
/// Large enough to count, small enough not to matter.
const KERNEL_SIZE: u64 = 16 * MIB;
/// What `zstd` and `payload build` are at without being told otherwise costs
/// minutes for a GiB; decoding speed hardly depends on it.
const LEVEL: i32 = 3;

/// How much of the root image holds files; the rest is zeroes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fill {
    /// All of it.
    Dense,
    /// Of each 16 MiB, the first 8.
    HalfEmpty,
}

impl Fill {
    /// What it is called in keys.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Fill::Dense => "dense",
            Fill::HalfEmpty => "half_empty",
        }
    }

    /// Files, and after them nothing, in turn, in bytes.
    fn stretches(self) -> (u64, u64) {
        match self {
            Fill::Dense => (16 * MIB, 0),
            Fill::HalfEmpty => (8 * MIB, 8 * MIB),
        }
    }
}

/// A release folder (docs/formats.md) and its manifest.
#[derive(Clone, Debug)]
pub struct Release {
    /// `manifest.json`, `images/<root>/full` and `levels` are below.
    pub folder: PathBuf,
    /// What the folder's manifest says.
    pub manifest: Manifest,
}

impl Release {
    /// The manifest's file.
    pub fn manifest_path(&self) -> PathBuf {
        self.folder.join("manifest.json")
    }

    pub(crate) fn image(&self, role: Role) -> Result<&Image, BenchError> {
        self.manifest
            .image(role)
            .ok_or_else(|| BenchError::Payload(format!("the manifest has no {role} image").into()))
    }
}

/// Makes a release with a root image of `root_size` bytes below `cache`, of the
/// files below `content`, or finds the one made before.
pub fn prepare(
    cache: &Path,
    content: &Path,
    root_size: u64,
    fill: Fill,
) -> Result<Release, BenchError> {
    let folder = cache.join(format!("release-{}-{}", root_size / MIB, fill.name()));
    let manifest_path = folder.join("manifest.json");
    if let Ok(bytes) = fs_err::read(&manifest_path) {
        let manifest =
            Manifest::parse(&bytes).map_err(|error| BenchError::Payload(Box::new(error)))?;
        return Ok(Release { folder, manifest });
    }
    fs_err::create_dir_all(&folder).map_err(at("make the release folder"))?;
    let files = files_below(content)?;
    let kernel = make_image(&folder, Role::Kernel, (KERNEL_SIZE, Fill::Dense), &files)?;
    let root = make_image(&folder, Role::Root, (root_size, fill), &files)?;
    let manifest = manifest_of(vec![kernel, root])?;
    // Last: its presence says that the rest is complete.
    fs_err::write(&manifest_path, manifest_bytes(&manifest)?).map_err(at("write the manifest"))?;
    Ok(Release { folder, manifest })
}

/// Whose releases the benchmark's are.
pub(crate) fn compatible() -> Result<Compatible, BenchError> {
    "bench-x86_64".parse().map_err(|error| BenchError::Payload(Box::new(error)))
}

/// A release of these images.
pub(crate) fn manifest_of(images: Vec<Image>) -> Result<Manifest, BenchError> {
    Ok(Manifest {
        compatible: compatible()?,
        release: "1".parse().map_err(|error| BenchError::Payload(Box::new(error)))?,
        counter: 1,
        built: Default::default(),
        images,
    })
}

pub(crate) fn manifest_bytes(manifest: &Manifest) -> Result<Vec<u8>, BenchError> {
    manifest.to_bytes().map_err(|error| BenchError::Payload(Box::new(error)))
}

/// All regular files in a fixed order.
fn files_below(folder: &Path) -> Result<Vec<PathBuf>, BenchError> {
    let read = || at("list the files to make an image of");
    let (mut files, mut folders) = (Vec::new(), vec![folder.to_owned()]);
    while let Some(folder) = folders.pop() {
        let entries = fs_err::read_dir(&folder).map_err(read())?;
        for entry in entries {
            let entry = entry.map_err(read())?;
            let kind = entry.file_type().map_err(read())?;
            match (kind.is_dir(), kind.is_file()) {
                (true, _) => folders.push(entry.path()),
                (_, true) => files.push(entry.path()),
                _ => {}
            }
        }
    }
    files.sort();
    match files.is_empty() {
        true => Err(BenchError::NoContent { folder: folder.to_owned() }),
        false => Ok(files),
    }
}

fn make_image(
    folder: &Path,
    role: Role,
    (size, fill): (u64, Fill),
    files: &[PathBuf],
) -> Result<Image, BenchError> {
    let raw = folder.join(format!("{role}.raw"));
    write_files(&raw, (size, fill), files).map_err(at("write an image"))?;
    let file = fs_err::File::open(&raw).map_err(at("read an image"))?;
    let builder = TreeBuilder::new(Salt::default());
    let tree = builder
        .build(&file, size, &|_| ())
        .map_err(|error| BenchError::Payload(Box::new(error)))?;
    let image = builder.image(role, size, &tree);
    let images = folder.join("images").join(image.root.to_string());
    fs_err::create_dir_all(&images).map_err(at("make the release folder"))?;
    fs_err::write(images.join("levels"), &tree.levels).map_err(at("write the levels"))?;
    encode(&file, size, LEVEL, &images.join("full"))?;
    fs_err::remove_file(&raw).map_err(at("remove an image"))?;
    Ok(image)
}

/// Files one after the other, each from the beginning of a block as a file system has them.
fn write_files(path: &Path, (size, fill): (u64, Fill), files: &[PathBuf]) -> io::Result<()> {
    let (used, unused) = fill.stretches();
    let mut content = Content { files: files.iter().cycle(), open: None };
    let mut out = BufWriter::new(fs_err::File::create(path)?);
    let mut left = size;
    while left > 0 {
        let part = used.min(left);
        io::copy(&mut (&mut content).take(part), &mut out)?;
        left -= part;
        let part = unused.min(left);
        io::copy(&mut io::repeat(0).take(part), &mut out)?;
        left -= part;
    }
    out.flush()
}

/// The bytes of files without end, each padded to whole blocks.
struct Content<I> {
    files: I,
    /// The file, and how much of a block of it was read.
    open: Option<(fs_err::File, usize)>,
}

impl<'a, I: Iterator<Item = &'a PathBuf>> Read for Content<I> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            let Some((file, in_block)) = &mut self.open else {
                let Some(path) = self.files.next() else { return Ok(0) };
                self.open = Some((fs_err::File::open(path)?, 0));
                continue;
            };
            let mut count = file.read(buffer)?;
            if count == 0 && *in_block > 0 {
                count = buffer.len().min(BLOCK - *in_block);
                buffer[..count].fill(0);
            }
            if count > 0 || buffer.is_empty() {
                *in_block = (*in_block + count) % BLOCK;
                return Ok(count);
            }
            self.open = None;
        }
    }
}

/// Writes the full payload of an image, as `payload build` does, but one segment after the other.
pub(crate) fn encode(
    image: &dyn ReadAt,
    size: u64,
    level: i32,
    path: &Path,
) -> Result<(), BenchError> {
    let payload = |error| BenchError::Payload(Box::new(error));
    let out = fs_err::File::create(path).map_err(at("write the payload"))?;
    let mut writer = Writer::new(BufWriter::new(out), size);
    let mut encoder = FrameEncoder::new(level).map_err(payload)?;
    let mut buffer = vec![0; SEGMENT];
    for index in 0..segment_count(size) {
        let range = segment_range(size, index);
        let segment = &mut buffer[..(range.end - range.start) as usize];
        image.fill_at(segment, range.start).map_err(at("read an image"))?;
        let frame = encoder.encode(segment).map_err(payload)?;
        writer.frame(&frame).map_err(at("write the payload"))?;
    }
    writer.finish().and_then(|mut out| out.flush()).map_err(at("write the payload"))
}
