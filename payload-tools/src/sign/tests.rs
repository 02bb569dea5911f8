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
    let manifest_bytes = manifest.to_bytes().unwrap();
    Submission { facts, manifest_bytes, manifest, past_floors: Vec::new() }
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

#[test]
fn a_floor_is_not_left_out_of_a_channel_unsaid() {
    let (_folder, keyring, mut draft) = begun();
    let mut sign = |submission: Submission| {
        let mut next = draft.clone();
        let submission = submission.with_signed_channels(&next)?;
        submission.list(&mut next, NOW)?;
        let said = next.statement(&keyring).unwrap().to_string();
        next.sign(&keyring).unwrap();
        draft = Draft::on(Some(next.finish().unwrap()));
        Ok::<_, DraftError>(said)
    };
    let floor = |names| {
        let mut floor = submission("2", names);
        floor.facts.floor = true;
        floor
    };
    let past = |release, names| Submission {
        past_floors: vec!["2".parse().unwrap()],
        ..submission(release, names)
    };
    sign(submission("1", "stable beta")).unwrap();
    sign(floor("beta")).unwrap();
    sign(submission("3", "beta")).unwrap();
    // It is below the floor.
    sign(submission("1", "edge")).unwrap();
    let refused = sign(submission("3", "stable")).unwrap_err().to_string();
    assert!(refused.starts_with("release 2 is a floor and not signed for stable"), "{refused}");
    assert!(refused.contains("publish it with `--channel stable` first"), "{refused}");
    // Whoever is at 2 already may go to 4, and nobody else.
    let mut from_2 = submission("4", "stable");
    from_2.facts.min_from = 2;
    sign(from_2).unwrap();
    sign(floor("stable")).unwrap();
    let said = sign(submission("3", "stable")).unwrap();
    assert!(!said.contains("past"), "{said}");

    let refused = sign(submission("5", "edge")).unwrap_err().to_string();
    assert!(refused.contains("let them skip it with `--past-floor 2`"), "{refused}");
    let said = sign(past("5", "edge")).unwrap();
    assert!(said.contains("past       2, a floor: devices of edge go to 5 without it\n"), "{said}");
    // That was said once; of the next one it is to be said again.
    sign(submission("5", "stable")).unwrap();
    sign(submission("6", "edge")).unwrap_err();

    // A release that becomes a floor below others.
    let mut late = submission("4", "stable");
    (late.facts.floor, late.facts.min_from) = (true, 2);
    let refused = sign(late).unwrap_err().to_string();
    assert!(refused.starts_with("release 4 is a floor and not signed for edge"), "{refused}");
}
