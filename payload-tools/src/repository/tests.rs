use super::{Birth, Draft, DraftError, Published, RoleSeed, Signing, State, UploadError, accept};
use crate::format::{Compatible, Hash, Image, Manifest, ReleaseFacts, Role as ImageRole, Salt};
use crate::trust::{Files, Misbehaviour, PublicKey, Role, SigningKey, TrustError, UnixTime};

mod folders;
mod parties;
mod rotation;
mod signatures;
mod strangers;

const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);

const ROLES: [&str; 5] = ["root", "targets", "snapshot", "demo", "other"];

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

/// A key for each role, in their order.
fn keys() -> Vec<SigningKey> {
    (0..5).map(key).collect()
}

fn seed(name: &str) -> RoleSeed {
    let at = ROLES.iter().position(|role| *role == name).unwrap();
    keys()[at].public().clone().into()
}

fn compatible(name: &str) -> Compatible {
    name.parse().unwrap()
}

fn server_key() -> PublicKey {
    key(77).public().clone()
}

fn birth() -> Birth {
    Birth {
        root: seed("root"),
        targets: seed("targets"),
        snapshot: seed("snapshot"),
        timestamp: server_key(),
        compatibles: [(compatible("demo"), seed("demo"))].into(),
    }
}

/// A publisher's state, and what is signed on top of it.
fn begin() -> Draft {
    let mut draft = Draft::begin(&birth(), NOW).unwrap();
    draft.sign(&keys()).unwrap();
    Draft::on(Some(draft.finish().unwrap()))
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
    let mut next = draft.clone();
    let signing = next.list_release(&facts, &manifest.to_bytes().unwrap(), &manifest, NOW)?;
    next.sign(&keys())?;
    next.finish()?;
    *draft = next;
    Ok(signing)
}

/// The draft's files with the snapshot that comes next.
fn upload(draft: &Draft) -> Files {
    upload_at(draft, NOW)
}

fn upload_at(draft: &Draft, now: UnixTime) -> Files {
    signed_by(draft, &keys(), now).files()
}

fn signed_by(draft: &Draft, keys: &Vec<SigningKey>, now: UnixTime) -> State {
    let mut draft = draft.clone();
    draft.sign(keys).unwrap();
    draft.take_snapshot(now).unwrap();
    draft.sign(keys).unwrap();
    draft.finish().unwrap()
}

/// A server with releases up to that counter, one publication each, and the publisher's state.
fn served(up_to: u64) -> (Draft, Published) {
    let mut draft = begin();
    let files = upload(&draft);
    let mut published = accept(None, &files, &[server_key()], NOW).unwrap().published().clone();
    for counter in 1..=up_to {
        draft = Draft::on(Some((&published).into()));
        sign(&mut draft, &counter.to_string(), counter).unwrap();
        let accepted = accept(Some(&published), &upload(&draft), &[server_key()], NOW).unwrap();
        published = accepted.published().clone();
    }
    (Draft::on(Some((&published).into())), published)
}

fn refused(published: Option<&Published>, files: &Files) -> UploadError {
    accept(published, files, &[server_key()], NOW).unwrap_err()
}

#[test]
fn publications_follow_one_another() {
    let (mut draft, published) = served(2);
    sign(&mut draft, "3", 3).unwrap();
    let files = upload(&draft);
    let accepted = accept(Some(&published), &files, &[server_key()], NOW).unwrap();
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
    let (_, published) = served(1);
    for draft in [begin(), served(0).0, served(2).0] {
        let error = refused(Some(&published), &upload(&draft));
        assert!(matches!(error, UploadError::Conflict { expected: 3 }), "{error:?}");
    }
    let files = upload(&served(3).0);
    assert!(matches!(refused(None, &files), UploadError::Conflict { expected: 1 }));
}

#[test]
fn nothing_published_goes_back_or_drops_out() {
    let (_, published) = served(2);
    // A publisher whose folder is from the beginning and who ignores what was published.
    let mut stale = begin().state().cloned().unwrap();
    stale.snapshot = Some(published.snapshot.clone());
    let files = upload(&Draft::on(Some(stale)));
    let UploadError::Trust(TrustError::Misbehaved { fault, .. }) =
        refused(Some(&published), &files)
    else {
        panic!("taken")
    };
    assert!(matches!(fault, Misbehaviour::Rollback { trusted: 3, offered: 1, .. }), "{fault:?}");
}

#[test]
fn a_published_version_is_never_replaced() {
    let (_, published) = served(1);
    // The same versions, signed a second later.
    let mut twin = Draft::begin(&birth(), NOW.plus_secs(1)).unwrap();
    twin.sign(&keys()).unwrap();
    let mut twin = twin.finish().unwrap();
    twin.snapshot = Some(published.snapshot.clone());
    let mut other = Draft::on(Some(twin));
    sign(&mut other, "9", 9).unwrap();
    assert!(accept(Some(&published), &upload(&other), &[server_key()], NOW).is_err());
    // The publisher who takes over what is there is heard.
    let mut other = Draft::on(Some((&published).into()));
    sign(&mut other, "9", 9).unwrap();
    accept(Some(&published), &upload(&other), &[server_key()], NOW).unwrap();
}

#[test]
fn a_draft_goes_on_from_what_is_published_or_says_that_it_was_overtaken() {
    let (draft, published) = served(1);
    let mut ours = draft.clone();
    sign(&mut ours, "2", 2).unwrap();
    ours.add_role(&compatible("other"), &seed("other"), NOW).unwrap();
    let files = |draft: &Draft| draft.files().into_keys().collect::<Vec<_>>();
    let wanted = ["1.other.json", "2.targets.json", "3.demo.json"];
    assert_eq!(files(&ours.clone().adopt(&published).unwrap()), wanted);

    // Just that was published: it is no change any more.
    let mut same = draft.clone();
    sign(&mut same, "2", 2).unwrap();
    let accepted = accept(Some(&published), &upload(&same), &[server_key()], NOW).unwrap();
    let adopted = ours.clone().adopt(accepted.published()).unwrap();
    assert_eq!(files(&adopted), ["1.other.json", "2.targets.json"]);

    let mut theirs = draft;
    sign(&mut theirs, "3", 3).unwrap();
    let accepted = accept(Some(&published), &upload(&theirs), &[server_key()], NOW).unwrap();
    let error = ours.adopt(accepted.published()).unwrap_err();
    assert!(matches!(error, DraftError::Overtaken { version: 3, .. }), "{error:?}");
}

#[test]
fn an_upload_is_whole_or_refused() {
    let (mut draft, published) = served(1);
    sign(&mut draft, "2", 2).unwrap();
    let files = upload(&draft);
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
        let mut files = upload(&begin());
        files.insert(name.to_owned(), b"{}".to_vec());
        assert!(matches!(refused(None, &files), UploadError::File { .. }), "{name}");
    }
    let mut files = upload(&begin());
    files.insert("7.demo.json".to_owned(), vec![b' '; 64 * 1024 + 1]);
    assert!(matches!(refused(None, &files), UploadError::File { length: 65_537, .. }));
}

#[test]
fn the_first_root_names_the_servers_key() {
    let stranger = key(78).public().clone();
    let files = upload(&begin());
    let error = accept(None, &files, &[stranger], NOW).unwrap_err();
    assert!(matches!(error, UploadError::TimestampKey { .. }), "{error:?}");
}

#[test]
fn what_has_expired_is_not_published_but_replaced() {
    let (draft, published) = served(1);
    let late = NOW.plus_days(91);
    let error = accept(Some(&published), &upload(&draft), &[server_key()], late).unwrap_err();
    assert!(matches!(error, UploadError::Trust(TrustError::Misbehaved { .. })), "{error:?}");
    accept(Some(&published), &upload_at(&draft, late), &[server_key()], late).unwrap();
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
    let demo = compatible("demo");
    let name = |name: &str| vec![name.parse().unwrap()];
    let error = draft.withdraw(&demo, &name("3"), NOW).unwrap_err();
    assert!(matches!(error, DraftError::NoRelease { .. }), "{error:?}");
    draft.withdraw(&demo, &name("1"), NOW).unwrap();
    let files = upload(&draft);
    let accepted = accept(Some(&published), &files, &[server_key()], NOW).unwrap();
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
    accept(None, &upload(&draft), &[server_key()], NOW).unwrap();
    let first = format!("{:064}", 1).parse().unwrap();
    draft.withdraw(&compatible("demo"), &[first], NOW).unwrap();
    assert_eq!(sign(&mut draft, &format!("{counter:064}"), counter).unwrap(), Signing::New);
}

#[test]
fn a_root_is_renewed_with_the_same_keys() {
    let (mut draft, published) = served(1);
    let late = NOW.plus_days(731);
    let publish =
        |draft: &Draft| accept(Some(&published), &upload_at(draft, late), &[server_key()], late);
    draft.renew_roles(late).unwrap();
    let error = publish(&draft).unwrap_err();
    let UploadError::Trust(TrustError::Misbehaved { role: Role::Root, .. }) = error else {
        panic!("{error:?}")
    };
    draft.renew_root(late).unwrap();
    let accepted = publish(&draft).unwrap();
    assert!(accepted.new_files().contains_key("2.root.json"));
    // The next server, and the next publisher, follow it from root 1.
    let loaded = Published::load(&accepted.published().files(), 3).unwrap();
    assert_eq!(State::from(&loaded).expiries()[0], (Role::Root, late.plus_days(730)));
}

#[test]
fn a_key_that_is_not_listed_signs_nothing() {
    let mut draft = begin();
    let mut keys = keys();
    keys[3] = key(99);
    let demo = Role::from(&compatible("demo"));
    let error = draft.can_sign(&keys, &demo).unwrap_err();
    assert!(matches!(error, DraftError::NoKey { role, .. } if role == demo));
    draft.renew_roles(NOW).unwrap();
    draft.sign(&keys).unwrap();
    let DraftError::Incomplete(standings) = draft.finish().unwrap_err() else { panic!("complete") };
    let lacking: Vec<_> = standings.iter().map(|standing| standing.role.as_str()).collect();
    assert_eq!(lacking, ["demo"]);
}

#[test]
fn a_new_compatible_begins_empty() {
    let (mut draft, published) = served(1);
    let both = [compatible("demo"), compatible("other")];
    let seed = seed("other");
    draft.add_role(&both[1], &seed, NOW).unwrap();
    let error = draft.add_role(&both[1], &seed, NOW).unwrap_err();
    assert!(matches!(error, DraftError::HasRole { .. }), "{error:?}");
    let accepted = accept(Some(&published), &upload(&draft), &[server_key()], NOW).unwrap();
    let releases = accepted.releases().unwrap();
    assert_eq!((releases[&both[0]].len(), releases[&both[1]].len()), (1, 0));
}

#[test]
fn a_folder_is_read_back_as_it_was_written() {
    let (draft, _) = served(2);
    let state = draft.state().unwrap();
    assert_eq!(State::load(&state.files()).unwrap().unwrap().files(), state.files());
    assert!(State::load(&Files::new()).unwrap().is_none());
    let first = [("1.root.json".to_owned(), state.files()["1.root.json"].clone())].into();
    assert!(matches!(State::load(&first), Err(DraftError::NotBegun { .. })));
}
