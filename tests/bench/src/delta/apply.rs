//! An install from a delta beside the full install of the same release.

use std::path::{Path, PathBuf};

use payload_tools::bundle::{delta_name, full_name, levels_name};
use payload_tools::format::{Manifest, Role};

use super::Store;
use super::image::ImageFile;
use crate::figures::Spread;
use crate::install::{Way, install};
use crate::release::{encode, manifest_bytes, manifest_of};
use crate::{BenchError, Figures, FileServer, Release, Sample, TestDisk, at};

/// The kernel's payload costs no time that counts.
const KERNEL_LEVEL: i32 = 3;

/// Kernel and root of one release.
pub(super) type Images = [ImageFile; 2];

/// What there is to install the new root with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payloads<'a> {
    pub full: &'a Path,
    pub delta: &'a Path,
}

/// The installs of all rounds.
#[derive(Debug)]
pub(super) struct Applied {
    delta: Vec<Sample>,
    full: Vec<Sample>,
}

/// Installs by turns, after a round that does not count.
pub(super) fn compare(
    program: &Path,
    (old, new): (&Images, &Images),
    payloads: Payloads<'_>,
    rounds: usize,
    store: &Store<'_>,
) -> Result<Applied, BenchError> {
    let work = store.work()?;
    let ready = Ready::lay_out(work.path(), (old, new), payloads)?;
    let mut applied = Applied { delta: Vec::new(), full: Vec::new() };
    for round in 0..=rounds {
        store.note(&format!("installing from the delta and in full, round {round} of {rounds}"));
        let (by_delta, in_full) = (ready.by_delta(program)?, ready.in_full(program)?);
        if round > 0 {
            applied.delta.push(by_delta);
            applied.full.push(in_full);
        }
    }
    Ok(applied)
}

/// A disk with the old images in its booted slot, and a server with the new ones.
pub(super) struct Ready {
    release: Release,
    booted: PathBuf,
    disk: TestDisk,
    server: FileServer,
}

impl Ready {
    /// Puts all of it below `folder`.
    pub fn lay_out(
        folder: &Path,
        (old, new): (&Images, &Images),
        payloads: Payloads<'_>,
    ) -> Result<Self, BenchError> {
        let release = lay_out(folder, (old, new), payloads)?;
        let was = manifest(old)?;
        let booted = folder.join("booted.json");
        fs_err::write(&booted, manifest_bytes(&was)?).map_err(at("write the manifest"))?;
        let disk = TestDisk::with_room_for(folder, &[&was, &release.manifest])?;
        for image in old {
            disk.write_booted(image.image.role, &image.path)?;
        }
        let server = FileServer::start(&release.folder)?;
        Ok(Ready { release, booted, disk, server })
    }

    pub fn by_delta(&self, program: &Path) -> Result<Sample, BenchError> {
        install(program, &self.release, Way::Booted(&self.booted), &self.server, &self.disk)
    }

    pub fn in_full(&self, program: &Path) -> Result<Sample, BenchError> {
        install(program, &self.release, Way::Full, &self.server, &self.disk)
    }
}

/// The manifest of a release of these images.
pub(super) fn manifest(images: &Images) -> Result<Manifest, BenchError> {
    manifest_of(images.iter().map(|file| file.image.clone()).collect())
}

/// The release folder that the server has: the new images, the root with a delta too.
fn lay_out(
    folder: &Path,
    (old, new): (&Images, &Images),
    payloads: Payloads<'_>,
) -> Result<Release, BenchError> {
    let folder = folder.join("release");
    let manifest = manifest(new)?;
    let place = |name: String, put: &dyn Fn(&Path) -> std::io::Result<()>| {
        let path = folder.join(name);
        let made = path.parent().map_or(Ok(()), fs_err::create_dir_all);
        made.and_then(|()| put(&path)).map_err(at("lay out a release"))
    };
    let link = |to: &Path, name| place(name, &|path| fs_err::os::unix::fs::symlink(to, path));
    for (from, file) in old.iter().zip(new) {
        let root = &file.image.root;
        place(levels_name(root), &|path| fs_err::write(path, &file.levels))?;
        match file.image.role {
            Role::Root => {
                link(payloads.full, full_name(root))?;
                link(payloads.delta, delta_name(root, &from.image.root))?;
            }
            Role::Kernel => {
                let full = folder.join(full_name(root));
                encode(&file.bytes()?, file.image.size, KERNEL_LEVEL, &full)?;
            }
        }
    }
    let release = Release { folder, manifest };
    let bytes = manifest_bytes(&release.manifest)?;
    fs_err::write(release.manifest_path(), bytes).map_err(at("write the manifest"))?;
    Ok(release)
}

impl Applied {
    /// Adds what the rounds come to, below `apply`, the pair's key.
    pub fn add_to(&self, apply: &str, figures: &mut Figures) {
        figures.set(&format!("{apply}.rounds"), self.delta.len());
        for (who, samples) in [("", &self.delta), (".full_install", &self.full)] {
            let mut add = |key: &str, value: &dyn Fn(&Sample) -> f64| {
                let spread = Spread::of(samples.iter().map(value));
                figures.set_spread(&format!("{apply}{who}.{key}"), spread);
            };
            add("wall_seconds", &|sample| sample.wall.as_secs_f64());
            add("cpu_seconds", &|sample| sample.cpu.as_secs_f64());
            add("memory_peak_bytes", &|sample| sample.memory_peak_bytes as f64);
            add("wire_bytes", &|sample| sample.wire_bytes as f64);
        }
        let [delta, full] = [&self.delta, &self.full].map(|samples| {
            samples.iter().map(|sample| sample.wall.as_secs_f64()).collect::<Vec<_>>()
        });
        figures.set_spread(&format!("{apply}.ratio_full_install"), Spread::ratio(&delta, &full));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn each_round_has_a_ratio_of_its_own() {
        let sample = |seconds| Sample {
            wall: Duration::from_secs(seconds),
            cpu: Duration::from_secs(1),
            memory_peak_bytes: 50 << 20,
            wire_bytes: 1000,
            write_ratio: 1.0,
        };
        let applied = Applied {
            delta: vec![sample(3), sample(6), sample(4)],
            full: vec![sample(2), sample(2), sample(4)],
        };
        let mut figures = Figures::default();
        applied.add_to("apply", &mut figures);
        let ratio = figures.spread("apply.ratio_full_install").unwrap();
        assert_eq!(ratio, Spread { median: 2.0, least: 1.0, most: 3.0 });
        assert_eq!(figures.number("apply.wall_seconds").unwrap(), 4.0);
        assert_eq!(figures.number("apply.full_install.wall_seconds").unwrap(), 2.0);
        assert_eq!(figures.number("apply.memory_peak_bytes").unwrap(), f64::from(50 << 20));
    }
}
