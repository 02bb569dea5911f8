//! A draft on a stick that passed through a stranger's hands: what nobody is shown is not signed, and
//! what somebody signed is not lost.

use super::parties::{Server, TIMESTAMP, id, public};
use super::signatures::changed;
use super::{NOW, compatible, key, keys, seed, sign};
use crate::repository::{Draft, DraftError, KeyChange, PublisherFolder, State, TimestampKey};
use crate::trust::metadata::{self, Header, Root};
use crate::trust::{Files, Role};

const SNAPSHOT: &str = "3.snapshot.json";

/// A release with the snapshot that names it.
fn release(server: &Server) -> Draft {
    let mut draft = server.draft();
    sign(&mut draft, "2", 2).unwrap();
    draft.take_snapshot(NOW).unwrap();
    draft
}

fn load(server: &Server, files: &Files) -> Result<Draft, DraftError> {
    Draft::load(Some((&server.published).into()), files)
}

#[test]
fn a_snapshot_that_was_changed_on_its_way_is_not_signed() {
    let server = Server::new();
    let draft = release(&server);
    let files = draft.files();
    assert!(load(&server, &files).unwrap().files().contains_key(SNAPSHOT));
    type Change = fn(&mut serde_json::Value);
    let changes: [Change; 4] = [
        |snapshot| snapshot["signed"]["x-note"] = "hidden".into(),
        |snapshot| snapshot["signed"]["meta"]["demo.json"]["version"] = 9.into(),
        |snapshot| snapshot["signed"]["meta"]["demo.json"]["length"] = 9.into(),
        |snapshot| snapshot["signed"]["meta"]["other.json"] = serde_json::json!({ "version": 7 }),
    ];
    for change in changes {
        let files = changed(&files, SNAPSHOT, change);
        let mut loaded = load(&server, &files).unwrap();
        loaded.sign(&keys()).unwrap();
        assert!(!loaded.files().contains_key(SNAPSHOT));
        let mut merged = draft.decided();
        merged.merge(&files).unwrap();
        merged.sign(&keys()).unwrap();
        assert!(!merged.files().contains_key(SNAPSHOT));
    }
    // Devices would believe it for ever; its date is shown, and a publisher makes it anew.
    let late = changed(&files, SNAPSHOT, |snapshot| {
        snapshot["signed"]["expires"] = "2099-01-01T00:00:00Z".into();
    });
    let mut loaded = load(&server, &late).unwrap();
    loaded.settle_snapshot(NOW);
    assert!(!loaded.files().contains_key(SNAPSHOT));
    let mut loaded = load(&server, &files).unwrap();
    loaded.settle_snapshot(NOW);
    assert!(loaded.files().contains_key(SNAPSHOT));
}

/// Another change waits for signatures: who signs the release's snapshot is shown what it names.
#[test]
fn a_snapshot_goes_ahead_of_changes_that_it_does_not_name() {
    let server = Server::new();
    let mut whole = server.draft();
    whole.add_role(&compatible("other"), &seed("other"), NOW).unwrap();
    whole.absorb(release(&server));
    let mut loaded = load(&server, &whole.files()).unwrap();
    assert!(loaded.files().contains_key(SNAPSHOT));
    let said = loaded.statement(&keys()).unwrap().to_string();
    assert!(said.contains("current    targets 1, demo 3\n"), "{said}");
    loaded.settle_snapshot(NOW);
    assert!(!loaded.files().contains_key(SNAPSHOT));
}

#[test]
fn every_key_that_is_shown_can_verify() {
    let server = Server::new();
    let mut draft = server.draft();
    draft.change_keys(&Role::Root, &[KeyChange::Add(public(60))], NOW).unwrap();
    let demo = Role::from(&compatible("demo"));
    draft.change_keys(&demo, &[KeyChange::Add(public(60))], NOW).unwrap();
    let files = draft.files();
    load(&server, &files).unwrap();
    let own = id(60).to_string();
    for (name, list) in
        [("2.root.json", "/signed/keys"), ("2.targets.json", "/signed/delegations/keys")]
    {
        type Change<'a> = &'a dyn Fn(&mut serde_json::Value);
        let other = public(61).to_object();
        let changes: [Change<'_>; 4] = [
            &|keys| keys[&own] = other.clone(),
            &|keys| keys[&own]["x-note"] = "hidden".into(),
            &|keys| _ = keys.as_object_mut().unwrap().remove(&own),
            &|keys| keys[id(61).to_string()] = other.clone(),
        ];
        for (at, change) in changes.into_iter().enumerate() {
            let files = changed(&files, name, |file| change(file.pointer_mut(list).unwrap()));
            let loaded = load(&server, &files);
            assert!(matches!(loaded, Err(DraftError::Foreign { .. })), "{name} {at}");
        }
    }
}

#[test]
fn an_id_without_a_key_signs_no_timestamp() {
    let mut published = Server::new().published;
    assert_eq!(published.timestamp_key(&public(TIMESTAMP)), TimestampKey::Named);
    let mut root = Root::clone(published.chain.root());
    root.keys.remove(&id(TIMESTAMP));
    let header = Header::new::<Root>(2, NOW.plus_days(9));
    published.chain.advance(&metadata::sign(&header, &root, &[&key(0)]).unwrap()).unwrap();
    assert_eq!(published.timestamp_key(&public(TIMESTAMP)), TimestampKey::NotNamed);
}

#[test]
fn what_was_published_with_other_signatures_is_no_draft_any_more() {
    let mut server = Server::new();
    let mut draft = server.draft();
    draft.change_keys(&Role::Root, &[KeyChange::Add(public(60))], NOW).unwrap();
    let unsigned = draft.files();
    server
        .publish(&keys(), NOW, |published| {
            published.change_keys(&Role::Root, &[KeyChange::Add(public(60))], NOW).unwrap();
        })
        .unwrap();
    assert!(load(&server, &unsigned).unwrap().changes_nothing());
    // Also when more was published since.
    server.publish(&keys(), NOW, |published| published.renew_root(NOW).unwrap()).unwrap();
    assert!(load(&server, &unsigned).unwrap().changes_nothing());
    let folder = tempfile::tempdir().unwrap();
    let folder = PublisherFolder::at(folder.path());
    folder.store_draft(&draft).unwrap();
    folder.store(&State::from(&server.published)).unwrap();
    assert_eq!(folder.read_draft().unwrap(), Files::new());
}

#[test]
fn a_draft_of_which_another_content_was_published_is_kept() {
    let mut server = Server::new();
    let mut theirs = server.draft();
    theirs.change_keys(&Role::Root, &[KeyChange::Add(public(61))], NOW).unwrap();
    let files = theirs.files();
    server.publish(&keys(), NOW, |draft| draft.renew_root(NOW).unwrap()).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let folder = PublisherFolder::at(folder.path());
    folder.store_draft(&theirs).unwrap();
    folder.store(&State::from(&server.published)).unwrap();
    assert_eq!(folder.read_draft().unwrap(), files);
    let error = load(&server, &files).unwrap_err();
    assert!(matches!(error, DraftError::Overtaken { version: 2, .. }), "{error:?}");
}

#[test]
fn only_files_that_a_device_would_read_are_read() {
    let folder = tempfile::tempdir().unwrap();
    let publisher = PublisherFolder::at(folder.path());
    let server = Server::new();
    let mut draft = server.draft();
    draft.renew_root(NOW).unwrap();
    publisher.store(draft.state().unwrap()).unwrap();
    publisher.store_draft(&draft).unwrap();
    let root = publisher.draft_folder().join("2.root.json");
    let bytes = std::fs::read(&root).unwrap();
    for name in ["+2.root.json", "02.root.json", "2.Root.json", "notes.json", "timestamp.json"] {
        std::fs::write(publisher.draft_folder().join(name), &bytes).unwrap();
    }
    assert_eq!(publisher.read_draft().unwrap(), draft.files());
    let odd = [("+9.root.json".to_owned(), bytes.clone())].into();
    assert!(load(&server, &odd).unwrap().changes_nothing());

    std::fs::write(&root, vec![b' '; 64 * 1024 + 1]).unwrap();
    let error = publisher.read_draft().unwrap_err().to_string();
    assert!(error.contains("2.root.json is larger than the 65536 bytes"), "{error}");
    std::fs::remove_file(&root).unwrap();
    std::os::unix::fs::symlink(publisher.first_root(), &root).unwrap();
    let error = publisher.read_draft().unwrap_err().to_string();
    assert!(error.contains("2.root.json is no regular file"), "{error}");
}
