use super::world::{
    COMPATIBLE, DAY, Device, NOW, ROLES, Signed, World, facts, key, key_id, noted, p256_key,
};
use crate::trust::metadata::{FileMeta, RoleKeys, Signers, Targets, Unverified};
use crate::trust::{Client, Files, Limits, Malformed, Misbehaviour, Role, TrustError, UnixTime};

/// The fault of the role that misbehaved, and the role's name.
fn fault(error: TrustError) -> (String, Misbehaviour) {
    match error {
        TrustError::Misbehaved { role, fault, .. } => (role.to_string(), fault),
        other => panic!("{other:?}"),
    }
}

/// What a fresh device says to the world as it is.
fn refused(world: &World) -> (String, Misbehaviour) {
    fault(Device::new().check(&world.files()).unwrap_err())
}

/// What a device that has seen `World::at_five` says to another world.
fn refused_after_five(world: &World) -> (String, Misbehaviour) {
    let mut device = Device::new();
    device.check(&World::at_five().files()).unwrap();
    fault(device.check(&world.files()).unwrap_err())
}

#[test]
fn an_honest_repository_is_trusted() {
    let trusted = Device::new().check(&World::new().files()).unwrap();
    assert_eq!(trusted.release("2").unwrap().facts(), &facts(2));
    assert_eq!(trusted.release("2").unwrap().target_path(), "demo/2.json");
    assert_eq!(trusted.timestamp_signed_at(), Some(NOW));
    assert_eq!(trusted.timestamp_expires(), Some(NOW.plus_days(1)));
}

#[test]
fn each_role_must_be_signed_by_its_own_keys() {
    for role in &ROLES[1..] {
        for (signed, (expected_wrong, expected_unknown)) in
            [(Signed::ByStranger, (0, 1)), (Signed::Wrongly, (1, 0)), (Signed::ByNobody, (0, 0))]
        {
            let mut world = World::new();
            world.set(role).signed = signed;
            let (by, fault) = refused(&world);
            let Misbehaviour::Threshold { valid: 0, needed: 1, wrong, unknown } = fault else {
                panic!("{role}: {fault:?}");
            };
            assert_eq!((by.as_str(), wrong, unknown), (*role, expected_wrong, expected_unknown));
        }
    }
}

#[test]
fn keys_of_both_kinds_sign() {
    for role in ROLES {
        let mut world = World::new();
        world.set(role).keys = vec![p256_key(), key(9)];
        world.set(role).threshold = 2;
        Device::trusting(&world).check(&world.files()).unwrap();
        if role != "root" {
            world.set(role).signed = Signed::Wrongly;
            assert!(Device::trusting(&world).check(&world.files()).is_err(), "{role}");
        }
    }
}

#[test]
fn a_threshold_of_two_needs_two_keys() {
    for role in &ROLES[1..] {
        let mut world = World::new();
        world.set(role).keys.push(key(50));
        world.set(role).threshold = 2;
        Device::trusting(&world).check(&world.files()).unwrap();
        let twice = Signed::ByOneTwice("ab".repeat(32).try_into().unwrap());
        for signed in [Signed::ByOne, twice] {
            world.set(role).signed = signed;
            let (by, fault) = fault(Device::trusting(&world).check(&world.files()).unwrap_err());
            assert!(
                matches!(fault, Misbehaviour::Threshold { valid: 1, needed: 2, .. }),
                "{role}: {fault:?}"
            );
            assert_eq!(by, *role);
        }
    }
}

#[test]
fn one_key_under_two_ids_counts_once() {
    let listed = key(4).public().clone();
    let noted = noted(&listed);
    // By the right id of the same key with a note beside it, and by an id that is nobody's.
    for (alias, unknown) in [(key_id(&noted), 0), ("ab".repeat(32).try_into().unwrap(), 1)] {
        let mut world = World::new();
        world.set("targets").signed = Signed::ByOneTwice(alias.clone());
        let file = Unverified::<Targets>::parse(&Role::Targets, &world.targets_file()).unwrap();
        let keyids = vec![listed.id().clone(), alias.clone()];
        let keys = [(listed.id().clone(), listed.to_object()), (alias, noted.clone())]
            .into_iter()
            .collect();
        let role = RoleKeys { keyids, threshold: 2 };
        let (_, fault) = fault(file.count(Signers { keys: &keys, role: &role }).unwrap_err());
        let Misbehaviour::Threshold { valid: 1, needed: 2, wrong: 0, unknown: found } = fault
        else {
            panic!("{fault:?}")
        };
        assert_eq!(found, unknown);
    }
}

#[test]
fn each_role_expires() {
    for role in ROLES {
        let mut world = World::new();
        world.set(role).expires = NOW;
        world.signed_at = None;
        let mut device = Device::trusting(&world);
        let (by, fault) = fault(device.check(&world.files()).unwrap_err());
        let Misbehaviour::Expired { expires, now } = fault else { panic!("{role}: {fault:?}") };
        assert_eq!((by.as_str(), expires, now), (role, NOW, NOW));
        device.now = UnixTime::from_secs(NOW.as_secs() - 1);
        device.check(&world.files()).unwrap();
    }
}

#[test]
fn what_was_stored_expires_as_well() {
    for role in ROLES {
        let mut world = World::new();
        for other in ROLES {
            world.set(other).expires = NOW.plus_days(9);
        }
        world.set(role).expires = NOW.plus_days(2);
        let mut device = Device::trusting(&world);
        device.check(&world.files()).unwrap();
        device.now = NOW.plus_days(2);
        let (by, fault) = fault(device.check(&world.files()).unwrap_err());
        assert!(matches!(fault, Misbehaviour::Expired { .. }), "{role}: {fault:?}");
        assert_eq!(by, role);
    }
}

#[test]
fn nothing_goes_back() {
    for (role, of, by) in [
        ("timestamp", "timestamp", "timestamp"),
        ("snapshot", "snapshot", "timestamp"),
        ("targets", "targets.json", "snapshot"),
        (COMPATIBLE, "demo.json", "snapshot"),
    ] {
        let mut world = World::at_five();
        for newer in ["timestamp", "snapshot"] {
            world.set(newer).version = 6;
        }
        world.set(role).version = 4;
        let (found, fault) = refused_after_five(&world);
        let Misbehaviour::Rollback { of: file, trusted: 5, offered: 4 } = fault else {
            panic!("{role}: {fault:?}");
        };
        assert_eq!((file.as_str(), found.as_str()), (of, by));
    }
}

#[test]
fn a_file_does_not_drop_out_of_the_snapshot() {
    let mut before = World::at_five();
    before.phantoms.insert("other.json".to_owned(), FileMeta::of(1, b""));
    let mut device = Device::new();
    device.check(&before.files()).unwrap();
    let mut after = World::at_five();
    after.set("timestamp").version = 6;
    after.set("snapshot").version = 6;
    let (by, fault) = fault(device.check(&after.files()).unwrap_err());
    assert!(matches!(&fault, Misbehaviour::NotNamed { file } if file == "other.json"), "{fault:?}");
    assert_eq!(by, "snapshot");
}

#[test]
fn files_of_two_states_do_not_mix() {
    let (old, mut new) = (World::new(), World::new());
    new.facts.push(("demo/3.json".to_owned(), facts(3)));
    for role in &ROLES[1..] {
        new.set(role).expires = NOW.plus_days(3);
    }
    for (role, file) in [
        ("snapshot", "1.snapshot.json"),
        ("targets", "1.targets.json"),
        (COMPATIBLE, "1.demo.json"),
    ] {
        let mut mixed = new.files();
        mixed.insert(file.to_owned(), old.files()[file].clone());
        let (by, fault) = fault(Device::new().check(&mixed).unwrap_err());
        assert!(matches!(fault, Misbehaviour::WrongHash), "{file}: {fault:?}");
        assert_eq!(by, role);
    }
}

#[test]
fn a_version_is_the_one_that_was_named() {
    // Without hashes, which the specification makes optional, the version alone ties them.
    let mut world = World::new();
    let named = |version| FileMeta { hashes: None, length: None, version };
    world.phantoms.insert("targets.json".to_owned(), named(7));
    let mut files = world.files();
    files.insert("7.targets.json".to_owned(), world.targets_file());
    let (by, fault) = fault(Device::new().check(&files).unwrap_err());
    assert!(matches!(fault, Misbehaviour::WrongVersion { expected: 7 }), "{fault:?}");
    assert_eq!(by, "targets");
}

#[test]
fn what_is_too_large_is_not_parsed() {
    let limits = [
        ("2.root.json", "root", 64),
        ("timestamp.json", "timestamp", 16),
        ("1.snapshot.json", "snapshot", 0),
        ("1.targets.json", "targets", 0),
        ("1.demo.json", COMPATIBLE, 0),
    ];
    for (file, role, kib) in limits {
        let mut files = World::new().files();
        let signed = files.get(file).map_or(0, |bytes| bytes.len() as u64);
        let limit = if kib > 0 { kib * 1024 } else { signed };
        files.insert(file.to_owned(), vec![b' '; limit as usize + 1]);
        let (by, fault) = fault(Device::new().check(&files).unwrap_err());
        assert!(matches!(fault, Misbehaviour::TooLarge { max } if max == limit), "{fault:?}");
        assert_eq!(by, role);
    }
}

#[test]
fn a_long_signed_length_does_not_raise_the_limit() {
    let mut world = World::new();
    let huge = FileMeta { hashes: None, length: Some(1 << 40), version: 1 };
    world.phantoms.insert("demo.json".to_owned(), huge);
    let mut files = world.files();
    files.insert("1.demo.json".to_owned(), vec![b' '; 64 * 1024 + 1]);
    let (_, fault) = fault(Device::new().check(&files).unwrap_err());
    assert!(matches!(fault, Misbehaviour::TooLarge { max: 65_536 }), "{fault:?}");
}

#[test]
fn a_role_names_nothing_outside_its_compatible() {
    for path in ["other/2.json", "demo/3.json", "demo/x/2.json", "2.json", "demo/../demo/2.json"] {
        let mut world = World::new();
        world.facts[0].0 = path.to_owned();
        let (by, fault) = refused(&world);
        assert!(
            matches!(&fault, Misbehaviour::WrongName { name, .. } if name == path),
            "{fault:?}"
        );
        assert_eq!(by, COMPATIBLE);
    }
    let mut world = World::new();
    world.facts[0].1.compatible = "other".parse().unwrap();
    let (_, fault) = refused(&world);
    assert!(matches!(fault, Misbehaviour::Malformed(Malformed::Target { .. })), "{fault:?}");
}

#[test]
fn two_releases_have_two_counters() {
    let mut world = World::new();
    let mut twin = facts(2);
    twin.release = "two".parse().unwrap();
    world.facts.push(("demo/two.json".to_owned(), twin));
    let (_, fault) = refused(&world);
    assert!(matches!(fault, Misbehaviour::Malformed(Malformed::SameCounter(2))), "{fault:?}");
}

#[test]
fn the_delegation_is_the_one_terminating_role_of_the_compatible() {
    let mut world = World::new();
    world.delegation.terminating = false;
    assert!(matches!(refused(&world), (by, Misbehaviour::WrongName { .. }) if by == "targets"));
    for paths in [vec!["*"], vec!["demo/*", "other/*"], vec!["demo/**"], vec![]] {
        let mut world = World::new();
        world.delegation.paths = Some(paths.into_iter().map(str::to_owned).collect());
        assert!(matches!(refused(&world), (by, Misbehaviour::WrongName { .. }) if by == "targets"));
    }
    let mut world = World::new();
    world.delegation.name = "other".to_owned().try_into().unwrap();
    let error = Device::new().check(&world.files()).unwrap_err();
    assert!(matches!(error, TrustError::NotDelegated { targets_version: 1, .. }), "{error:?}");
}

#[test]
fn one_roles_file_is_not_anothers() {
    // Even a thief of the timestamp's key cannot pass off what a person signed as a timestamp.
    let mut files = World::new().files();
    let snapshot = files["1.snapshot.json"].clone();
    files.insert("timestamp.json".to_owned(), snapshot);
    let (by, fault) = fault(Device::new().check(&files).unwrap_err());
    assert!(
        matches!(&fault, Misbehaviour::WrongRole { found } if found == "snapshot"),
        "{fault:?}"
    );
    assert_eq!(by, "timestamp");
}

#[test]
fn another_specification_is_not_understood() {
    for role in &ROLES[1..] {
        for wrong in ["2.0.0", "0.9.0", "1", "1.x.0", "1.0.0.0", ""] {
            let mut world = World::new();
            world.set(role).spec_version = wrong;
            let (by, fault) = refused(&world);
            assert!(matches!(&fault, Misbehaviour::SpecVersion(found) if found == wrong));
            assert_eq!(by, *role);
        }
    }
}

#[test]
fn versions_count_from_one() {
    for (role, by) in [
        ("timestamp", "timestamp"),
        ("snapshot", "timestamp"),
        ("targets", "snapshot"),
        (COMPATIBLE, "snapshot"),
    ] {
        let mut world = World::new();
        world.set(role).version = 0;
        let (found, fault) = refused(&world);
        assert!(matches!(fault, Misbehaviour::Malformed(Malformed::VersionZero)), "{fault:?}");
        assert_eq!(found, by);
    }
    let mut world = World::new();
    world.set("root").version = 0;
    let compatible = super::world::compatible();
    let first = Client::new(&world.root(), &Files::new(), &compatible, NOW, Limits::default());
    let (_, fault) = fault(first.map(drop).unwrap_err());
    assert!(matches!(fault, Misbehaviour::Malformed(Malformed::VersionZero)), "{fault:?}");
}

#[test]
fn missing_files_are_no_misbehaviour() {
    for file in ["timestamp.json", "1.snapshot.json", "1.targets.json", "1.demo.json"] {
        let mut files = World::new().files();
        files.remove(file);
        let error = Device::new().check(&files).unwrap_err();
        assert!(
            matches!(&error, TrustError::Missing { file: found, .. } if found == file),
            "{error:?}"
        );
    }
}

#[test]
fn the_servers_word_cannot_push_the_clock_past_the_publishers() {
    let mut world = World::new();
    world.set("timestamp").expires = NOW.plus_days(9000);
    world.signed_at = Some(NOW.plus_days(1));
    let (by, fault) = refused(&world);
    assert!(matches!(fault, Misbehaviour::SignedTooLate { .. }), "{fault:?}");
    assert_eq!(by, "timestamp");
    world.signed_at = Some(UnixTime::from_secs(NOW.as_secs() + DAY - 1));
    Device::new().check(&world.files()).unwrap();
}

/// Its publisher forgot to renew it, and the device, whose clock is behind, hears the date from the
/// server: it is stale, and nobody lied.
#[test]
fn a_stored_snapshot_is_stale_when_the_server_signs_after_its_end() {
    let mut world = World::new();
    let mut device = Device::new();
    device.check(&world.files()).unwrap();
    let end = NOW.plus_days(1);
    let timestamp = world.set("timestamp");
    timestamp.version += 1;
    timestamp.expires = NOW.plus_days(9000);
    world.signed_at = Some(end);
    let (by, fault) = fault(device.check(&world.files()).unwrap_err());
    assert!(
        matches!(fault, Misbehaviour::Expired { expires, now } if expires == end && now == end),
        "{fault:?}"
    );
    assert_eq!(by, "snapshot");
}

#[test]
fn an_error_names_role_version_and_next_move() {
    let mut world = World::at_five();
    world.set("targets").expires = NOW;
    let error = Device::new().check(&world.files()).unwrap_err();
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(
        error.to_string(),
        "targets version 5 is refused; check the clock, then have it signed again (`payload renew`; with --root for root, with --all for targets and the roles of compatibles)"
    );
    assert_eq!(cause, "it expired at 2027-01-15T08:00:00Z and it is 2027-01-15T08:00:00Z");
}
