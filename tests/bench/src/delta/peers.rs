//! What other people's tools make of the same files.

use std::path::{Path, PathBuf};

use seesaw_harness::image::Key;
use seesaw_harness::venv::venv;

use super::Store;
use super::image::ImageFile;
use crate::cgroup::measure;
use crate::machine::version;
use crate::{BenchError, Figures, at};

const HDIFFPATCH: &str = include_str!("scripts/make-patch.py");
const HDIFFPATCH_VERSION: &str = "2.6.0";

/// A tool and how it is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Peer {
    /// `zstd --patch-from`, which takes the old image for what came before.
    ZstdPatchFrom,
    /// HDiffPatch, which searches the whole old image with a suffix array.
    HDiffPatch,
    /// `zstd` of the new image alone, in one frame.
    Zstd,
}

/// What a tool came to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Made {
    pub bytes: f64,
    pub cpu_seconds: f64,
    pub memory_peak_bytes: f64,
}

impl Peer {
    /// What it is called in keys.
    pub fn name(self) -> &'static str {
        match self {
            Peer::ZstdPatchFrom => "zstd_patch_from",
            Peer::HDiffPatch => "hdiffpatch",
            Peer::Zstd => "zstd19",
        }
    }

    /// The tool and its version.
    pub fn tool(self) -> Result<String, BenchError> {
        match self {
            Peer::HDiffPatch => Ok(format!("hdiffpatch {HDIFFPATCH_VERSION}")),
            Peer::ZstdPatchFrom | Peer::Zstd => version("zstd").ok_or_else(|| {
                let output = "`zstd --version` says none".to_owned();
                BenchError::Program { program: "zstd".to_owned(), output }
            }),
        }
    }

    /// What it makes of these images: found, or made now.
    pub fn made(
        self,
        store: &Store<'_>,
        (old, new): (&ImageFile, &ImageFile),
    ) -> Result<Made, BenchError> {
        let kept = store.path(&format!("{}-{}.json", self.name(), self.key(old, new)?));
        if let Ok(figures) = Figures::read(&kept) {
            return Made::of(&figures);
        }
        store.note(&format!("waiting for {}", self.tool()?));
        let work = store.work()?;
        let out = work.path().join("out");
        let (cost, _) =
            measure(&self.command(store, work.path(), (&old.path, &new.path), &out)?)?;
        let made = Made {
            bytes: fs_err::metadata(&out).map_err(at("look at what a tool made"))?.len() as f64,
            cpu_seconds: cost.cpu.as_secs_f64(),
            memory_peak_bytes: cost.memory_peak_bytes as f64,
        };
        made.figures().write(&kept)?;
        Ok(made)
    }

    fn command(
        self,
        store: &Store<'_>,
        work: &Path,
        (old, new): (&Path, &Path),
        out: &Path,
    ) -> Result<Vec<String>, BenchError> {
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut words = match self {
            Peer::HDiffPatch => {
                let script = work.join("make-patch.py");
                fs_err::write(&script, HDIFFPATCH).map_err(at("write a script"))?;
                vec![text(&hdiffpatch(store)?), text(&script)]
            }
            Peer::ZstdPatchFrom | Peer::Zstd => vec!["zstd".to_owned()],
        };
        words.extend(self.arguments().into_iter().map(|word| match word {
            "OLD" => text(old),
            "NEW" => text(new),
            "OUT" => text(out),
            "--patch-from=OLD" => format!("--patch-from={}", text(old)),
            other => other.to_owned(),
        }));
        Ok(words)
    }

    fn arguments(self) -> Vec<&'static str> {
        match self {
            Peer::ZstdPatchFrom => vec![
                "-19",
                "--long=31",
                "--single-thread",
                "--patch-from=OLD",
                "--quiet",
                "NEW",
                "-o",
                "OUT",
            ],
            Peer::HDiffPatch => vec!["OLD", "NEW", "OUT"],
            Peer::Zstd => {
                vec!["-19", "--single-thread", "--quiet", "NEW", "-o", "OUT"]
            }
        }
    }

    /// Of the images, the tool, and how it is asked.
    fn key(self, old: &ImageFile, new: &ImageFile) -> Result<String, BenchError> {
        let mut key = Key::default();
        key.add(self.tool()?).add(new.image.root.as_bytes());
        for argument in self.arguments() {
            key.add(argument);
        }
        if self != Peer::Zstd {
            key.add(old.image.root.as_bytes());
        }
        if self == Peer::HDiffPatch {
            key.add(HDIFFPATCH);
        }
        Ok(key.finish())
    }
}

impl Made {
    fn of(figures: &Figures) -> Result<Self, BenchError> {
        Ok(Self {
            bytes: figures.number("bytes")?,
            cpu_seconds: figures.number("cpu_seconds")?,
            memory_peak_bytes: figures.number("memory_peak_bytes")?,
        })
    }

    fn figures(&self) -> Figures {
        let mut figures = Figures::default();
        figures.set("bytes", self.bytes);
        figures.set("cpu_seconds", self.cpu_seconds);
        figures.set("memory_peak_bytes", self.memory_peak_bytes);
        figures
    }
}

/// The Python that has HDiffPatch, below the store.
fn hdiffpatch(store: &Store<'_>) -> Result<PathBuf, BenchError> {
    let folder = store.path(&format!("hdiffpatch-{HDIFFPATCH_VERSION}"));
    Ok(venv(&folder, &[&format!("hdiffpatch=={HDIFFPATCH_VERSION}")])?)
}

#[cfg(test)]
mod tests {
    use payload_tools::format::{Hash, Image, Role, Salt};

    use super::*;

    fn image(name: &str) -> ImageFile {
        let root = Hash::of(name.as_bytes());
        let image = Image { role: Role::Root, size: 4096, salt: Salt::default(), root };
        ImageFile { path: name.into(), image, levels: Vec::new() }
    }

    #[test]
    fn what_was_made_of_the_same_images_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned(), &|text| panic!("{text}")).unwrap();
        let (old, new) = (image("old"), image("new"));
        let made = Made { bytes: 1.0, cpu_seconds: 2.5, memory_peak_bytes: 3.0 };
        let peer = Peer::ZstdPatchFrom;
        let name = format!("zstd_patch_from-{}.json", peer.key(&old, &new).unwrap());
        made.figures().write(&store.path(&name)).unwrap();
        assert_eq!(peer.made(&store, (&old, &new)).unwrap(), made);
    }

    #[test]
    fn other_images_another_tool_or_another_way_are_not_mixed_up() {
        let (old, new) = (image("old"), image("new"));
        let peers = [Peer::ZstdPatchFrom, Peer::HDiffPatch, Peer::Zstd];
        let mut keys: Vec<String> = peers.map(|peer| peer.key(&old, &new).unwrap()).into();
        for peer in peers {
            keys.push(peer.key(&old, &image("newer")).unwrap());
        }
        keys.push(Peer::HDiffPatch.key(&image("older"), &new).unwrap());
        keys.push(Peer::ZstdPatchFrom.key(&new, &old).unwrap());
        let count = keys.len();
        keys.sort();
        keys.dedup();
        assert_eq!(keys.len(), count);
        // The image alone is compressed the same, whatever was before it.
        let alone = |old: &ImageFile| Peer::Zstd.key(old, &new).unwrap();
        assert_eq!(alone(&old), alone(&image("older")));
    }

    #[test]
    fn a_tool_is_asked_for_these_files() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path().to_owned(), &|_| ()).unwrap();
        let [old, new, out] = ["o", "n", "p"].map(Path::new);
        let words = Peer::ZstdPatchFrom.command(&store, folder.path(), (old, new), out).unwrap();
        let expected = "zstd -19 --long=31 --single-thread --patch-from=o --quiet n -o p";
        assert_eq!(words.join(" "), expected);
    }
}
