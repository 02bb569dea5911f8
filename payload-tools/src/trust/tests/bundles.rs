use super::world::{COMPATIBLE, Device, NOW, Signed, World, compatible, facts, key};
use crate::trust::metadata::Files;
use crate::trust::{Limits, Misbehaviour, TrustError, Trusted, UnixTime, verify_bundle};

fn bundle(world: &World) -> Files {
    let mut files = world.roots.clone();
    let newest = format!("{}.root.json", world.roots.len() + 1);
    files.insert(newest, world.root());
    files.insert("targets.json".to_owned(), world.targets_file());
    files.insert("demo.json".to_owned(), world.role_file());
    files
}

fn verify(device: &Device, bundle: &Files) -> Result<Trusted, TrustError> {
    let Device { first_root, stored, now } = device;
    let read = |name: &str, _max| Ok(bundle.get(name).cloned());
    verify_bundle(first_root, stored, read, &compatible(), *now, Limits::default())
}

fn refused(device: &Device, bundle: &Files) -> (String, Misbehaviour) {
    match verify(device, bundle).unwrap_err() {
        TrustError::Misbehaved { role, fault, .. } => (role.to_string(), fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_bundle_is_trusted_without_a_timestamp_and_proves_no_freshness() {
    let trusted = verify(&Device::new(), &bundle(&World::new())).unwrap();
    assert!(trusted.release("2").is_some());
    assert!(trusted.freshness().is_none());
    assert_eq!(trusted.expires(), NOW.plus_days(1));
}

/// Whoever made a bundle is nobody until it is verified: a device's memory is not theirs to fill.
#[test]
fn only_what_is_verified_next_is_read() {
    let mut world = World::new();
    world.next_root(|_| ());
    let bundle = bundle(&world);
    let Device { first_root, stored, now } = Device::new();
    let mut asked = Vec::new();
    let read = |name: &str, max| {
        asked.push((name.to_owned(), max));
        Ok::<_, TrustError>(bundle.get(name).cloned())
    };
    let limits = Limits::default();
    verify_bundle(&first_root, &stored, read, &compatible(), now, limits).unwrap();
    let expected = [
        ("2.root.json", limits.root),
        ("3.root.json", limits.root),
        ("targets.json", limits.targets),
        ("demo.json", limits.delegated),
    ];
    assert_eq!(asked, expected.map(|(name, max)| (name.to_owned(), max)));
    // A root that nobody signed is the last that is read.
    let mut asked = 0;
    let read = |_: &str, _: u64| {
        asked += 1;
        Ok::<_, TrustError>(Some(b"{}".to_vec()))
    };
    assert!(verify_bundle(&first_root, &stored, read, &compatible(), now, limits).is_err());
    assert_eq!(asked, 1);
}

#[test]
fn every_role_in_it_is_checked() {
    for role in ["targets", COMPATIBLE] {
        for signed in [Signed::ByStranger, Signed::Wrongly, Signed::ByNobody] {
            let mut world = World::new();
            world.set(role).signed = signed;
            let (by, fault) = refused(&Device::new(), &bundle(&world));
            assert!(matches!(fault, Misbehaviour::Threshold { .. }), "{fault:?}");
            assert_eq!(by, role);
        }
        let mut world = World::new();
        world.set(role).expires = NOW;
        let (by, fault) = refused(&Device::new(), &bundle(&world));
        assert!(matches!(fault, Misbehaviour::Expired { .. }), "{fault:?}");
        assert_eq!(by, role);
        let mut files = bundle(&World::new());
        files.remove(&format!("{role}.json"));
        assert!(matches!(verify(&Device::new(), &files), Err(TrustError::Missing { .. })));
        let mut files = bundle(&World::new());
        files.insert(format!("{role}.json"), vec![b' '; 256 * 1024 + 1]);
        assert!(matches!(refused(&Device::new(), &files).1, Misbehaviour::TooLarge { .. }));
    }
}

#[test]
fn an_expired_root_ends_its_bundles() {
    let device = Device { now: NOW.plus_days(2), ..Device::new() };
    let mut world = World::new();
    for role in ["targets", COMPATIBLE] {
        world.set(role).expires = NOW.plus_days(9);
    }
    let (by, fault) = refused(&device, &bundle(&world));
    assert!(matches!(fault, Misbehaviour::Expired { .. }), "{fault:?}");
    assert_eq!(by, "root");
}

#[test]
fn roots_come_from_the_store_and_from_the_bundle() {
    let mut world = World::new();
    world.next_root(|world| world.set("targets").keys = vec![key(80)]);
    let trusted = verify(&Device::new(), &bundle(&world)).unwrap();
    assert!(trusted.files_to_store().contains_key("2.root.json"));
    // A device that knows root 2 does not take what root 1 would still allow.
    let mut device = Device::new();
    device.stored = trusted.files_to_store().clone();
    let (by, fault) = refused(&device, &bundle(&World::new()));
    assert!(matches!(fault, Misbehaviour::Threshold { .. }), "{fault:?}");
    assert_eq!(by, "targets");
}

/// 5.3.11 counts for a root that comes in a bundle as well.
#[test]
fn a_bundle_with_a_new_key_takes_back_what_the_stolen_one_pushed_ahead() {
    for (role, takes_back_time) in [("snapshot", false), ("timestamp", true)] {
        let mut stolen = World::new();
        stolen.set("timestamp").version = 100;
        stolen.set("snapshot").version = 100;
        let mut device = Device::new();
        device.check(&stolen.files()).unwrap();
        let mut recovered = World::new();
        recovered.next_root(|world| world.set(role).keys = vec![key(70)]);
        let trusted = verify(&device, &bundle(&recovered)).unwrap();
        assert_eq!(trusted.timestamp_rotated(), takes_back_time, "{role}");
        device.stored = trusted.files_to_store().clone();
        device.check(&recovered.files()).unwrap();
    }
}

/// Without a new key for them, what was stored stays: a bundle makes no device forget.
#[test]
fn a_bundle_leaves_what_is_trusted() {
    let mut device = Device::new();
    device.check(&World::at_five().files()).unwrap();
    let trusted = verify(&device, &bundle(&World::new())).unwrap();
    assert_eq!(trusted.files_to_store(), &device.stored);
}

#[test]
fn what_the_device_knows_to_be_withdrawn_stays_so() {
    let mut newer = World::at_five();
    newer.facts = vec![("demo/3.json".to_owned(), facts(3))];
    let mut device = Device::new();
    device.check(&newer.files()).unwrap();
    // A bundle of before, with a release that is still listed and one that is not.
    let mut older = World::new();
    older.facts.push(("demo/3.json".to_owned(), facts(3)));
    let trusted = verify(&device, &bundle(&older)).unwrap();
    assert!(trusted.release("2").is_none(), "it was withdrawn");
    assert!(trusted.release("3").is_some());
    // A bundle that is newer than what is known lists what it lists.
    for role in ["targets", COMPATIBLE] {
        older.set(role).version = 6;
    }
    assert!(verify(&device, &bundle(&older)).unwrap().release("2").is_some());
}

#[test]
fn a_key_that_newer_targets_took_away_signs_no_bundle() {
    let mut newer = World::at_five();
    newer.set(COMPATIBLE).keys = vec![key(71)];
    newer.facts = vec![("demo/3.json".to_owned(), facts(3))];
    let mut device = Device::new();
    device.check(&newer.files()).unwrap();
    let mut stolen = World::new();
    stolen.set(COMPATIBLE).version = 9;
    let (by, fault) = refused(&device, &bundle(&stolen));
    assert!(matches!(fault, Misbehaviour::Threshold { .. }), "{fault:?}");
    assert_eq!(by, COMPATIBLE);
    // The other way round, what is stored counts by the keys of the bundle's newer targets.
    let mut recovered = World::new();
    recovered.set("targets").version = 6;
    let trusted = verify(&device, &bundle(&recovered)).unwrap();
    assert!(trusted.release("2").is_some());
}

#[test]
fn no_byte_of_targets_or_role_can_be_changed() {
    let (device, files) = (Device::new(), bundle(&World::new()));
    for name in ["targets.json", "demo.json"] {
        for at in 0..files[name].len() {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap()[at] ^= 0x20;
            assert!(verify(&device, &changed).is_err(), "{name}: byte {at}");
        }
    }
}

#[test]
fn the_clock_floor_is_what_makes_dates_count() {
    // A device whose clock fell back to 1970 still has its image's build time.
    let floor = crate::trust::ClockFloor::image_built(NOW.plus_days(1));
    let now = floor.time(UnixTime::from_secs(0));
    let device = Device { now, ..Device::new() };
    assert!(matches!(refused(&device, &bundle(&World::new())).1, Misbehaviour::Expired { .. }));
}
