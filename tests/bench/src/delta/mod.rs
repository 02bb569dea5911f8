//! Deltas between real releases of a distribution, beside what other people's tools make of the same
//! files; what our full payload costs for being in frames; and an install from a delta.

mod apply;
mod dpkg;
mod image;
mod ours;
mod outcome;
mod pair;
mod peers;
mod store;
mod table;
mod tree;
mod worst;

use std::path::Path;

use payload_tools::format::{Compatible, Role};

use crate::release::{compatible, manifest_bytes};
use crate::{BenchError, Figures, at};

use apply::{Images, Payloads, manifest};
use image::ImageFile;
use outcome::{Fetched, Outcome};
use pair::Change;
pub use pair::Pair;
use peers::Peer;
use store::Store;
pub(crate) use table::table;
use tree::Tree;
pub use worst::install_worst_delta;

/// Installs from a delta and in full, each.
const APPLY_ROUNDS_MAX: usize = 3;

/// Our programs, as they are shipped.
#[derive(Clone, Copy, Debug)]
pub struct DeltaPrograms<'a> {
    /// Makes deltas.
    pub payload: &'a Path,
    /// Installs (`bench-install`).
    pub install: &'a Path,
}

/// Measures `pairs` with images that are kept below `cache`, and adds what they come to. `note` is
/// told of what takes time.
pub fn measure_deltas(
    cache: &Path,
    programs: DeltaPrograms<'_>,
    pairs: &[Pair],
    rounds: usize,
    note: &dyn Fn(&str),
    figures: &mut Figures,
) -> Result<(), BenchError> {
    let store = Store::open(cache.join("delta"), note)?;
    let compatible = compatible()?;
    for tool in [Peer::ZstdPatchFrom, Peer::HDiffPatch] {
        figures.set(&format!("delta.{}.tool", tool.name()), tool.tool()?);
    }
    for pair in pairs {
        let pair = *pair;
        let (old_tree, new_tree) = pair.trees();
        let old = images(old_tree, pair, &compatible, &store)?;
        let new = images(new_tree, pair, &compatible, &store)?;
        let ([_, old_root], [_, new_root]) = (&old, &new);
        let delta = ours::make(programs.payload, pair, (old_root, new_root), &compatible, &store)?;
        let apply = pair.apply_key();
        let full = match apply.is_some() || pair.change == Change::Major {
            true => Some(ours::full(new_root, &store)?),
            false => None,
        };
        if let Some((full, apply)) = full.as_deref().zip(apply) {
            let payloads = Payloads { full, delta: &delta.file };
            let rounds = rounds.min(APPLY_ROUNDS_MAX);
            apply::compare(programs.install, (&old, &new), payloads, rounds, &store)?
                .add_to(apply, figures);
        }
        let size = |path: &Path| -> Result<u64, BenchError> {
            Ok(fs_err::metadata(path).map_err(at("look at a payload"))?.len())
        };
        let (before, after) = (old_tree.packages(&store)?, new_tree.packages(&store)?);
        Outcome {
            pair,
            image_bytes: new_root.image.size,
            packages: after.len(),
            packages_changed: after.changed_since(&before),
            fetched: Fetched {
                delta: delta.tally.size,
                levels: new_root.levels.len() as u64,
                manifest: manifest_bytes(&manifest(&new)?)?.len() as u64,
            },
            tally: delta.tally,
            cost: delta.cost,
            full: full.as_deref().map(size).transpose()?,
            peers: peers(pair, (old_root, new_root), &store)?,
        }
        .add_to(figures);
    }
    Ok(())
}

/// Kernel and root of a tree.
fn images(
    tree: Tree,
    pair: Pair,
    compatible: &Compatible,
    store: &Store<'_>,
) -> Result<Images, BenchError> {
    let root = pair.file_system.image_of(tree, store)?;
    Ok([
        ImageFile::open(tree.linux(store)?, Role::Kernel, compatible)?,
        ImageFile::open(root, Role::Root, compatible)?,
    ])
}

/// What others make of a pair. A major upgrade is compared with the full payload only.
fn peers(
    pair: Pair,
    images: (&ImageFile, &ImageFile),
    store: &Store<'_>,
) -> Result<Vec<(Peer, peers::Made)>, BenchError> {
    let asked: &[Peer] = match pair.change {
        Change::Major => &[],
        _ if pair == Pair::FIRST => &[Peer::ZstdPatchFrom, Peer::HDiffPatch, Peer::Zstd],
        _ => &[Peer::ZstdPatchFrom, Peer::HDiffPatch],
    };
    asked.iter().map(|peer| Ok((*peer, peer.made(store, images)?))).collect()
}
