//! Keys and thresholds of every role change, and devices of any age follow.

use proptest::prelude::*;

use super::{NOW, compatible, key, keys, seed, served, sign};
use crate::repository::{
    Birth, Draft, DraftError, KeyChange, Published, RoleSeed, Standing, UploadError, accept,
};
use crate::trust::metadata::{self, FileMeta, Header, Root, Snapshot, Targets};
use crate::trust::timestamp::{self, SnapshotMeta};
use crate::trust::{
    Client, Files, KeyId, Limits, Misbehaviour, PublicKey, Reply, Role, SigningKey, Step,
    TrustError, Trusted, UnixTime,
};

pub(super) const TIMESTAMP: u8 = 77;

fn roles() -> [Role; 5] {
    let demo = Role::from(&compatible("demo"));
    [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp, demo]
}

/// The seed of the key that a role begins with.
fn first_key(role: &Role) -> u8 {
    match role {
        Role::Root => 0,
        Role::Targets => 1,
        Role::Snapshot => 2,
        Role::Timestamp => TIMESTAMP,
        Role::Delegated(_) => 3,
    }
}

pub(super) fn id(seed: u8) -> KeyId {
    key(seed).public().id().clone()
}

pub(super) fn public(seed: u8) -> PublicKey {
    key(seed).public().clone()
}

/// A server and what it has published.
pub(super) struct Server {
    pub(super) published: Published,
    key: SigningKey,
    timestamps: u64,
}

impl Server {
    pub(super) fn new() -> Self {
        Self { published: served(1).1, key: key(TIMESTAMP), timestamps: 0 }
    }

    pub(super) fn draft(&self) -> Draft {
        Draft::on(Some((&self.published).into()))
    }

    /// Publishes a change that these keys sign.
    pub(super) fn publish(
        &mut self,
        keys: &Vec<SigningKey>,
        now: UnixTime,
        change: impl FnOnce(&mut Draft),
    ) -> Result<(), DraftError> {
        let mut draft = self.draft();
        change(&mut draft);
        draft.sign(keys)?;
        draft.take_snapshot(now)?;
        draft.sign(keys)?;
        let files = draft.finish()?.files();
        let accepted =
            accept(Some(&self.published), &files, &[self.key.public().clone()], now).unwrap();
        self.published = accepted.published().clone();
        Ok(())
    }

    /// Everything that devices can fetch.
    fn files(&mut self, now: UnixTime) -> Files {
        self.timestamps += 1;
        let meta = self.published.snapshot_meta();
        let timestamp = timestamp::sign(&meta, self.timestamps, &self.key, now).unwrap();
        let mut files = self.published.files();
        files.insert("timestamp.json".to_owned(), timestamp);
        files
    }
}

/// A device, with what it has stored so far.
struct Device {
    first_root: Vec<u8>,
    stored: Files,
}

impl Device {
    fn of(server: &Server) -> Self {
        Self { first_root: server.published.files()["1.root.json"].clone(), stored: Files::new() }
    }

    fn check(&mut self, files: &Files, now: UnixTime) -> Result<Trusted, TrustError> {
        let demo = compatible("demo");
        let (mut client, refused) =
            Client::new(&self.first_root, &self.stored, &demo, now, Limits::default())?;
        assert!(refused.is_empty(), "{refused:?}");
        while let Step::Fetch { path, .. } = client.next() {
            let fed = client.feed(files.get(&path).cloned().map_or(Reply::NotFound, Reply::Bytes));
            self.stored = client.files();
            fed?;
        }
        self.stored = client.files();
        client.finish()
    }
}

/// A change of `role` from its first key to another.
fn rotate(draft: &mut Draft, role: &Role, new: u8, now: UnixTime) {
    let changes = [KeyChange::Revoke(id(first_key(role))), KeyChange::Add(public(new))];
    draft.change_keys(role, &changes, now).unwrap();
}

fn with(seeds: &[u8]) -> Vec<SigningKey> {
    keys().into_iter().chain(seeds.iter().copied().map(key)).collect()
}

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

/// A role with three keys of which so many must sign, in a repository that begins so.
fn three_keys(role: &Role, threshold: u32) -> Birth {
    let three = RoleSeed { keys: vec![public(60), public(61), public(62)], threshold };
    let of = |own: Role, name| if own == *role { three.clone() } else { seed(name) };
    let demo = compatible("demo");
    Birth {
        root: of(Role::Root, "root"),
        targets: of(Role::Targets, "targets"),
        snapshot: of(Role::Snapshot, "snapshot"),
        timestamp: public(TIMESTAMP),
        compatibles: [(demo.clone(), of((&demo).into(), "demo"))].into(),
    }
}

fn chosen(mask: u8) -> Vec<u8> {
    (0..3).filter(|bit| mask & (1 << bit) != 0).map(|bit| 60 + bit).collect()
}

fn is_complete(draft: &Draft) -> bool {
    let finished = draft.finish();
    let complete = draft.complete().is_ok();
    assert_eq!(finished.is_ok(), complete, "what is called complete verifies");
    complete
}

proptest! {
    /// Whichever of the keys sign: enough of them are enough, and fewer are not.
    #[test]
    fn a_threshold_is_reached_by_any_keys_of_the_role(
        which in 0usize..4, threshold in 1u32..=3, mask in 0u8..8,
    ) {
        let role = &[roles()[0].clone(), Role::Targets, Role::Snapshot, roles()[4].clone()][which];
        let mut draft = Draft::begin(&three_keys(role, threshold), NOW).unwrap();
        // All but the role's own first key, which is not listed.
        let signers = with(&chosen(mask));
        draft.sign(&signers).unwrap();
        let needed = threshold as usize;
        let enough = chosen(mask).len() >= needed;
        if *role == Role::Snapshot {
            draft.take_snapshot(NOW).unwrap();
            draft.sign(&signers).unwrap();
        }
        prop_assert_eq!(is_complete(&draft), enough);
        if !enough {
            let lacking: Vec<_> = draft.standings().unwrap();
            let lacking: Vec<_> = lacking.iter().map(Standing::lacking).filter(|n| *n > 0).collect();
            prop_assert_eq!(lacking, [needed - chosen(mask).len()]);
        }
    }

    /// 6.1: the next root needs the threshold of the root before it and its own.
    #[test]
    fn the_next_root_is_signed_by_the_old_and_the_new_threshold(
        old in 1u32..=3, new in 1u32..=3, kept in 0u8..8, mask in 0u8..8, added in 0u8..8,
    ) {
        let kept_seeds = chosen(kept);
        let added_seeds: Vec<_> = (70..73).collect();
        let mut draft = Draft::begin(&three_keys(&Role::Root, old), NOW).unwrap();
        draft.sign(&with(&chosen(7))).unwrap();
        let mut draft = Draft::on(Some(draft.finish().unwrap()));
        let gone = (60..63).filter(|seed| !kept_seeds.contains(seed));
        let mut changes: Vec<_> = gone.map(|seed| KeyChange::Revoke(id(seed))).collect();
        changes.extend(added_seeds.iter().map(|seed| KeyChange::Add(public(*seed))));
        changes.push(KeyChange::Threshold(new));
        draft.change_keys(&Role::Root, &changes, NOW).unwrap();
        let signers: Vec<_> = chosen(mask).into_iter()
            .chain(added_seeds.into_iter().filter(|seed| added & (1 << (seed - 70)) != 0)).collect();
        // Two who sign one after the other come to the same as one who has every key.
        for seed in &signers {
            draft.sign(&vec![key(*seed)]).unwrap();
        }
        let by_old = chosen(mask).len() as u32;
        let by_new = signers.iter().filter(|seed| **seed >= 70 || kept_seeds.contains(*seed)).count();
        let enough = by_old >= old && by_new as u32 >= new;
        prop_assert_eq!(is_complete(&draft), enough);
        if enough {
            let state = draft.finish().unwrap();
            let kept: Vec<_> = state.files().keys().filter(|name| name.ends_with(".root.json")).cloned().collect();
            prop_assert_eq!(kept, ["1.root.json", "2.root.json"]);
        }
    }
}

#[test]
fn signatures_given_in_several_places_come_together_in_any_order() {
    let mut draft = Draft::begin(&three_keys(&Role::Root, 3), NOW).unwrap();
    draft.sign(&keys()).unwrap();
    let copies = [60, 61, 62].map(|seed| {
        let mut copy = Draft::load(None, &draft.files()).unwrap();
        copy.sign(&vec![key(seed)]).unwrap();
        copy.files()
    });
    for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0], [1, 0, 2]] {
        let mut merged = draft.clone();
        for (count, at) in order.into_iter().enumerate() {
            let standing = &merged.standings().unwrap()[0];
            assert_eq!((standing.signed.len(), standing.lacking()), (count, 3 - count));
            merged.merge(&copies[at]).unwrap();
            merged.merge(&copies[at]).unwrap();
        }
        merged.finish().unwrap();
    }
    // Who has none of it yet takes it over.
    let mut empty = Draft::on(None);
    empty.merge(&copies[0]).unwrap();
    assert_eq!(empty.files(), copies[0]);
}

pub(super) fn changed(
    files: &Files,
    name: &str,
    change: impl FnOnce(&mut serde_json::Value),
) -> Files {
    let mut value = serde_json::from_slice(&files[name]).unwrap();
    change(&mut value);
    let mut files = files.clone();
    files.insert(name.to_owned(), value.to_string().into_bytes());
    files
}

#[test]
fn a_draft_that_was_changed_on_its_way_is_not_merged() {
    let server = Server::new();
    let mut draft = server.draft();
    draft.change_keys(&Role::Root, &[KeyChange::Add(public(60))], NOW).unwrap();
    let honest = draft.clone();
    draft.sign(&keys()).unwrap();
    let files = draft.files();
    let merge = |files: &Files| honest.clone().merge(files).map(|()| 0);
    let other = changed(&files, "2.root.json", |root| {
        root["signed"]["expires"] = "2040-01-01T00:00:00Z".into();
    });
    assert!(matches!(merge(&other), Err(DraftError::Differ { role: Role::Root })));
    // What nobody would be shown is not even looked at.
    let more = changed(&files, "2.root.json", |root| root["signed"]["x-note"] = "hidden".into());
    assert!(matches!(merge(&more), Err(DraftError::Foreign { .. })));
    let plain = changed(&files, "2.root.json", |root| {
        root["signed"]["consistent_snapshot"] = false.into();
    });
    assert!(matches!(merge(&plain), Err(DraftError::Foreign { .. })));
    let zero = changed(&files, "2.root.json", |root| {
        root["signed"]["roles"]["timestamp"]["threshold"] = 9.into();
    });
    assert!(matches!(merge(&zero), Err(DraftError::TimestampThreshold)));
    // A signature that is none does not count, and does not keep the right one out.
    let forged = changed(&files, "2.root.json", |root| {
        root["signatures"][0]["sig"] = "00".repeat(64).into();
    });
    let mut merged = honest.clone();
    merged.merge(&forged).unwrap();
    assert!(merged.complete().is_err());
    merged.merge(&files).unwrap();
    merged.complete().unwrap();
}

#[test]
fn what_cannot_be_is_refused() {
    let server = Server::new();
    let demo = Role::from(&compatible("demo"));
    let change = |role: &Role, changes: &[KeyChange]| {
        let mut draft = server.draft();
        draft.change_keys(role, changes, NOW).map(|()| draft)
    };
    let error = change(&Role::Root, &[KeyChange::Threshold(2)]).unwrap_err();
    assert!(matches!(error, DraftError::Threshold { threshold: 2, keys: 1, .. }), "{error:?}");
    let error = change(&demo, &[KeyChange::Threshold(0)]).unwrap_err();
    assert!(matches!(error, DraftError::Threshold { threshold: 0, .. }), "{error:?}");
    let error = change(&demo, &[KeyChange::Revoke(id(3))]).unwrap_err();
    assert!(matches!(error, DraftError::Threshold { threshold: 1, keys: 0, .. }), "{error:?}");
    let error = change(&Role::Targets, &[KeyChange::Revoke(id(50))]).unwrap_err();
    assert!(matches!(error, DraftError::NotListed { .. }), "{error:?}");
    let error = change(&Role::Targets, &[KeyChange::Add(public(1))]).unwrap_err();
    assert!(matches!(error, DraftError::Listed { .. }), "{error:?}");
    let two = [KeyChange::Add(public(50)), KeyChange::Threshold(2)];
    assert!(matches!(change(&Role::Timestamp, &two), Err(DraftError::TimestampThreshold)));
    let nobody = Role::from(&compatible("nobody"));
    assert!(matches!(change(&nobody, &two), Err(DraftError::NoRole { .. })));
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

#[test]
fn what_is_signed_is_said() {
    let mut server = Server::new();
    let mut draft = server.draft();
    let changes = [KeyChange::Add(public(60)), KeyChange::Add(public(61)), KeyChange::Threshold(2)];
    draft.change_keys(&Role::Root, &changes, NOW).unwrap();
    rotate(&mut draft, &Role::from(&compatible("demo")), 50, NOW);
    let other = RoleSeed { keys: vec![public(80), public(81)], threshold: 2 };
    draft.add_role(&compatible("other"), &other, NOW).unwrap();
    sign(&mut server.draft(), "9", 9).unwrap();
    let statement = draft.statement_to_publish(&with(&[60]), NOW).unwrap();
    insta::assert_snapshot!(statement.to_string());
    draft.sign(&keys()).unwrap();
    let lacking = draft.complete().unwrap_err();
    insta::assert_snapshot!(lacking.to_string());
    server
        .publish(&keys(), NOW, |draft| {
            draft.withdraw(&compatible("demo"), &["1".parse().unwrap()], NOW).unwrap();
        })
        .unwrap();
}
