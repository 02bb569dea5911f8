use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::breakdown::{BreakdownArgs, Spent, SpentError};
use super::delta::write_kinds;
use super::{Failure, Output, refuse_absent};
use crate::ReadAt as _;
use crate::bundle::{Bundle, BundleError, MANIFEST, delta_name, is_tar};
use crate::delta::Tally;
use crate::format::delta::{FIXED_LEN, Head, HeadError};
use crate::format::seekable::{SeekTable, SeekTableError, segment_count};
use crate::format::uki::{Osrel, UkiError};
use crate::format::{Compatible, Hash, Image, MANIFEST_SIZE_MAX, Manifest, Release, ReleaseFacts};
use crate::repository::{DraftError, FolderError, PublisherFolder, RepositoryReport};
use crate::trust::metadata::{Targets, Unverified};
use crate::trust::role::stored_name;
use crate::trust::{Limits, Role, TrustError, UnixTime, path_of};

const EXAMPLES: &str = "\
Examples:
  payload inspect /srv/publisher
  payload inspect release-2
  payload inspect release-2.bundle --json
  payload inspect release-2/manifest.json
  payload inspect root.delta
  payload inspect root.delta --image release-2 --old release-1
  payload inspect os.efi";

/// Show what a publisher's folder, release folder, bundle, manifest, payload, delta or kernel image says.
///
/// Of a publisher's folder: which keys sign for which role, who has signed what, and until when that is
/// good. Of the others nothing is checked against anything, but a delta against --image and --old: see
/// `payload verify`.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Inspect {
    /// Publisher's folder, release folder, bundle, manifest, full payload, delta or kernel image.
    path: PathBuf,
    #[command(flatten)]
    breakdown: BreakdownArgs,
}

#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Found {
    Repository(RepositoryReport),
    Release(Box<ReleaseFound>),
    Manifest(ManifestFound),
    Payload { frames: u64, image_size: u64, frames_len: u64 },
    Delta(Box<DeltaFound>),
    Kernel { release: Release, compatible: Compatible, counter: u64, built: jiff::Timestamp },
}

#[derive(Debug, Serialize)]
struct ReleaseFound {
    #[serde(flatten)]
    manifest: ManifestFound,
    manifest_sha256: Hash,
    facts: Option<ReleaseFacts>,
    /// What its metadata says of it, whoever made that.
    signed: Option<ReleaseFacts>,
    metadata: Vec<String>,
    payloads: Vec<PayloadFound>,
}

#[derive(Debug, Serialize)]
struct DeltaFound {
    from_root: Hash,
    to_root: Hash,
    from_size: u64,
    image_size: u64,
    #[serde(flatten)]
    tally: Tally,
    /// On files, where the new image is at hand.
    #[serde(skip_serializing_if = "Option::is_none")]
    spent: Option<Spent>,
}

#[derive(Debug, Serialize)]
struct PayloadFound {
    role: crate::format::Role,
    full_size: u64,
    segments: u64,
    zero_groups: u64,
    groups: u64,
    /// Bytes of the deltas from other images, by their roots.
    deltas: BTreeMap<Hash, u64>,
}

#[derive(Debug, Serialize)]
struct ManifestFound {
    compatible: Compatible,
    release: Release,
    counter: u64,
    built: jiff::Timestamp,
    images: Vec<Image>,
}

/// A file that is none of the kinds, or of one and damaged.
#[derive(Debug, thiserror::Error)]
enum InspectError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Release(#[from] BundleError),
    #[error("not a full payload")]
    Payload(#[from] SeekTableError),
    #[error("the delta is damaged")]
    Delta(#[from] HeadError),
    #[error("cannot tell what the delta spends on files")]
    Spent(#[source] SpentError),
    #[error("{path} is no delta, and --image tells of deltas only")]
    NoDelta { path: PathBuf },
    #[error(transparent)]
    Manifest(#[from] crate::format::ManifestError),
    #[error(transparent)]
    Kernel(#[from] UkiError),
    #[error("the metadata cannot be read")]
    Metadata(#[from] TrustError),
    #[error("the metadata says nothing that can be read about the release")]
    Facts(#[from] serde_json::Error),
    #[error(transparent)]
    Folder(#[from] FolderError),
    #[error("{path} is no release folder, bundle, manifest, full payload, delta or kernel image")]
    Unknown { path: PathBuf },
}

impl Inspect {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        refuse_absent(&self.path)?;
        self.breakdown.refuse_absent()?;
        output.report(&self.look(output).map_err(|error| match error {
            InspectError::Io(error) | InspectError::Spent(SpentError::Io(error)) => error.into(),
            InspectError::NoDelta { .. } => Failure::usage(error),
            InspectError::Spent(SpentError::Unpack { ref source, .. })
                if !source.is_of_release() =>
            {
                error.into()
            }
            other => Failure::refused(other),
        })?)
    }

    fn look(&self, output: &Output) -> Result<Found, InspectError> {
        let found = self.found(output)?;
        match found {
            Found::Delta(_) => Ok(found),
            _ if self.breakdown.is_of_delta() => {
                Err(InspectError::NoDelta { path: self.path.clone() })
            }
            _ => Ok(found),
        }
    }

    fn found(&self, output: &Output) -> Result<Found, InspectError> {
        let publisher = PublisherFolder::at(&self.path);
        let is_publisher = publisher.is_begun() || publisher.draft_folder().exists();
        if is_publisher && !self.path.join(MANIFEST).exists() {
            return Ok(Found::Repository(repository(&publisher)?));
        }
        if fs_err::metadata(&self.path)?.is_dir() {
            return Ok(Found::Release(Box::new(release(&self.path)?)));
        }
        let file = fs_err::File::open(&self.path)?;
        let len = file.metadata()?.len();
        let mut head = vec![0; len.min(512) as usize];
        file.fill_at(&mut head, 0)?;
        match head.as_slice() {
            [b'{', ..] => {
                let mut bytes = vec![0; len.min(MANIFEST_SIZE_MAX as u64 + 1) as usize];
                file.fill_at(&mut bytes, 0)?;
                Ok(Found::Manifest(Manifest::parse(&bytes)?.into()))
            }
            [b'M', b'Z', ..] => kernel(&file, len),
            [0x28, 0xB5, 0x2F, 0xFD, ..] => payload(&file, len),
            start if Head::is_delta(start) => delta(&file, len, &self.breakdown, output),
            start if is_tar(start) => Ok(Found::Release(Box::new(release(&self.path)?))),
            _ => Err(InspectError::Unknown { path: self.path.clone() }),
        }
    }
}

fn repository(folder: &PublisherFolder) -> Result<RepositoryReport, FolderError> {
    let keyring = folder.keyring().map_err(DraftError::from)?;
    Ok(RepositoryReport::of(&folder.draft()?, &keyring, UnixTime::of_system_clock())?)
}

fn release(path: &std::path::Path) -> Result<ReleaseFound, InspectError> {
    let bundle = Bundle::open(path)?;
    let manifest = bundle.manifest()?;
    let mut payloads = Vec::new();
    for image in &manifest.images {
        let levels = bundle.levels(image)?;
        let groups = levels.group_count();
        payloads.push(PayloadFound {
            role: image.role,
            full_size: bundle.image_full(&image.root)?.len(),
            segments: segment_count(image.size),
            zero_groups: (0..groups).filter(|index| levels.zero_group(*index).is_some()).count()
                as u64,
            groups,
            deltas: deltas(&bundle, &image.root)?,
        });
    }
    Ok(ReleaseFound {
        signed: claimed(&bundle, &manifest)?,
        manifest_sha256: Hash::of(&bundle.manifest_bytes()?),
        manifest: manifest.into(),
        facts: match bundle.facts() {
            Err(BundleError::Missing { .. }) => None,
            facts => Some(facts?),
        },
        metadata: bundle.metadata_names()?,
        payloads,
    })
}

/// What the metadata in a release says of it. Nobody's signature is looked at.
fn claimed(bundle: &Bundle, manifest: &Manifest) -> Result<Option<ReleaseFacts>, InspectError> {
    let role = Role::from(&manifest.compatible);
    let bytes = bundle.metadata_file(&stored_name(&role), Limits::default().delegated)?;
    let Some(bytes) = bytes else { return Ok(None) };
    let list = Unverified::<Targets>::parse(&role, &bytes)?;
    let path = path_of(&manifest.compatible, &manifest.release);
    let target = list.claims().targets.get(&path);
    let facts = target.and_then(|target| target.custom.clone()).map(serde_json::from_value);
    Ok(facts.transpose()?)
}

fn deltas(bundle: &Bundle, to: &Hash) -> Result<BTreeMap<Hash, u64>, BundleError> {
    let len = |from: Hash| Ok((from, bundle.part(&delta_name(to, &from))?.len()));
    bundle.deltas(to)?.into_iter().map(len).collect()
}

fn delta(
    file: &fs_err::File,
    len: u64,
    breakdown: &BreakdownArgs,
    output: &Output,
) -> Result<Found, InspectError> {
    let mut fixed = [0; FIXED_LEN];
    if len < fixed.len() as u64 {
        return Err(HeadError::Length { found: len, wanted: fixed.len() as u64 }.into());
    }
    file.fill_at(&mut fixed, 0)?;
    let mut head = vec![0; Head::stated_len(&fixed)?.min(len) as usize];
    file.fill_at(&mut head, 0)?;
    let head = Head::parse(&head, len)?;
    let Head { from_root, to_root, from_size, to_size: image_size, .. } = head;
    let tally = Tally::of(&head);
    let spent = breakdown.look(file, &head, output).map_err(InspectError::Spent)?;
    let found = DeltaFound { from_root, to_root, from_size, image_size, tally, spent };
    Ok(Found::Delta(Box::new(found)))
}

fn kernel(file: &fs_err::File, len: u64) -> Result<Found, InspectError> {
    let osrel = Osrel::read(len, &mut |buf, offset| file.fill_at(buf, offset))?;
    let Osrel { release, compatible, counter, built } = osrel;
    Ok(Found::Kernel { release, compatible, counter, built })
}

fn payload(file: &fs_err::File, len: u64) -> Result<Found, InspectError> {
    let mut footer = [0; SeekTable::FOOTER_LEN];
    let footer_at = len.saturating_sub(footer.len() as u64);
    file.fill_at(&mut footer, footer_at)?;
    let tail_len = SeekTable::stated_tail_len(&footer, len)?;
    let mut tail = vec![0; tail_len as usize];
    file.fill_at(&mut tail, len - tail_len)?;
    let image_size = SeekTable::stated_image_size(&tail);
    let table = SeekTable::parse(&tail, image_size, len)?;
    Ok(Found::Payload { frames: table.frame_count(), image_size, frames_len: table.frames_len() })
}

impl From<Manifest> for ManifestFound {
    fn from(manifest: Manifest) -> Self {
        let Manifest { compatible, release, counter, built, images } = manifest;
        Self { compatible, release, counter, built, images }
    }
}

impl fmt::Display for Found {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Found::Repository(repository) => repository.fmt(f),
            Found::Release(release) => release.fmt(f),
            Found::Manifest(manifest) => manifest.fmt(f),
            Found::Payload { frames, image_size, frames_len } => {
                writeln!(f, "full payload of an image of {image_size} bytes")?;
                writeln!(f, "  {frames_len} bytes, frames: {frames}")
            }
            Found::Delta(delta) => delta.fmt(f),
            Found::Kernel { release, compatible, counter, built } => writeln!(
                f,
                "kernel image of release {release} for {compatible}, counter {counter}, built {built}"
            ),
        }
    }
}

impl fmt::Display for DeltaFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from_root, to_root, from_size, image_size, tally, spent } = self;
        writeln!(f, "delta payload of {} bytes", tally.size)?;
        writeln!(f, "  from {from_size:>12} bytes  tree root {from_root}")?;
        writeln!(f, "  to   {image_size:>12} bytes  tree root {to_root}")?;
        write_kinds(f, tally)?;
        spent.iter().try_for_each(|spent| spent.fmt(f))
    }
}

impl fmt::Display for ManifestFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, release, counter, built, images } = self;
        writeln!(f, "release {release} for {compatible}, counter {counter}, built {built}")?;
        for Image { role, size, root, .. } in images {
            writeln!(f, "  {role:<6} {size:>12} bytes  tree root {root}")?;
        }
        Ok(())
    }
}

impl fmt::Display for ReleaseFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.manifest.fmt(f)?;
        writeln!(f, "  manifest sha256 {}", self.manifest_sha256)?;
        for payload in &self.payloads {
            let PayloadFound { role, full_size, segments, zero_groups, groups, deltas } = payload;
            write!(f, "  {role:<6} {full_size:>12} bytes of payload, segments: {segments}, ")?;
            writeln!(f, "zero block groups: {zero_groups} of {groups}")?;
            for (from, size) in deltas {
                writeln!(f, "  {role:<6} {size:>12} bytes of delta from {from}")?;
            }
        }
        match (&self.signed, &self.facts) {
            (Some(signed), _) => write_facts(f, "signed, unchecked here", signed)?,
            (None, Some(facts)) => write_facts(f, "to be signed", facts)?,
            (None, None) => {}
        }
        match self.metadata.len() {
            0 => writeln!(f, "  not signed"),
            _ => writeln!(f, "  metadata: {}", self.metadata.join(" ")),
        }
    }
}

fn write_facts(f: &mut fmt::Formatter<'_>, what: &str, facts: &ReleaseFacts) -> fmt::Result {
    let channels: Vec<_> = facts.channels.iter().map(AsRef::as_ref).collect();
    writeln!(f, "  {what}: channels {}", channels.join(", "))?;
    if facts.min_from > 0 {
        writeln!(f, "    reached directly from counter {} on", facts.min_from)?;
    }
    if facts.floor {
        writeln!(f, "    may not be skipped")?;
    }
    if let Some(range) = &facts.downgrade_from {
        writeln!(
            f,
            "    counters {} to {} may go back to it until {}",
            range.lo, range.hi, range.expires
        )?;
    }
    Ok(())
}
