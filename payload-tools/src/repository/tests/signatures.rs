//! Thresholds, and signatures that are given in several places.

use proptest::prelude::*;

use super::parties::*;
use super::{NOW, compatible, key, keys, seed, sign};
use crate::repository::{Birth, Draft, DraftError, KeyChange, RoleSeed, Standing};
use crate::trust::{Files, Role};

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
    let later = |files: &Files| {
        changed(files, "2.root.json", |root| {
            root["signed"]["expires"] = "2040-01-01T00:00:00Z".into();
        })
    };
    let other = later(&honest.files());
    assert!(matches!(merge(&other), Err(DraftError::Differ { role: Role::Root })));
    let other = later(&files);
    for loaded in [merge(&other), Draft::load(Some((&server.published).into()), &other).map(|_| 0)]
    {
        let Err(DraftError::Changed { role: Role::Root, version: 2, keys }) = loaded else {
            panic!("{loaded:?}")
        };
        assert_eq!(keys, [id(0)]);
    }
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

/// One of the keys before may have been stolen, and have signed a release in silence.
#[test]
fn what_new_keys_sign_anew_is_shown_release_by_release() {
    let server = Server::new();
    let listed = server.published.releases(&compatible("demo")).unwrap();
    let line = format!(
        "  unchanged  1 (counter 1), manifest {:.16}, channels stable\n",
        listed[0].sha256().to_string()
    );
    let said = |change: &dyn Fn(&mut Draft)| {
        let mut draft = server.draft();
        change(&mut draft);
        draft.statement(&keys()).unwrap().to_string()
    };
    let demo = Role::from(&compatible("demo"));
    let more = |draft: &mut Draft| _ = sign(draft, "2", 2).unwrap();
    let rotated = |draft: &mut Draft| rotate(draft, &demo, 50, NOW);
    let renewed = said(&|draft| draft.renew_roles(NOW).unwrap());
    assert!(renewed.contains(&line), "{renewed}");
    let added = said(&more);
    assert!(added.contains("  unchanged  releases: 1\n  release    2 (counter 2)\n"), "{added}");
    assert!(said(&rotated).contains(&line));
    let both = said(&|draft| {
        let mut next = draft.clone();
        more(&mut next);
        rotated(&mut next);
        *draft = next;
    });
    assert!(both.contains(&format!("{line}  release    2 (counter 2)\n")), "{both}");
}

#[test]
fn what_others_have_signed_is_not_ones_own() {
    let demo = Role::from(&compatible("demo"));
    let mut draft = Draft::begin(&three_keys(&demo, 2), NOW).unwrap();
    let own = |draft: &Draft, seed| draft.is_own(&vec![key(seed)], &demo).unwrap();
    assert!(own(&draft, 60) && own(&draft, 61));
    draft.sign(&vec![key(60)]).unwrap();
    assert!(own(&draft, 60) && !own(&draft, 61));
}

#[test]
fn only_an_old_snapshot_is_left_out() {
    let server = Server::new();
    let mut draft = server.draft();
    draft.take_snapshot(NOW).unwrap();
    for (days, left) in [(0, 1), (7, 1), (8, 0), (85, 0)] {
        let mut later = draft.clone();
        later.leave_old_snapshot(NOW.plus_days(days));
        assert_eq!(later.files().len(), left, "after {days} days");
    }
}
