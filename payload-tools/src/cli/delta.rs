use std::fmt;
use std::io;
use std::num::NonZero;
use std::path::{Path, PathBuf};

use clap::Args;
use serde::Serialize;

use super::unpacked::{is_release, unpacked};
use super::{Failure, OUTPUT_EXISTS_HINT, Output, refuse_absent};
use crate::build::default_salt;
use crate::bundle::{Bundle, BundleError, delta_name};
use crate::delta::{
    DeltaImage, DeltaPlan, LEVEL_DEFAULT, MakeError, Padded, Share, Tally, UnpackError, make,
};
use crate::durable_file::{self, Existing, OutputExists, Readers, folder_of};
use crate::format::{Compatible, Hash, Image, Role};
use crate::tree::{BuildError, TreeBuilder};
use crate::{ReadAt, workers};

const EXAMPLES: &str = "\
Examples:
  payload delta release-1 release-2
  payload delta old.ext4 new.ext4 --compatible demo-x86_64 --out root.delta

The same images and options give the same bytes.";

/// Make delta payloads: the new images out of the old ones.
///
/// Of two releases, one for each image that differs, into NEW, whose folder it has to
/// be; one that is there already is kept. Of two images, into --out. No key is needed: a
/// device checks what a delta makes against the signed tree, and takes the full payload
/// where that fails.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub struct Delta {
    /// Release folder, bundle or image that devices have.
    old: PathBuf,
    /// Release folder or image that they are to get.
    new: PathBuf,
    /// File to make of two images.
    #[arg(long, short, value_name = "FILE", requires = "compatible")]
    out: Option<PathBuf>,
    /// Whose images they are, which settles their trees; not for releases.
    #[arg(long, requires = "out")]
    compatible: Option<Compatible>,
    /// zstd level, 1 to 22.
    #[arg(long, default_value_t = LEVEL_DEFAULT, value_parser = clap::value_parser!(i32).range(1..=22))]
    level: i32,
    /// Threads to work with; by default one for each core.
    #[arg(long)]
    threads: Option<NonZero<usize>>,
}

#[derive(Debug, Serialize)]
struct DeltaReport {
    deltas: Vec<DeltaMade>,
}

#[derive(Debug, Serialize)]
struct DeltaMade {
    /// Of an image that has one.
    role: Option<Role>,
    file: PathBuf,
    /// Whether it was there before.
    kept: bool,
    from_root: Hash,
    to_root: Hash,
    image_size: u64,
    /// Bytes of the full payload that it stands in for, if there is one.
    full_size: Option<u64>,
    #[serde(flatten)]
    tally: Tally,
}

#[derive(Debug, thiserror::Error)]
enum DeltaVerbError {
    #[error("{0} is a bundle, and deltas go into a release folder")]
    IntoBundle(PathBuf),
    #[error("{0} is an image and no release; two images need --compatible and --out")]
    Image(PathBuf),
    #[error("{new} is for {new_compatible} and {old} is for {old_compatible}")]
    Compatible {
        old: PathBuf,
        old_compatible: Compatible,
        new: PathBuf,
        new_compatible: Compatible,
    },
    #[error(transparent)]
    Release(#[from] BundleError),
    #[error("cannot unpack the payload of the {role} image")]
    Unpack { role: Role, source: UnpackError },
    #[error("cannot make the tree of {path}")]
    Tree { path: PathBuf, source: BuildError },
    #[error(transparent)]
    Exists(#[from] OutputExists),
    #[error("cannot make the delta {}", path.display())]
    Make { path: PathBuf, source: MakeError },
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl Delta {
    /// Runs the verb.
    pub fn run(self, output: &Output) -> Result<(), Failure> {
        for path in [&self.old, &self.new] {
            refuse_absent(path)?;
        }
        let deltas = match (&self.out, &self.compatible) {
            (Some(out), Some(compatible)) => self.of_images(out, compatible, output),
            _ => self.of_releases(output),
        };
        output.report(&DeltaReport { deltas: deltas.map_err(failure)? })
    }

    fn of_images(
        &self,
        out: &Path,
        compatible: &Compatible,
        output: &Output,
    ) -> Result<Vec<DeltaMade>, DeltaVerbError> {
        durable_file::refuse_existing(out)?;
        let builder = TreeBuilder::new(default_salt(compatible));
        let open = |path: &PathBuf| {
            let image = Padded::new(fs_err::File::open(path)?)?;
            let bar = output.bytes_bar("hashing", image.size());
            let tree = builder.build(&image, image.size(), &|bytes| bar.inc(bytes));
            bar.finish_and_clear();
            let tree =
                tree.map_err(|source| DeltaVerbError::Tree { path: path.clone(), source })?;
            let size = image.size();
            Ok::<_, DeltaVerbError>((image, DeltaImage { root: tree.root, size }))
        };
        let ((old, old_image), (new, new_image)) = (open(&self.old)?, open(&self.new)?);
        let tally = self.write((&old, old_image), (&new, new_image), out, output)?;
        Ok(vec![DeltaMade {
            role: None,
            file: out.to_owned(),
            kept: false,
            from_root: old_image.root,
            to_root: new_image.root,
            image_size: new_image.size,
            full_size: None,
            tally,
        }])
    }

    fn of_releases(&self, output: &Output) -> Result<Vec<DeltaMade>, DeltaVerbError> {
        for path in [&self.old, &self.new] {
            if !is_release(path)? {
                return Err(DeltaVerbError::Image(path.clone()));
            }
        }
        let (old, new) = (Bundle::open(&self.old)?, Bundle::open(&self.new)?);
        if !fs_err::metadata(&self.new)?.is_dir() {
            return Err(DeltaVerbError::IntoBundle(self.new.clone()));
        }
        let (old_manifest, new_manifest) = (old.manifest()?, new.manifest()?);
        if old_manifest.compatible != new_manifest.compatible {
            return Err(DeltaVerbError::Compatible {
                old: self.old.clone(),
                old_compatible: old_manifest.compatible,
                new: self.new.clone(),
                new_compatible: new_manifest.compatible,
            });
        }
        let mut made = Vec::new();
        for image in &new_manifest.images {
            let is_same_role = |other: &&Image| other.role == image.role;
            let Some(from) = old_manifest.images.iter().find(is_same_role) else { continue };
            if from.root == image.root {
                continue;
            }
            let file = self.new.join(delta_name(&image.root, &from.root));
            let kept = durable_file::refuse_existing(&file).is_err();
            let tally = if kept {
                Tally::of(&new.delta_head(image, &from.root)?)
            } else {
                self.between((&old, from), (&new, image), &file, output)?
            };
            made.push(DeltaMade {
                role: Some(image.role),
                file,
                kept,
                from_root: from.root,
                to_root: image.root,
                image_size: image.size,
                full_size: Some(new.image_full(&image.root)?.len()),
                tally,
            });
        }
        Ok(made)
    }

    fn between(
        &self,
        (old, from): (&Bundle, &Image),
        (new, to): (&Bundle, &Image),
        file: &Path,
        output: &Output,
    ) -> Result<Tally, DeltaVerbError> {
        durable_file::make_folder(folder_of(file), Readers::Everyone)?;
        let open = |release, image: &Image| {
            unpacked(release, image, folder_of(file), self.threads(), output)
                .map_err(|source| DeltaVerbError::Unpack { role: image.role, source })
        };
        let (old, new) = (open(old, from)?, open(new, to)?);
        self.write((&old, from.into()), (&new, to.into()), file, output)
    }

    fn threads(&self) -> NonZero<usize> {
        self.threads.unwrap_or_else(workers::every_core)
    }

    fn write(
        &self,
        (old, old_image): (&dyn ReadAt, DeltaImage),
        (new, new_image): (&dyn ReadAt, DeltaImage),
        out: &Path,
        output: &Output,
    ) -> Result<Tally, DeltaVerbError> {
        let plan = DeltaPlan {
            old: old_image,
            new: new_image,
            level: self.level,
            threads: self.threads(),
        };
        let bar = output.bytes_bar("delta", old_image.size + new_image.size);
        let file = durable_file::begin(folder_of(out), Readers::Everyone)?;
        let tally = make(&plan, (old, new), file.as_file(), &|bytes| bar.inc(bytes))
            .map_err(|source| DeltaVerbError::Make { path: out.to_owned(), source })?;
        durable_file::finish(file, out, Existing::Refuse)?;
        bar.finish_and_clear();
        Ok(tally)
    }
}

fn failure(error: DeltaVerbError) -> Failure {
    match error {
        DeltaVerbError::Exists(_) => Failure::usage(error).hint(OUTPUT_EXISTS_HINT),
        DeltaVerbError::IntoBundle(_) => Failure::usage(error).hint("name the release's folder"),
        DeltaVerbError::Image(_) | DeltaVerbError::Compatible { .. } => Failure::usage(error),
        DeltaVerbError::Io(error) => error.into(),
        DeltaVerbError::Unpack { ref source, .. } if !source.is_of_release() => error.into(),
        DeltaVerbError::Release(_)
        | DeltaVerbError::Unpack { .. }
        | DeltaVerbError::Tree { .. } => Failure::refused(error),
        DeltaVerbError::Make { .. } => error.into(),
    }
}

impl fmt::Display for DeltaReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.deltas.is_empty() {
            return writeln!(f, "both releases have the same images: no delta is needed");
        }
        for DeltaMade { role, file, kept, image_size, full_size, tally, .. } in &self.deltas {
            let done = if *kept { "was there already:" } else { "wrote" };
            writeln!(f, "{done} {}", file.display())?;
            if let Some(role) = role {
                write!(f, "  {role}: ")?;
            } else {
                write!(f, "  ")?;
            }
            write!(f, "{} bytes for an image of {image_size}", tally.size)?;
            match full_size {
                Some(full) => {
                    writeln!(
                        f,
                        ", {} of the full payload's {full}",
                        share(tally.size.into(), (*full).into())
                    )?;
                }
                None => writeln!(f)?,
            }
            write_kinds(f, tally)?;
        }
        Ok(())
    }
}

/// Percent, or a fraction where those would round to nothing.
pub(super) fn share(part: u128, whole: u128) -> String {
    let percent = part as f64 * 100.0 / whole as f64;
    if percent >= 0.1 { format!("{percent:.1} %") } else { format!("1/{}", whole / part.max(1)) }
}

/// One line for each kind that there is.
pub(super) fn write_kinds(f: &mut fmt::Formatter<'_>, tally: &Tally) -> fmt::Result {
    for (kind, Share { segments, image_bytes, bytes }) in &tally.kinds {
        let words = kind.in_words();
        writeln!(
            f,
            "  {bytes:>12} bytes make {image_bytes:>12}, segments: {segments:>5}, {words}"
        )?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_share_is_not_said_to_be_none() {
        for (part, whole, said) in
            [(500, 1000, "50.0 %"), (1, 1000, "0.1 %"), (2, 10_000, "1/5000")]
        {
            assert_eq!(share(part, whole), said);
        }
    }
}
