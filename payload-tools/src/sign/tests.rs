use super::*;
use crate::format::{Compatible, Hash, Image, Role as ImageRole, Salt};
use crate::keyring::{Keeping, Keyring, Secrets};
use crate::repository::{Birth, RoleSeed};
use crate::trust::SigningKey;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

fn channels(names: &str) -> Vec<Channel> {
    names.split_whitespace().map(|name| name.parse().unwrap()).collect()
}

fn submission(release: &str, names: &str) -> Submission {
    let image = |role| Image { role, size: 4096, salt: Salt::default(), root: Hash::of(b"") };
    let manifest = Manifest {
        compatible: "demo".parse().unwrap(),
        release: release.parse().unwrap(),
        counter: release.parse().unwrap(),
        built: "2026-11-01T00:00:00Z".parse().unwrap(),
        images: ImageRole::ALL.map(image).into(),
    };
    let facts = ReleaseFacts {
        release: manifest.release.clone(),
        counter: manifest.counter,
        compatible: manifest.compatible.clone(),
        min_from: 0,
        channels: channels(names),
        floor: false,
        downgrade_from: None,
    };
    Submission { facts, manifest_bytes: manifest.to_bytes().unwrap(), manifest }
}

/// A publisher's keys, and a repository of one compatible that they began.
fn begun() -> (tempfile::TempDir, Keyring, Draft) {
    let folder = tempfile::tempdir().unwrap();
    let mut keyring = Keyring::open(folder.path(), Secrets::default()).unwrap();
    let demo: Compatible = "demo".parse().unwrap();
    let mut seed = |role: Role| {
        keyring.make(&role.to_string(), &Keeping::Plain).unwrap();
        RoleSeed::from(keyring.public(&role).unwrap().clone())
    };
    let birth = Birth {
        root: seed(Role::Root),
        targets: seed(Role::Targets),
        snapshot: seed(Role::Snapshot),
        timestamp: SigningKey::from_seed(&[77; 32]).public().clone(),
        compatibles: [(demo.clone(), seed(Role::from(&demo)))].into(),
    };
    let mut draft = Draft::begin(&birth, NOW).unwrap();
    draft.sign(&keyring).unwrap();
    let begun = draft.finish().unwrap();
    (folder, keyring, Draft::on(Some(begun)))
}

#[test]
fn a_channel_that_is_named_later_takes_no_other_away() {
    let (_folder, keyring, mut draft) = begun();
    let mut sign = |release: &str, names: &str| {
        let submission = submission(release, names).with_signed_channels(&draft).unwrap();
        let signing = submission.list(&mut draft, NOW).unwrap();
        let said = draft.statement(&keyring).unwrap().to_string();
        draft.sign(&keyring).unwrap();
        draft = Draft::on(Some(draft.finish().unwrap()));
        (signing, said)
    };
    sign("1", "stable");
    sign("2", "stable edge");
    let (signing, said) = sign("2", "stable beta");
    assert_eq!(signing, Signing::New);
    assert!(said.contains("channels   stable, edge, beta\n"), "{said}");
    for names in ["beta", "stable", "edge beta"] {
        assert_eq!(sign("2", names).0, Signing::AlreadySigned, "{names}");
    }
    let listed = draft.releases(&"demo".parse().unwrap()).unwrap();
    let signed: Vec<_> = listed.iter().map(|release| release.facts().channels.clone()).collect();
    assert_eq!(signed, [channels("stable"), channels("stable edge beta")]);
}
