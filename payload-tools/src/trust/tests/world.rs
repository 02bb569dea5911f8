//! A repository whose every key, version and date a test can set, and a device that checks it.

use std::collections::BTreeMap;

use p256::pkcs8::EncodePrivateKey;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::format::{Compatible, ReleaseFacts};
use crate::trust::json::canonical;
use crate::trust::metadata::{
    Delegation, Delegations, FileMeta, Files, Hashes, Header, Metadata, RoleKeys, Roles, Root,
    Snapshot, SnapshotOnly, TargetFile, Targets, Timestamp, sign,
};
use crate::trust::role::{Layout, Role};
use crate::trust::{
    Client, KeyId, Limits, PublicKey, Reply, RoleName, SigningKey, Step, TrustError, Trusted,
    UnixTime,
};

pub(super) const NOW: UnixTime = UnixTime::from_secs(1_800_000_000);
pub(super) const DAY: i64 = 86_400;
pub(super) const COMPATIBLE: &str = "demo";

/// Roles by their names in [`World::set`]: the delegated one is `demo`.
pub(super) const ROLES: [&str; 5] = ["root", "timestamp", "snapshot", "targets", COMPATIBLE];

pub(super) fn compatible() -> Compatible {
    COMPATIBLE.parse().unwrap()
}

/// How a role's file is signed.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Signed {
    /// By every key of the role.
    Well,
    /// By the first of its keys alone.
    ByOne,
    /// By a key that nothing lists.
    ByStranger,
    /// In the name of its keys, over other bytes.
    Wrongly,
    /// By one key under its own id and this one.
    ByOneTwice(KeyId),
    /// By nobody.
    ByNobody,
}

pub(super) struct RoleState {
    pub keys: Vec<SigningKey>,
    pub threshold: u32,
    pub version: u64,
    pub expires: UnixTime,
    pub signed: Signed,
    pub spec_version: &'static str,
}

pub(super) struct World {
    roles: BTreeMap<&'static str, RoleState>,
    pub facts: Vec<(String, ReleaseFacts)>,
    pub signed_at: Option<UnixTime>,
    pub layout: Layout,
    pub delegation: Delegation,
    /// What the snapshot names besides what is there.
    pub phantoms: BTreeMap<String, FileMeta>,
    /// Roots of before.
    pub roots: Files,
    /// The keys of the last of them.
    predecessors: Vec<SigningKey>,
}

pub(super) fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

pub(super) fn p256_key() -> SigningKey {
    let key = p256::ecdsa::SigningKey::from_slice(&[7; 32]).unwrap();
    SigningKey::from_pem(&key.to_pkcs8_pem(Default::default()).unwrap()).unwrap()
}

/// A key's object with a field that we do not know, which gives it another id.
pub(super) fn noted(key: &PublicKey) -> Value {
    let mut object = key.to_object();
    object["x-note"] = json!("the same key");
    object
}

pub(super) fn key_id(object: &Value) -> KeyId {
    KeyId::try_from(hex::encode(Sha256::digest(canonical(object)))).unwrap()
}

pub(super) fn facts(counter: u64) -> ReleaseFacts {
    ReleaseFacts {
        release: counter.to_string().parse().unwrap(),
        counter,
        compatible: compatible(),
        min_from: 0,
        channels: vec!["stable".parse().unwrap()],
        floor: false,
        downgrade_from: None,
    }
}

impl World {
    pub(super) fn new() -> Self {
        let role = |(seed, name): (usize, &&'static str)| {
            let state = RoleState {
                keys: vec![key(seed as u8 + 1)],
                threshold: 1,
                version: 1,
                expires: UnixTime::from_secs(NOW.as_secs() + DAY),
                signed: Signed::Well,
                spec_version: "1.0.33",
            };
            (*name, state)
        };
        Self {
            roles: ROLES.iter().enumerate().map(role).collect(),
            facts: vec![("demo/2.json".to_owned(), facts(2))],
            signed_at: Some(NOW),
            layout: Layout::Consistent,
            delegation: Delegation {
                name: RoleName::from(&compatible()),
                keys: RoleKeys { keyids: Vec::new(), threshold: 1 },
                paths: Some(vec!["demo/*".to_owned()]),
                path_hash_prefixes: None,
                terminating: true,
            },
            phantoms: BTreeMap::new(),
            roots: Files::new(),
            predecessors: Vec::new(),
        }
    }

    /// Every version but root's at 5.
    pub(super) fn at_five() -> Self {
        let mut world = Self::new();
        for role in &ROLES[1..] {
            world.set(role).version = 5;
        }
        world
    }

    pub(super) fn set(&mut self, role: &str) -> &mut RoleState {
        self.roles.get_mut(role).unwrap()
    }

    fn keys(&self, role: &str) -> RoleKeys {
        let state = &self.roles[role];
        let keyids = state.keys.iter().map(|key| key.public().id().clone()).collect();
        RoleKeys { keyids, threshold: state.threshold }
    }

    fn listed(&self, roles: &[&str]) -> BTreeMap<KeyId, Value> {
        let keys = roles.iter().flat_map(|role| &self.roles[role].keys);
        keys.map(|key| (key.public().id().clone(), key.public().to_object())).collect()
    }

    fn file<T: Metadata>(&self, role: &str, body: &T) -> Vec<u8> {
        let state = &self.roles[role];
        let mut header = Header::new::<T>(state.version, state.expires);
        header.spec_version = state.spec_version.to_owned();
        let mut all: Vec<_> = state.keys.iter().collect();
        if role == "root" {
            let others = |key: &&SigningKey| all.iter().all(|own| own.public() != key.public());
            let others: Vec<_> = self.predecessors.iter().filter(others).collect();
            all.extend(others);
        }
        match &state.signed {
            Signed::Well => sign(&header, body, &all).unwrap(),
            Signed::ByOne => sign(&header, body, &all[..1]).unwrap(),
            Signed::ByStranger => sign(&header, body, &[&key(99)]).unwrap(),
            Signed::ByNobody => sign(&header, body, &[]).unwrap(),
            Signed::ByOneTwice(alias) => twice(&sign(&header, body, &all[..1]).unwrap(), alias),
            Signed::Wrongly => {
                let mut file: Value =
                    serde_json::from_slice(&sign(&header, body, &all).unwrap()).unwrap();
                file["signatures"][0]["sig"] = all[0].sign(b"something else").into();
                canonical(&file)
            }
        }
    }

    /// Root 1 and its successors so far.
    pub(super) fn root(&self) -> Vec<u8> {
        let keys = self.listed(&["root", "timestamp", "snapshot", "targets"]);
        let roles = Roles {
            root: self.keys("root"),
            targets: self.keys("targets"),
            snapshot: self.keys("snapshot"),
            timestamp: self.keys("timestamp"),
        };
        let consistent_snapshot = self.layout == Layout::Consistent;
        self.file("root", &Root { consistent_snapshot, keys, roles })
    }

    pub(super) fn role_file(&self) -> Vec<u8> {
        let target = |(path, facts): &(String, ReleaseFacts)| {
            let manifest = facts.release.as_str().as_bytes();
            let hashes = Hashes::of(manifest);
            let custom = Some(serde_json::to_value(facts).unwrap());
            (path.clone(), TargetFile { custom, hashes, length: manifest.len() as u64 })
        };
        let targets = self.facts.iter().map(target).collect();
        self.file(COMPATIBLE, &Targets { delegations: None, targets })
    }

    pub(super) fn targets_file(&self) -> Vec<u8> {
        let mut delegation = self.delegation.clone();
        delegation.keys = self.keys(COMPATIBLE);
        let keys = self.listed(&[COMPATIBLE]);
        let delegations = Some(Delegations { keys, roles: vec![delegation] });
        self.file("targets", &Targets { delegations, targets: BTreeMap::new() })
    }

    /// Everything as a server has it.
    pub(super) fn files(&self) -> Files {
        let version = |role: &str| self.roles[role].version;
        let (role, targets) = (self.role_file(), self.targets_file());
        let mut meta = self.phantoms.clone();
        meta.entry("demo.json".to_owned()).or_insert(FileMeta::of(version(COMPATIBLE), &role));
        meta.entry("targets.json".to_owned()).or_insert(FileMeta::of(version("targets"), &targets));
        let snapshot = self.file("snapshot", &Snapshot { meta });
        let meta = SnapshotOnly { snapshot: FileMeta::of(version("snapshot"), &snapshot) };
        let timestamp = self.file("timestamp", &Timestamp { meta, signed_at: self.signed_at });
        let mut files = self.roots.clone();
        let mut publish = |role: Role, version: u64, bytes: Vec<u8>| {
            files.insert(role.published_name(self.layout, version), bytes);
        };
        publish(Role::Root, version("root"), self.root());
        publish(Role::Timestamp, version("timestamp"), timestamp);
        publish(Role::Snapshot, version("snapshot"), snapshot);
        publish(Role::Targets, version("targets"), targets);
        publish(Role::from(&compatible()), version(COMPATIBLE), role);
        files
    }

    /// Goes on to the next root, which the present root's keys sign as well.
    pub(super) fn next_root(&mut self, change: impl FnOnce(&mut Self)) {
        self.roots.insert(format!("{}.root.json", self.roles["root"].version), self.root());
        let copy = |key: &SigningKey| SigningKey::from_pem(&key.to_pem().unwrap()).unwrap();
        self.predecessors = self.roles["root"].keys.iter().map(copy).collect();
        self.set("root").version += 1;
        change(self);
    }
}

fn twice(file: &[u8], alias: &KeyId) -> Vec<u8> {
    let mut file: Value = serde_json::from_slice(file).unwrap();
    let mut again = file["signatures"][0].clone();
    again["keyid"] = json!(alias);
    file["signatures"].as_array_mut().unwrap().push(again);
    canonical(&file)
}

/// A device that trusts the root 1 of `World::new`.
pub(super) struct Device {
    pub first_root: Vec<u8>,
    pub stored: Files,
    pub now: UnixTime,
}

impl Device {
    pub(super) fn new() -> Self {
        Self::trusting(&World::new())
    }

    pub(super) fn trusting(world: &World) -> Self {
        Self { first_root: world.root(), stored: Files::new(), now: NOW }
    }

    pub(super) fn client(&self) -> Client {
        let (client, refused) =
            Client::new(&self.first_root, &self.stored, &compatible(), self.now, Limits::default())
                .unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        client
    }

    /// One check; what was accepted is stored, also of a check that failed.
    pub(super) fn check(&mut self, files: &Files) -> Result<Trusted, TrustError> {
        let mut client = self.client();
        let result = run(&mut client, files);
        self.stored = client.files();
        result.and_then(|_| client.finish())
    }
}

/// Feeds the client from `files`; the names that it asked for are returned.
pub(super) fn run(client: &mut Client, files: &Files) -> Result<Vec<String>, TrustError> {
    let mut asked = Vec::new();
    while let Step::Fetch { path, .. } = client.next() {
        let reply = files.get(&path).cloned().map_or(Reply::NotFound, Reply::Bytes);
        asked.push(path);
        client.feed(reply)?;
    }
    Ok(asked)
}
