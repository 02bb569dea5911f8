//! What the measurement of a pair comes to, under its keys.

use payload_tools::delta::Tally;

use super::pair::{Change, Pair};
use super::peers::{Made, Peer};
use crate::Figures;
use crate::cgroup::Cost;

/// What a device fetches for the root image with its delta, in bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fetched {
    pub delta: u64,
    /// The tree's levels above its leaves.
    pub levels: u64,
    pub manifest: u64,
}

impl Fetched {
    pub fn bytes(self) -> u64 {
        self.delta + self.levels + self.manifest
    }
}

/// A pair and its delta, beside others.
#[derive(Debug)]
pub(super) struct Outcome {
    pub pair: Pair,
    pub image_bytes: u64,
    pub packages: usize,
    pub packages_changed: usize,
    pub fetched: Fetched,
    pub tally: Tally,
    /// What making our delta took.
    pub cost: Cost,
    /// Bytes of the full payload of the new image, where that is of interest.
    pub full: Option<u64>,
    pub peers: Vec<(Peer, Made)>,
}

impl Outcome {
    /// Adds it.
    pub fn add_to(&self, figures: &mut Figures) {
        let key = |name: &str| self.pair.key(name);
        let bytes = self.fetched.bytes();
        figures.set(&key("image_bytes"), self.image_bytes);
        figures.set(&key("packages"), self.packages);
        figures.set(&key("packages_changed"), self.packages_changed);
        figures.set(&key("bytes"), bytes);
        for (kind, share) in &self.tally.kinds {
            let kind = format!("{kind:?}").to_lowercase();
            for (name, value) in [
                ("segments", share.segments),
                ("image_bytes", share.image_bytes),
                ("bytes", share.bytes),
            ] {
                figures.set(&key(&format!("kinds.{kind}.{name}")), value);
            }
        }
        for (peer, made) in &self.peers {
            if *peer == Peer::Zstd {
                continue;
            }
            let ratio = ratio(bytes, made.bytes);
            figures.set(&key(&format!("ratio_{}", peer.name())), ratio);
            let of_peer = |name: &str| key(&format!("{}.{name}", peer.name()));
            figures.set(&of_peer("bytes"), made.bytes);
            figures.set(&of_peer("cpu_seconds"), made.cpu_seconds);
            figures.set(&of_peer("memory_peak_bytes"), made.memory_peak_bytes);
        }
        figures.set(&key("make.cpu_seconds"), self.cost.cpu.as_secs_f64());
        figures.set(&key("make.memory_peak_bytes"), self.cost.memory_peak_bytes);
        self.add_full_to(figures);
    }

    fn add_full_to(&self, figures: &mut Figures) {
        let Some(full) = self.full else { return };
        if self.pair.change == Change::Major {
            let bytes = self.fetched.bytes();
            figures.set(&self.pair.key("full_bytes"), full);
            figures.set(&self.pair.key("ratio_full"), ratio(bytes, full as f64));
        }
        let zstd = self.peers.iter().find(|(peer, _)| *peer == Peer::Zstd);
        if let Some((_, made)) = zstd {
            figures.set("full.bytes", full);
            figures.set("full.zstd19.bytes", made.bytes);
            figures.set("full.zstd19.cpu_seconds", made.cpu_seconds);
            figures.set("full.ratio_zstd19", ratio(full, made.bytes));
        }
    }
}

/// To six digits behind the point, as spreads are.
fn ratio(ours: u64, other: f64) -> f64 {
    (ours as f64 / other * 1e6).round() / 1e6
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use payload_tools::delta::Share;
    use payload_tools::format::delta::Kind;

    use super::*;

    pub fn outcome(pair: Pair) -> Outcome {
        let made = |bytes| Made { bytes, cpu_seconds: 90.0, memory_peak_bytes: 2e9 };
        let share = Share { segments: 3, image_bytes: 12 << 20, bytes: 1000 };
        let kinds = BTreeMap::from([(Kind::Copy, share)]);
        let mut peers = vec![(Peer::ZstdPatchFrom, made(2000.0)), (Peer::HDiffPatch, made(1000.0))];
        if pair == Pair::FIRST {
            peers.push((Peer::Zstd, made(50_000.0)));
        }
        Outcome {
            pair,
            image_bytes: 1 << 30,
            packages: 350,
            packages_changed: 40,
            fetched: Fetched { delta: 1000, levels: 400, manifest: 100 },
            tally: Tally { size: 1000, kinds },
            cost: Cost {
                wall: Duration::from_secs(60),
                cpu: Duration::from_secs(100),
                memory_peak_bytes: 400 << 20,
            },
            full: Some(60_000),
            peers,
        }
    }

    fn figures(name: &str) -> Figures {
        let mut figures = Figures::default();
        outcome(Pair::named(name).unwrap()).add_to(&mut figures);
        figures
    }

    #[test]
    fn manifest_and_levels_count_against_us() {
        let figures = figures("no_kernel.erofs");
        let number = |key: &str| figures.number(key).unwrap();
        assert_eq!(number("delta.no_kernel.erofs.bytes"), 1500.0);
        assert_eq!(number("delta.no_kernel.erofs.ratio_zstd_patch_from"), 0.75);
        assert_eq!(number("delta.no_kernel.erofs.ratio_hdiffpatch"), 1.5);
        assert_eq!(number("delta.no_kernel.erofs.kinds.copy.segments"), 3.0);
        assert_eq!(number("delta.no_kernel.erofs.make.cpu_seconds"), 100.0);
        assert!(!figures.has("full.ratio_zstd19"), "it is of another pair");
    }

    #[test]
    fn the_full_payload_is_of_the_first_pair() {
        let figures = figures("kernel.ext4");
        assert_eq!(figures.number("full.ratio_zstd19").unwrap(), 1.2);
        assert!(!figures.has("delta.kernel.ext4.ratio_full"));
        assert!(!figures.has("delta.kernel.ext4.ratio_zstd19"));
    }

    #[test]
    fn a_major_upgrade_is_held_against_the_full_payload() {
        let figures = figures("major.ext4");
        assert_eq!(figures.number("delta.major.ext4.ratio_full").unwrap(), 0.025);
        assert!(!figures.has("full.ratio_zstd19"));
    }
}
