use super::world::{COMPATIBLE, Device, NOW, ROLES, World, facts, key, run};
use crate::trust::{Client, Limits, MAX_ROOTS, Misbehaviour, TrustError};

#[test]
fn a_second_check_fetches_only_what_changed() {
    let mut device = Device::new();
    device.check(&World::new().files()).unwrap();
    let mut client = device.client();
    let asked = run(&mut client, &World::new().files()).unwrap();
    assert_eq!(asked, ["2.root.json", "timestamp.json"]);

    let mut world = World::new();
    for role in ["timestamp", "snapshot", COMPATIBLE] {
        world.set(role).version = 2;
    }
    world.facts.push(("demo/3.json".to_owned(), facts(3)));
    let mut client = device.client();
    let asked = run(&mut client, &world.files()).unwrap();
    assert_eq!(asked, ["2.root.json", "timestamp.json", "2.snapshot.json", "2.demo.json"]);
    assert_eq!(client.finish().unwrap().releases().len(), 2);
}

#[test]
fn root_goes_from_version_to_version_by_old_and_new_keys() {
    let mut world = World::new();
    world.next_root(|world| world.set("root").keys = vec![key(60)]);
    world.next_root(|world| world.set("root").keys = vec![key(61)]);
    let mut device = Device::new();
    let trusted = device.check(&world.files()).unwrap();
    assert!(trusted.files_to_store().contains_key("3.root.json"));
    // The chain is stored whole: the next check starts at its end.
    let asked = run(&mut device.client(), &world.files()).unwrap();
    assert_eq!(asked[0], "4.root.json");
}

#[test]
fn a_root_without_the_old_keys_is_refused() {
    let mut usurper = World::new();
    usurper.set("root").version = 2;
    usurper.set("root").keys = vec![key(66)];
    let mut files = World::new().files();
    files.insert("2.root.json".to_owned(), usurper.root());
    let error = Device::new().check(&files).unwrap_err();
    let TrustError::Misbehaved { version: Some(2), fault, .. } = error else { panic!("{error:?}") };
    assert!(matches!(fault, Misbehaviour::Threshold { valid: 0, unknown: 1, .. }), "{fault:?}");
}

#[test]
fn a_root_version_is_not_skipped_or_repeated() {
    for version in [1, 3] {
        let mut world = World::new();
        world.set("root").version = version;
        let mut files = World::new().files();
        files.insert("2.root.json".to_owned(), world.root());
        let error = Device::new().check(&files).unwrap_err();
        let TrustError::Misbehaved { fault, .. } = error else { panic!("{error:?}") };
        assert!(matches!(fault, Misbehaviour::WrongVersion { expected: 2 }), "{fault:?}");
    }
}

#[test]
fn an_expired_root_on_the_way_is_no_matter() {
    let mut world = World::new();
    world.set("root").expires = NOW;
    let mut device = Device::trusting(&world);
    world.next_root(|world| world.set("root").expires = NOW.plus_days(9));
    device.check(&world.files()).unwrap();
}

#[test]
fn roots_without_end_stop_at_the_limit_and_go_on_next_time() {
    let mut world = World::new();
    for _ in 0..MAX_ROOTS + 3 {
        world.next_root(|_| ());
    }
    let mut device = Device::new();
    let error = device.check(&world.files()).unwrap_err();
    assert!(matches!(error, TrustError::EndlessRoots { version: 65, count: 64 }), "{error:?}");
    device.check(&world.files()).unwrap();
}

#[test]
fn rotating_the_online_keys_forgives_versions_pushed_far_ahead() {
    for role in ["timestamp", "snapshot"] {
        let mut stolen = World::new();
        stolen.set("timestamp").version = u64::MAX;
        stolen.set("snapshot").version = u64::MAX;
        let mut device = Device::new();
        device.check(&stolen.files()).unwrap();
        let mut recovered = World::new();
        device.check(&recovered.files()).unwrap_err();
        recovered.next_root(|world| world.set(role).keys = vec![key(70)]);
        device.check(&recovered.files()).unwrap();
    }
}

#[test]
fn a_new_key_for_the_compatible_ends_the_old_ones_word() {
    let mut device = Device::new();
    device.check(&World::new().files()).unwrap();
    let mut world = World::new();
    for role in ["timestamp", "snapshot", "targets"] {
        world.set(role).version = 2;
    }
    let old_role = world.role_file();
    world.set(COMPATIBLE).keys = vec![key(71)];
    let new_role = world.role_file();
    // The same version, signed by the old key alone: stored, named by hash, and yet refused.
    world
        .phantoms
        .insert("demo.json".to_owned(), crate::trust::metadata::FileMeta::of(1, &old_role));
    let mut files = world.files();
    files.insert("1.demo.json".to_owned(), old_role);
    let error = device.check(&files).unwrap_err();
    let TrustError::Misbehaved { role, fault, .. } = error else { panic!("{error:?}") };
    assert_eq!(role.to_string(), COMPATIBLE);
    assert!(matches!(fault, Misbehaviour::Threshold { valid: 0, .. }), "{fault:?}");
    world.phantoms.clear();
    let mut files = world.files();
    files.insert("1.demo.json".to_owned(), new_role);
    Device::new().check(&files).unwrap();
}

#[test]
fn what_is_stored_is_no_authority() {
    let honest = World::new().files();
    for role in &ROLES[1..] {
        let mut device = Device::new();
        device.check(&honest).unwrap();
        let name = format!("{role}.json");
        let mut forged = World::new();
        forged.set(role).version = 9;
        forged.set(role).signed = super::world::Signed::ByStranger;
        let file = forged
            .files()
            .into_iter()
            .find(|(file, _)| *file == name || *file == format!("9.{name}"));
        device.stored.insert(name, file.unwrap().1);
        let (mut client, refused) = Client::new(
            &device.first_root,
            &device.stored,
            &super::world::compatible(),
            NOW,
            Limits::default(),
        )
        .unwrap();
        assert_eq!(refused.len(), 1, "{role}: {refused:?}");
        run(&mut client, &honest).unwrap();
        client.finish().unwrap();
    }
}

#[test]
fn a_refused_reply_can_be_asked_of_another_server() {
    let honest = World::new().files();
    let mut broken = honest.clone();
    broken.insert("1.targets.json".to_owned(), b"<html>".to_vec());
    let mut client = Device::new().client();
    run(&mut client, &broken).unwrap_err();
    let asked = run(&mut client, &honest).unwrap();
    assert_eq!(asked, ["1.targets.json", "1.demo.json"]);
    client.finish().unwrap();
}

#[test]
fn a_check_that_is_not_done_has_no_result() {
    let client = Device::new().client();
    assert!(matches!(client.finish(), Err(TrustError::OutOfTurn(_))));
}

#[test]
fn every_root_up_to_now_is_stored_with_the_newest_of_the_rest() {
    let mut device = Device::new();
    let trusted = device.check(&World::at_five().files()).unwrap();
    let names: Vec<_> = trusted.files_to_store().keys().map(String::as_str).collect();
    assert_eq!(
        names,
        ["1.root.json", "demo.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
}
