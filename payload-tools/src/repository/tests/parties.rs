//! A server that publishes changes of who may sign, and devices that follow.

use super::{compatible, key, keys, served};
use crate::repository::{Draft, DraftError, KeyChange, Published, accept};
use crate::trust::timestamp;
use crate::trust::{
    Client, Files, KeyId, Limits, PublicKey, Reply, Role, SigningKey, Step, TrustError, Trusted,
    UnixTime,
};

pub(super) const TIMESTAMP: u8 = 77;

pub(super) fn roles() -> [Role; 5] {
    let demo = Role::from(&compatible("demo"));
    [Role::Root, Role::Targets, Role::Snapshot, Role::Timestamp, demo]
}

/// The seed of the key that a role begins with.
pub(super) fn first_key(role: &Role) -> u8 {
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
    pub(super) key: SigningKey,
    pub(super) timestamps: u64,
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
    pub(super) fn files(&mut self, now: UnixTime) -> Files {
        self.timestamps += 1;
        let meta = self.published.snapshot_meta();
        let timestamp = timestamp::sign(&meta, self.timestamps, &self.key, now).unwrap();
        let mut files = self.published.files();
        files.insert("timestamp.json".to_owned(), timestamp);
        files
    }
}

/// A device, with what it has stored so far.
pub(super) struct Device {
    pub(super) first_root: Vec<u8>,
    pub(super) stored: Files,
}

impl Device {
    pub(super) fn of(server: &Server) -> Self {
        Self { first_root: server.published.files()["1.root.json"].clone(), stored: Files::new() }
    }

    pub(super) fn check(&mut self, files: &Files, now: UnixTime) -> Result<Trusted, TrustError> {
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
pub(super) fn rotate(draft: &mut Draft, role: &Role, new: u8, now: UnixTime) {
    let changes = [KeyChange::Revoke(id(first_key(role))), KeyChange::Add(public(new))];
    draft.change_keys(role, &changes, now).unwrap();
}

pub(super) fn with(seeds: &[u8]) -> Vec<SigningKey> {
    keys().into_iter().chain(seeds.iter().copied().map(key)).collect()
}
