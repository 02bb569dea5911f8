//! Which deltas the fleet could use.

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use payload_tools::format::{Image, Manifest};

use super::Pair;
use crate::names::{Compatible, Release};
use crate::rollout::{Fleet, Policy, destination};

/// What every listed release consists of.
pub type Manifests = BTreeMap<(Compatible, Release), Manifest>;

/// A delta that devices would take now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// The image that they have.
    pub from: Image,
    /// The image that they are to get.
    pub to: Image,
    /// How many they are.
    pub devices: u64,
    /// Between which releases; of several the pair that most devices go between.
    pub between: Between,
}

/// Two releases of a compatible.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Between {
    /// Whose releases.
    pub compatible: Compatible,
    /// The one that devices run.
    pub from: Release,
    /// The one that they are to get.
    pub to: Release,
}

impl fmt::Display for Between {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} to {}", self.compatible, self.from, self.to)
    }
}

impl Wanted {
    /// Its images.
    pub fn pair(&self) -> Pair {
        Pair { to: self.to.root, from: self.from.root }
    }
}

/// The deltas between what fleets run and what they go to, each once. Images that did not change need
/// none.
pub fn wanted(
    policy: &Policy,
    fleets: &[Fleet],
    manifests: &Manifests,
    now: Timestamp,
) -> Vec<Wanted> {
    let mut by_releases: BTreeMap<(&Compatible, &Release, Release), u64> = BTreeMap::new();
    for fleet in fleets {
        let Some(to) = destination(policy, fleet, now) else { continue };
        *by_releases.entry((&fleet.compatible, &fleet.release, to)).or_default() += fleet.devices;
    }
    let mut by_releases: Vec<_> = by_releases.into_iter().collect();
    by_releases.sort_by_key(|(_, devices)| std::cmp::Reverse(*devices));
    let mut wanted: BTreeMap<Pair, Wanted> = BTreeMap::new();
    for ((compatible, from, to), devices) in by_releases {
        let manifest = |release: &Release| manifests.get(&(compatible.clone(), release.clone()));
        let (Some(old), Some(new)) = (manifest(from), manifest(&to)) else { continue };
        for to_image in &new.images {
            let Some(from_image) = old.image(to_image.role) else { continue };
            if from_image.root == to_image.root {
                continue;
            }
            let between =
                || Between { compatible: compatible.clone(), from: from.clone(), to: to.clone() };
            let pair = Pair { to: to_image.root, from: from_image.root };
            let one = wanted.entry(pair).or_insert_with(|| Wanted {
                from: from_image.clone(),
                to: to_image.clone(),
                devices: 0,
                between: between(),
            });
            one.devices += devices;
        }
    }
    wanted.into_values().collect()
}

/// Whether releases still need what is between these images.
pub fn is_listed(pair: &Pair, manifests: &Manifests) -> bool {
    let images = || manifests.values().flat_map(|manifest| &manifest.images);
    images().any(|image| image.root == pair.to) && images().any(|image| image.root == pair.from)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use payload_tools::format::{Hash, ReleaseFacts, Role, Salt};

    use super::*;
    use crate::rollout::{ChannelPolicy, CompatiblePolicy, Flow};

    fn name(counter: u64) -> Release {
        counter.to_string().parse().unwrap()
    }

    fn compatible() -> Compatible {
        "demo".parse().unwrap()
    }

    /// Releases 1 to 3; the kernels of 1 and 2 are the same.
    fn manifests() -> Manifests {
        let manifest = |counter: u64| {
            let image = |role, seed: String| Image {
                role,
                size: 4096 * counter,
                salt: Salt::default(),
                root: Hash::of(seed.as_bytes()),
            };
            let kernel = format!("kernel {}", counter.max(2));
            Manifest {
                compatible: compatible(),
                release: name(counter),
                counter,
                built: Timestamp::UNIX_EPOCH,
                images: vec![
                    image(Role::Kernel, kernel),
                    image(Role::Root, format!("root {counter}")),
                ],
            }
        };
        (1..=3).map(|counter| ((compatible(), name(counter)), manifest(counter))).collect()
    }

    fn policy(at: u64) -> Policy {
        let facts = |counter: u64| ReleaseFacts {
            release: name(counter),
            counter,
            compatible: compatible(),
            min_from: 0,
            channels: vec!["stable".parse().unwrap()],
            floor: false,
            downgrade_from: None,
        };
        let stable = ChannelPolicy { release: name(at), pin: None, flow: Flow::Open };
        let known = CompatiblePolicy {
            default_channel: None,
            channels: BTreeMap::from([("stable".parse().unwrap(), stable)]),
            offers: (1..=3).map(|counter| (name(counter), facts(counter))).collect(),
        };
        let compatibles = BTreeMap::from([(compatible(), known)]);
        Policy { compatibles, ..Policy::default() }
    }

    /// `devices` that run a release, in `stable`, some of them pinned.
    fn fleet(release: u64, pin: Option<u64>, devices: u64) -> Fleet {
        Fleet {
            compatible: compatible(),
            channel: "stable".parse().ok(),
            pin: pin.map(name),
            release: name(release),
            devices,
        }
    }

    /// "image, from release to release, devices", sorted.
    fn wants(at: u64, fleets: &[Fleet]) -> Vec<String> {
        let found = wanted(&policy(at), fleets, &manifests(), Timestamp::UNIX_EPOCH);
        let said = |Wanted { to, devices, between, .. }: &Wanted| {
            format!("{} {}>{} {devices}", to.role, between.from, between.to)
        };
        let mut said: Vec<_> = found.iter().map(said).collect();
        said.sort();
        said
    }

    #[test]
    fn what_a_fleet_goes_between_is_wanted_by_so_many() {
        let fleets = [fleet(1, None, 5), fleet(2, None, 9), fleet(3, None, 100)];
        // The kernel of 1 is that of 2.
        assert_eq!(wants(3, &fleets), ["kernel 2>3 14", "root 1>3 5", "root 2>3 9"]);
        assert_eq!(wants(2, &fleets), ["root 1>2 5"]);
        assert_eq!(
            wants(3, &[fleet(1, Some(2), 4), fleet(1, None, 1)]),
            ["kernel 1>3 1", "root 1>2 4", "root 1>3 1"]
        );
        assert!(wants(3, &[fleet(7, None, 5)]).is_empty(), "nobody knows what 7 is");
        assert!(wants(3, &[]).is_empty());
    }

    #[test]
    fn what_no_listed_release_has_is_not_needed() {
        let mut manifests = manifests();
        let root = |manifests: &Manifests, counter| {
            manifests[&(compatible(), name(counter))].image(Role::Root).unwrap().root
        };
        let pair = Pair { to: root(&manifests, 3), from: root(&manifests, 1) };
        assert!(is_listed(&pair, &manifests));
        manifests.remove(&(compatible(), name(1)));
        assert!(!is_listed(&pair, &manifests));
    }
}
