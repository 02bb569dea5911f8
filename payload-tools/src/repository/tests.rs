use std::collections::BTreeMap;

use super::{Draft, DraftError, KeyringError, Published, Signer, Signing, UploadError, accept};
use crate::format::{Compatible, Hash, Image, Manifest, ReleaseFacts, Role as ImageRole, Salt};
use crate::trust::{Files, Misbehaviour, PublicKey, Role, SigningKey, TrustError, UnixTime};

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

/// Keys in memory.
struct Keys(BTreeMap<String, SigningKey>);

impl Keys {
    fn new() -> Self {
        let names = ["root", "targets", "snapshot", "demo", "other"];
        let key = |(seed, name): (usize, &&str)| {
            ((*name).to_owned(), SigningKey::from_seed(&[seed as u8; 32]))
        };
        Self(names.iter().enumerate().map(key).collect())
    }
}

impl Signer for Keys {
    fn key(&self, role: &Role) -> Result<&SigningKey, KeyringError> {
        let none = || KeyringError::None { role: role.clone(), path: "memory".into() };
        self.0.get(&role.to_string()).ok_or_else(none)
    }
}

fn compatible(name: &str) -> Compatible {
    name.parse().unwrap()
}

fn server_key() -> PublicKey {
    SigningKey::from_seed(&[77; 32]).public().clone()
}

fn begin() -> Draft {
    Draft::begin(&Keys::new(), &server_key(), &[compatible("demo")], NOW).unwrap()
}

fn sign(draft: &mut Draft, release: &str, counter: u64) -> Result<Signing, DraftError> {
    let image = |role| Image { role, size: 4096, salt: Salt::default(), root: Hash::of(b"") };
    let manifest = Manifest {
        compatible: compatible("demo"),
        release: release.parse().unwrap(),
        counter,
        built: "2026-11-01T00:00:00Z".parse().unwrap(),
        images: vec![image(ImageRole::Kernel), image(ImageRole::Root)],
    };
    let facts = ReleaseFacts {
        release: manifest.release.clone(),
        counter,
        compatible: compatible("demo"),
        min_from: 0,
        channels: vec!["stable".parse().unwrap()],
        floor: false,
        downgrade_from: None,
    };
    draft.sign_release(&Keys::new(), &facts, &manifest.to_bytes().unwrap(), &manifest, NOW)
}

/// The draft's files with the snapshot that follows the published one.
fn upload(draft: &mut Draft, published: u64) -> Files {
    draft.sign_snapshot(&Keys::new(), published, NOW).unwrap();
    draft.files()
}

/// A server with releases up to that counter, one publication each.
fn served(up_to: u64) -> (Draft, Published) {
    let mut draft = begin();
    let files = upload(&mut draft, 0);
    let mut published = accept(None, &files, &server_key(), NOW).unwrap().published().clone();
    for counter in 1..=up_to {
        sign(&mut draft, &counter.to_string(), counter).unwrap();
        let files = upload(&mut draft, published.snapshot_version());
        let accepted = accept(Some(&published), &files, &server_key(), NOW).unwrap();
        published = accepted.published().clone();
    }
    (draft, published)
}

fn refused(published: Option<&Published>, files: &Files) -> UploadError {
    accept(published, files, &server_key(), NOW).unwrap_err()
}

#[test]
fn publications_follow_one_another() {
    let (mut draft, published) = served(2);
    sign(&mut draft, "3", 3).unwrap();
    let files = upload(&mut draft, 3);
    let accepted = accept(Some(&published), &files, &server_key(), NOW).unwrap();
    let new: Vec<_> = accepted.new_files().keys().map(String::as_str).collect();
    assert_eq!(new, ["4.demo.json", "4.snapshot.json"]);
    assert_eq!(accepted.published().snapshot_version(), 4);
    assert_eq!(accepted.releases().unwrap()[&compatible("demo")].len(), 3);
}

#[test]
fn what_a_server_kept_is_read_back() {
    let (_, published) = served(2);
    let mut kept = published.files();
    kept.insert("1.snapshot.json".to_owned(), b"an old one, not looked at".to_vec());
    let loaded = Published::load(&kept, 3).unwrap();
    assert_eq!(loaded.files(), published.files());
    kept.get_mut("3.demo.json").unwrap()[100] ^= 1;
    assert!(Published::load(&kept, 3).is_err());
}

#[test]
fn only_the_next_snapshot_is_taken() {
    let (mut draft, published) = served(1);
    for (claimed, expected) in [(0, 3), (1, 3), (3, 3)] {
        let files = upload(&mut draft, claimed);
        let error = refused(Some(&published), &files);
        assert!(
            matches!(error, UploadError::Conflict { expected: e } if e == expected),
            "{error:?}"
        );
    }
    let files = upload(&mut begin(), 4);
    assert!(matches!(refused(None, &files), UploadError::Conflict { expected: 1 }));
}

#[test]
fn nothing_published_goes_back_or_drops_out() {
    let (_, published) = served(2);
    // A publisher whose folder is from the beginning and who ignores what was published.
    let mut stale = begin();
    let files = upload(&mut stale, published.snapshot_version());
    let UploadError::Trust(TrustError::Misbehaved { fault, .. }) =
        refused(Some(&published), &files)
    else {
        panic!("taken")
    };
    assert!(matches!(fault, Misbehaviour::Rollback { trusted: 3, offered: 1, .. }), "{fault:?}");
}

#[test]
fn a_published_version_is_never_replaced() {
    let (mut draft, published) = served(1);
    // The same versions, signed a second later.
    let mut twin = begin();
    twin.sign_snapshot(&Keys::new(), 0, NOW).unwrap();
    let later = NOW.plus_secs(1);
    let keys = Keys::new();
    let mut other = Draft::begin(&keys, &server_key(), &[compatible("demo")], later).unwrap();
    sign(&mut other, "9", 9).unwrap();
    let files = upload(&mut other, published.snapshot_version());
    assert!(accept(Some(&published), &files, &server_key(), NOW).is_err());
    // The publisher who takes over what is there is heard.
    other.adopt(&published);
    sign(&mut other, "9", 9).unwrap();
    let files = upload(&mut other, published.snapshot_version());
    accept(Some(&published), &files, &server_key(), NOW).unwrap();
    let files = upload(&mut draft, published.snapshot_version());
    accept(Some(&published), &files, &server_key(), NOW).unwrap();
}

/// What was signed for a bundle, or refused, is not sent with the next publication.
#[test]
fn a_role_is_the_servers_whatever_was_signed_here() {
    let (mut draft, published) = served(1);
    sign(&mut draft, "2", 2).unwrap();
    draft.delegate(&Keys::new(), &[compatible("other")], NOW).unwrap();
    draft.adopt(&published);
    let files = upload(&mut draft, 2);
    assert!(!files.contains_key("3.demo.json"), "{:?}", files.keys());
    let accepted = accept(Some(&published), &files, &server_key(), NOW).unwrap();
    let releases = accepted.releases().unwrap();
    let names = (compatible("demo"), compatible("other"));
    assert_eq!((releases[&names.0].len(), releases[&names.1].len()), (1, 0));
}

#[test]
fn an_upload_is_whole_or_refused() {
    let (mut draft, published) = served(1);
    sign(&mut draft, "2", 2).unwrap();
    let files = upload(&mut draft, 2);
    let mut cut = files.clone();
    cut.remove("3.demo.json");
    assert!(matches!(
        refused(Some(&published), &cut),
        UploadError::Trust(TrustError::Missing { file, .. }) if file == "3.demo.json"
    ));
    for name in ["3.demo.json", "3.snapshot.json"] {
        for at in 0..files[name].len() {
            let mut changed = files.clone();
            changed.get_mut(name).unwrap()[at] ^= 0x20;
            let error = refused(Some(&published), &changed);
            assert!(matches!(error, UploadError::Trust(_)), "{name} {at}: {error:?}");
        }
    }
}

#[test]
fn what_is_no_metadata_is_not_kept() {
    for name in ["timestamp.json", "manifest.json", "../1.root.json", "1.Demo.json", "1.root.txt"] {
        let mut files = upload(&mut begin(), 0);
        files.insert(name.to_owned(), b"{}".to_vec());
        assert!(matches!(refused(None, &files), UploadError::File { .. }), "{name}");
    }
    let mut files = upload(&mut begin(), 0);
    files.insert("7.demo.json".to_owned(), vec![b' '; 64 * 1024 + 1]);
    assert!(matches!(refused(None, &files), UploadError::File { length: 65_537, .. }));
}

#[test]
fn the_first_root_names_the_servers_key() {
    let stranger = SigningKey::from_seed(&[78; 32]).public().clone();
    let files = upload(&mut begin(), 0);
    let error = accept(None, &files, &stranger, NOW).unwrap_err();
    assert!(matches!(error, UploadError::TimestampKey { .. }), "{error:?}");
}

#[test]
fn what_has_expired_is_not_published_but_replaced() {
    let (mut draft, published) = served(1);
    let late = NOW.plus_days(91);
    let files = upload(&mut draft, 2);
    let error = accept(Some(&published), &files, &server_key(), late).unwrap_err();
    assert!(matches!(error, UploadError::Trust(TrustError::Misbehaved { .. })), "{error:?}");
    draft.sign_snapshot(&Keys::new(), 2, late).unwrap();
    accept(Some(&published), &draft.files(), &server_key(), late).unwrap();
}

#[test]
fn a_release_has_one_name_one_counter_one_manifest() {
    let mut draft = begin();
    assert_eq!(sign(&mut draft, "2", 2).unwrap(), Signing::New);
    assert_eq!(sign(&mut draft, "2", 2).unwrap(), Signing::AlreadySigned);
    assert!(matches!(sign(&mut draft, "2", 3), Err(DraftError::OtherContent { .. })));
    assert!(matches!(sign(&mut draft, "two", 2), Err(DraftError::CounterTaken { .. })));
}

#[test]
fn a_withdrawn_release_is_no_longer_listed() {
    let (mut draft, published) = served(2);
    let (demo, keys) = (compatible("demo"), Keys::new());
    let name = |name: &str| vec![name.parse().unwrap()];
    let error = draft.withdraw(&keys, &demo, &name("3"), NOW).unwrap_err();
    assert!(matches!(error, DraftError::NotListed { .. }), "{error:?}");
    draft.withdraw(&keys, &demo, &name("1"), NOW).unwrap();
    let files = upload(&mut draft, published.snapshot_version());
    let accepted = accept(Some(&published), &files, &server_key(), NOW).unwrap();
    let left = &accepted.releases().unwrap()[&demo];
    assert_eq!(left.iter().map(|release| release.facts().counter).collect::<Vec<_>>(), [2]);
}

/// A role that devices do not read would hide every release from them.
#[test]
fn a_role_never_outgrows_what_devices_read() {
    let mut draft = begin();
    let full = (1..1000).find_map(|counter| {
        Some((counter, sign(&mut draft, &format!("{counter:064}"), counter).err()?))
    });
    let (counter, error) = full.unwrap();
    let DraftError::TooLarge { length, max: 65_536, .. } = error else { panic!("{error:?}") };
    assert!(length > 65_536 && error.to_string().contains("payload withdraw"), "{error}");
    // Nothing was signed, and there is a way on.
    accept(None, &upload(&mut draft, 0), &server_key(), NOW).unwrap();
    let first = format!("{:064}", 1).parse().unwrap();
    draft.withdraw(&Keys::new(), &compatible("demo"), &[first], NOW).unwrap();
    assert_eq!(sign(&mut draft, &format!("{counter:064}"), counter).unwrap(), Signing::New);
}

#[test]
fn a_root_is_renewed_with_the_same_keys() {
    let (mut draft, published) = served(1);
    let late = NOW.plus_days(731);
    let expired = |draft: &mut Draft| {
        draft.sign_snapshot(&Keys::new(), 2, late).unwrap();
        accept(Some(&published), &draft.files(), &server_key(), late)
    };
    draft.renew_roles(&Keys::new(), late).unwrap();
    let error = expired(&mut draft).unwrap_err();
    let UploadError::Trust(TrustError::Misbehaved { role: Role::Root, .. }) = error else {
        panic!("{error:?}")
    };
    draft.renew_root(&Keys::new(), late).unwrap();
    let accepted = expired(&mut draft).unwrap();
    assert!(accepted.new_files().contains_key("2.root.json"));
    // The next server, and the next publisher, follow it from root 1.
    let loaded = Published::load(&accepted.published().files(), 3).unwrap();
    let mut other = begin();
    other.adopt(&loaded);
    assert_eq!(other.expiries()[0], (Role::Root, late.plus_days(730)));
    let mut keys = Keys::new();
    keys.0.insert("root".to_owned(), SigningKey::from_seed(&[99; 32]));
    let error = draft.renew_root(&keys, late).unwrap_err();
    assert!(matches!(error, DraftError::OtherKey { role: Role::Root, .. }), "{error:?}");
}

#[test]
fn a_key_that_does_not_match_the_delegation_signs_nothing() {
    let mut draft = begin();
    let before = draft.files();
    let mut keys = Keys::new();
    keys.0.insert("demo".to_owned(), SigningKey::from_seed(&[99; 32]));
    let error = draft.renew_roles(&keys, NOW).unwrap_err();
    let demo = Role::from(&compatible("demo"));
    assert!(matches!(error, DraftError::OtherKey { role, .. } if role == demo));
    assert_eq!(draft.files()["1.demo.json"], before["1.demo.json"]);
}

#[test]
fn a_new_compatible_begins_empty() {
    let (mut draft, published) = served(1);
    let keys = Keys::new();
    let both = [compatible("demo"), compatible("other")];
    assert_eq!(draft.delegate(&keys, &both, NOW).unwrap(), [compatible("other")]);
    assert!(draft.delegate(&keys, &both, NOW).unwrap().is_empty());
    let files = upload(&mut draft, 2);
    let accepted = accept(Some(&published), &files, &server_key(), NOW).unwrap();
    let releases = accepted.releases().unwrap();
    assert_eq!((releases[&both[0]].len(), releases[&both[1]].len()), (1, 0));
}

#[test]
fn a_folder_is_read_back_as_it_was_written() {
    let (draft, _) = served(2);
    let loaded = Draft::load(&draft.files()).unwrap();
    assert_eq!(loaded.files(), draft.files());
    assert!(matches!(Draft::load(&Files::new()), Err(DraftError::NotBegun { .. })));
}
