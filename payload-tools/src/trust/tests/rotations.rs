//! Who must have signed what when keys and thresholds change.

use super::world::{COMPATIBLE, Device, NOW, Signed, World, key};
use crate::trust::metadata::{FileMeta, Files, Header, RoleKeys, Roles, Root, sign};
use crate::trust::{Misbehaviour, TrustError};

/// One version of root: its keys, how many must sign, and those that did.
type Version = (&'static [u8], u32, &'static [u8]);

/// Root N for the top-level keys of [`World::new`] but root's own.
fn root(version: u64, (keys, threshold, signers): Version) -> Vec<u8> {
    let one = |seed| RoleKeys { keyids: vec![key(seed).public().id().clone()], threshold: 1 };
    let keyids = keys.iter().map(|&seed| key(200 + seed).public().id().clone()).collect();
    let roles = Roles {
        root: RoleKeys { keyids, threshold },
        timestamp: one(2),
        snapshot: one(3),
        targets: one(4),
    };
    let seeds = keys.iter().map(|seed| 200 + seed).chain([2, 3, 4]);
    let listed = seeds.map(|seed| key(seed).public().clone());
    let keys = listed.map(|key| (key.id().clone(), key.to_object())).collect();
    let root = Root { consistent_snapshot: true, keys, roles };
    let header = Header::new::<Root>(version, NOW.plus_days(9));
    let signers: Vec<_> = signers.iter().map(|&seed| key(200 + seed)).collect();
    sign(&header, &root, &signers.iter().collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_root_is_signed_by_the_keys_before_it_and_by_its_own() {
    const FIVE: &[u8] = &[0, 1, 2, 3, 4];
    const OTHER: &[u8] = &[0, 1, 3, 4, 5];
    const NEW: &[u8] = &[5, 6, 7, 8, 9];
    let table: [(&str, &[Version], bool); 15] = [
        ("rotation", &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])], true),
        (
            "with signatures of nobody's",
            &[(&[1], 1, &[3, 1, 4]), (&[2], 1, &[3, 2, 1, 4]), (&[2], 1, &[3, 2, 4])],
            true,
        ),
        (
            "3 of 5 by different ones",
            &[(FIVE, 3, &[0, 2, 4]), (FIVE, 3, &[0, 4, 1]), (FIVE, 3, &[0, 1, 3])],
            true,
        ),
        ("3 of 5, one rotated", &[(FIVE, 3, &[0, 2, 4]), (OTHER, 3, &[0, 4, 1])], true),
        (
            "3 of 5, one rotated, with a step between",
            &[(FIVE, 3, &[0, 2, 4]), (OTHER, 3, &[0, 2, 4, 5]), (OTHER, 3, &[0, 4, 5])],
            true,
        ),
        (
            "3 of 5, all rotated",
            &[(FIVE, 3, &[0, 2, 4]), (NEW, 3, &[0, 2, 4, 5, 6, 7]), (NEW, 3, &[5, 6, 7])],
            true,
        ),
        ("1 to 2 of 3", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])], true),
        (
            "2 to 1 of 3",
            &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1, 2]), (&[1, 2, 3], 1, &[1])],
            true,
        ),
        ("1 to 2 of 2", &[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])], true),
        ("not by the old key", &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])], false),
        ("not by the new key", &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])], false),
        ("not by 3 new keys", &[(FIVE, 3, &[0, 2, 4]), (OTHER, 3, &[0, 2, 4])], false),
        ("not by 3 old keys", &[(FIVE, 3, &[0, 2, 4]), (OTHER, 3, &[0, 4, 5])], false),
        ("below the new threshold", &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])], false),
        ("below the old threshold", &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])], false),
    ];
    for (name, versions, good) in table {
        let mut files = World::new().files();
        files.remove("1.root.json");
        for (n, version) in versions.iter().enumerate() {
            files.insert(format!("{}.root.json", n + 1), root(n as u64 + 1, *version));
        }
        let first_root = files["1.root.json"].clone();
        let mut device = Device { first_root, stored: Files::new(), now: NOW };
        let found = device.check(&files);
        let last = if good { versions.len() } else { versions.len() - 1 };
        assert!(device.stored.contains_key(&format!("{last}.root.json")), "{name}");
        match found {
            Ok(_) => assert!(good, "{name}"),
            Err(TrustError::Misbehaved { fault: Misbehaviour::Threshold { .. }, .. }) => {
                assert!(!good, "{name}");
            }
            Err(error) => panic!("{name}: {error:?}"),
        }
    }
}

/// Whoever had the snapshot's key could name targets far ahead of their time, and roles that are
/// none. A new key for it forgives both, for every role below it (5.3.11).
#[test]
fn a_new_snapshot_key_forgives_targets_pushed_far_ahead() {
    for role in ["targets", COMPATIBLE] {
        let mut stolen = World::new();
        stolen.set(role).version = 100;
        stolen.phantoms.insert("other.json".to_owned(), FileMeta::of(1, b""));
        let mut device = Device::new();
        device.check(&stolen.files()).unwrap();
        let mut recovered = World::new();
        for newer in ["timestamp", "snapshot"] {
            recovered.set(newer).version = 2;
        }
        let error = device.check(&recovered.files()).unwrap_err();
        assert!(matches!(error, TrustError::Misbehaved { .. }), "{error:?}");
        recovered.next_root(|world| world.set("snapshot").keys = vec![key(70)]);
        device.check(&recovered.files()).unwrap();
    }
}

/// Nothing else changed, so the targets at hand are those that the snapshot names; who signed them may
/// not any more.
#[test]
fn new_targets_keys_end_what_the_old_ones_signed() {
    let mut world = World::new();
    let mut device = Device::new();
    device.check(&world.files()).unwrap();
    let mut files = world.files();
    world.next_root(|world| world.set("targets").keys = vec![key(70)]);
    files.insert("2.root.json".to_owned(), world.root());
    let error = device.check(&files).unwrap_err();
    let TrustError::Misbehaved { role, fault, .. } = error else { panic!("{error:?}") };
    assert!(matches!(fault, Misbehaviour::Threshold { .. }), "{fault:?}");
    assert_eq!(role.to_string(), "targets");
}

/// A device that was off while its root expired, and while more roots came, each for a while.
#[test]
fn a_device_that_is_behind_goes_through_every_root() {
    let mut world = World::new();
    let mut device = Device::trusting(&world);
    device.check(&world.files()).unwrap();
    for seed in [90, 91, 92] {
        world.next_root(|world| world.set("root").keys = vec![key(seed)]);
    }
    device.now = NOW.plus_days(700);
    for role in super::world::ROLES {
        world.set(role).expires = NOW.plus_days(701);
    }
    world.signed_at = None;
    for role in ["timestamp", "snapshot", "targets", COMPATIBLE] {
        world.set(role).version = 2;
    }
    device.check(&world.files()).unwrap();
    assert!(device.stored.contains_key("4.root.json"));
}

/// What was accepted before a refusal stays accepted, and nothing after it is.
#[test]
fn a_refusal_keeps_what_came_before_it() {
    let before = [
        ("timestamp", &["2.root.json"][..]),
        ("snapshot", &["2.root.json", "timestamp.json"]),
        ("targets", &["2.root.json", "snapshot.json", "timestamp.json"]),
        (COMPATIBLE, &["2.root.json", "snapshot.json", "targets.json", "timestamp.json"]),
    ];
    for (role, kept) in before {
        let mut world = World::new();
        world.next_root(|_| ());
        world.set(role).signed = Signed::ByStranger;
        let mut device = Device::new();
        device.check(&world.files()).unwrap_err();
        let stored: Vec<_> = device.stored.keys().map(String::as_str).collect();
        assert_eq!(stored[1..], *kept, "{role}");
    }
}
