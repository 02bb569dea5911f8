//! Keys of every role change, and devices of any age follow.

use super::parties::*;
use super::{NOW, compatible, key, keys};
use crate::repository::{DraftError, KeyChange, RoleSeed, UploadError, accept};
use crate::trust::metadata::{self, FileMeta, Header, Root, Snapshot, Targets};
use crate::trust::timestamp::{self, SnapshotMeta};
use crate::trust::{Files, Misbehaviour, Role, TrustError};

#[test]
fn every_roles_key_is_rotated_and_every_device_follows() {
    for role in roles() {
        let mut server = Server::new();
        let (mut old, mut fresh) = (Device::of(&server), Device::of(&server));
        old.check(&server.files(NOW), NOW).unwrap();
        if role == Role::Timestamp {
            server.key = key(50);
        }
        server.publish(&with(&[50]), NOW, |draft| rotate(draft, &role, 50, NOW)).unwrap();
        let files = server.files(NOW);
        for device in [&mut old, &mut fresh] {
            let trusted =
                device.check(&files, NOW).unwrap_or_else(|error| panic!("{role}: {error:?}"));
            assert_eq!(trusted.releases().len(), 1, "{role}");
        }
    }
}

/// The next change of each role, signed by the revoked key and by all others but the new one.
#[test]
fn a_revoked_keys_signature_no_longer_counts() {
    for role in roles() {
        if role == Role::Timestamp {
            continue;
        }
        let mut server = Server::new();
        server.publish(&with(&[50]), NOW, |draft| rotate(draft, &role, 50, NOW)).unwrap();
        let error = server.publish(&keys(), NOW, |draft| {
            draft.renew_root(NOW).unwrap();
            draft.renew_roles(NOW).unwrap();
        });
        let DraftError::Incomplete(lacking) = error.unwrap_err() else { panic!("{role}") };
        assert!(lacking.iter().all(|standing| standing.role == role.to_string()), "{lacking:?}");
        assert!(lacking.iter().all(|standing| standing.unsigned == [id(50)]), "{lacking:?}");
    }
}

/// What devices would fetch next if a thief signed `role` with its first key, and whoever else must
/// sign signed that.
fn forged(server: &mut Server, role: &Role) -> Files {
    let mut files = server.files(NOW);
    let expires = NOW.plus_days(9);
    let by = |own: Role, right: u8| if own == *role { key(first_key(role)) } else { key(right) };
    let published = &server.published;
    if *role == Role::Root {
        let root = Root::clone(published.chain.root());
        let header = Header::new::<Root>(published.chain.root().version() + 1, expires);
        let root = metadata::sign(&header, &root, &[&by(Role::Root, 0)]).unwrap();
        files.insert(format!("{}.root.json", header.version), root);
    }
    let mut snapshot = Snapshot::clone(&published.snapshot.metadata);
    let demo = Role::from(&compatible("demo"));
    let held =
        [(Role::Targets, &published.targets), (demo, &published.delegated[&compatible("demo")])];
    for (own, held) in held.into_iter().filter(|(own, _)| own == role) {
        let version = held.metadata.version() + 1;
        let (header, body) =
            (Header::new::<Targets>(version, expires), Targets::clone(&held.metadata));
        let bytes = metadata::sign(&header, &body, &[&by(own.clone(), 0)]).unwrap();
        snapshot.meta.insert(own.meta_path(), FileMeta::of(version, &bytes));
        files.insert(format!("{version}.{own}.json"), bytes);
    }
    let version = published.snapshot_version() + 1;
    let header = Header::new::<Snapshot>(version, expires);
    let bytes = metadata::sign(&header, &snapshot, &[&by(Role::Snapshot, 2)]).unwrap();
    let meta = SnapshotMeta(FileMeta::of(version, &bytes));
    files.insert(format!("{version}.snapshot.json"), bytes);
    let newest = server.timestamps + 1;
    let timestamp = timestamp::sign(&meta, newest, &by(Role::Timestamp, TIMESTAMP), NOW).unwrap();
    files.insert("timestamp.json".to_owned(), timestamp);
    files
}

#[test]
fn no_device_takes_what_the_revoked_key_signs() {
    for role in roles() {
        let mut server = Server::new();
        let mut device = Device::of(&server);
        // While it is not revoked, its word is good.
        device.check(&forged(&mut server, &role), NOW).unwrap();
        let mut device = Device::of(&server);
        device.check(&server.files(NOW), NOW).unwrap();
        if role == Role::Timestamp {
            server.key = key(50);
        }
        server.publish(&with(&[50]), NOW, |draft| rotate(draft, &role, 50, NOW)).unwrap();
        device.check(&server.files(NOW), NOW).unwrap();
        let error = device.check(&forged(&mut server, &role), NOW).map(|_| ()).unwrap_err();
        let TrustError::Misbehaved { role: refused, fault, .. } = error else {
            panic!("{error:?}")
        };
        assert_eq!(refused, role);
        assert!(matches!(fault, Misbehaviour::Threshold { valid: 0, .. }), "{role}: {fault:?}");
    }
}

/// Nobody need sign again what the keys that stay have signed.
#[test]
fn only_what_lost_its_signatures_is_signed_again() {
    let server = Server::new();
    let files = |change: KeyChange, role: &Role| {
        let mut draft = server.draft();
        draft.change_keys(role, &[change], NOW).unwrap();
        draft.files().into_keys().collect::<Vec<_>>()
    };
    let demo = Role::from(&compatible("demo"));
    assert_eq!(files(KeyChange::Add(public(50)), &Role::Targets), ["2.root.json"]);
    assert_eq!(files(KeyChange::Add(public(50)), &demo), ["2.targets.json"]);
    let mut draft = server.draft();
    rotate(&mut draft, &Role::Targets, 50, NOW);
    rotate(&mut draft, &demo, 51, NOW);
    let files: Vec<_> = draft.files().into_keys().collect();
    assert_eq!(files, ["2.root.json", "2.targets.json", "3.demo.json"]);
}

#[test]
fn a_team_signs_its_own_compatible_and_no_other() {
    let mut server = Server::new();
    let team = RoleSeed { keys: vec![public(80), public(81), public(82)], threshold: 2 };
    let other = compatible("other");
    server
        .publish(&with(&[80, 82]), NOW, |draft| draft.add_role(&other, &team, NOW).unwrap())
        .unwrap();
    // The team has no other key, and the publisher none of the team's.
    let mut theirs = server.draft();
    theirs.renew_roles(NOW).unwrap();
    theirs.sign(&vec![key(81), key(82)]).unwrap();
    let signed: Vec<_> = theirs.standings().unwrap();
    let signed = signed.iter().filter(|standing| standing.is_complete());
    assert_eq!(signed.map(|standing| standing.role.as_str()).collect::<Vec<_>>(), ["other"]);
    let mut ours = server.draft();
    ours.renew_roles(NOW).unwrap();
    ours.sign(&keys()).unwrap();
    let DraftError::Incomplete(lacking) = ours.complete().unwrap_err() else { panic!("complete") };
    assert_eq!((lacking.len(), lacking[0].role.as_str()), (1, "other"));
    ours.merge(&theirs.files()).unwrap();
    ours.complete().unwrap();
}

#[test]
fn a_role_that_is_removed_is_believed_no_more_and_may_come_again() {
    let mut server = Server::new();
    let mut device = Device::of(&server);
    device.check(&server.files(NOW), NOW).unwrap();
    let demo = compatible("demo");
    server.publish(&keys(), NOW, |draft| draft.remove_role(&demo, NOW).unwrap()).unwrap();
    assert_eq!(server.published.compatibles().count(), 0);
    // Devices ask for it in the snapshot, and believe nothing of it.
    let error = device.check(&server.files(NOW), NOW).unwrap_err();
    assert!(matches!(error, TrustError::NotDelegated { .. }), "{error:?}");
    server
        .publish(&with(&[50]), NOW, |draft| {
            draft.add_role(&demo, &public(50).into(), NOW).unwrap();
        })
        .unwrap();
    assert!(server.published.files().contains_key("3.demo.json"), "a version that nobody has seen");
    assert_eq!(device.check(&server.files(NOW), NOW).unwrap().releases().len(), 0);
}

/// Three roots and two years behind, with and without what it had stored.
#[test]
fn an_old_device_comes_to_the_present() {
    let mut server = Server::new();
    let (mut old, mut wiped) = (Device::of(&server), Device::of(&server));
    old.check(&server.files(NOW), NOW).unwrap();
    let all = with(&[50, 51, 52, 53]);
    let later = |years: u32| NOW.plus_days(365 * years - 100);
    server
        .publish(&all, later(1), |draft| {
            rotate(draft, &Role::Root, 50, later(1));
            rotate(draft, &Role::Snapshot, 51, later(1));
            draft.renew_roles(later(1)).unwrap();
        })
        .unwrap();
    server.key = key(52);
    server
        .publish(&all, later(2), |draft| {
            rotate(draft, &Role::Timestamp, 52, later(2));
            draft.renew_roles(later(2)).unwrap();
        })
        .unwrap();
    let three = later(2).plus_days(200);
    server
        .publish(&all, three, |draft| {
            let demo = Role::from(&compatible("demo"));
            rotate(draft, &demo, 53, three);
            draft.change_keys(&Role::Root, &[KeyChange::Add(public(54))], three).unwrap();
            draft.renew_roles(three).unwrap();
        })
        .unwrap();
    assert!(server.published.files().contains_key("4.root.json"));
    let files = server.files(three);
    for device in [&mut old, &mut wiped] {
        let trusted = device.check(&files, three).unwrap();
        assert_eq!(trusted.releases().len(), 1);
        assert!(trusted.files_to_store().contains_key("4.root.json"));
    }
}

/// A thief of the server's key has pushed the timestamp's version as far as it goes.
#[test]
fn a_revoked_online_key_leaves_no_device_behind() {
    let mut server = Server::new();
    let mut device = Device::of(&server);
    server.timestamps = u64::MAX - 1;
    device.check(&server.files(NOW), NOW).unwrap();
    server.timestamps = 0;
    device.check(&server.files(NOW), NOW).unwrap_err();
    server.key = key(50);
    server.publish(&with(&[50]), NOW, |draft| rotate(draft, &Role::Timestamp, 50, NOW)).unwrap();
    device.check(&server.files(NOW), NOW).unwrap();
    // What the revoked key signs is refused from then on.
    server.key = key(TIMESTAMP);
    let error = device.check(&server.files(NOW), NOW).unwrap_err();
    let TrustError::Misbehaved { role: Role::Timestamp, fault, .. } = error else {
        panic!("{error:?}")
    };
    assert!(matches!(fault, Misbehaviour::Threshold { valid: 0, .. }), "{fault:?}");
}

#[test]
fn a_server_takes_no_root_that_leaves_it_without_its_key() {
    let server = Server::new();
    let mut draft = server.draft();
    rotate(&mut draft, &Role::Timestamp, 50, NOW);
    draft.sign(&keys()).unwrap();
    draft.take_snapshot(NOW).unwrap();
    draft.sign(&keys()).unwrap();
    let files = draft.finish().unwrap().files();
    let error = accept(Some(&server.published), &files, &[public(TIMESTAMP)], NOW).unwrap_err();
    assert!(matches!(error, UploadError::TimestampKey { .. }), "{error:?}");
    accept(Some(&server.published), &files, &[public(TIMESTAMP), public(50)], NOW).unwrap();
}
