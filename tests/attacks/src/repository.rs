//! A repository of metadata in which every role takes two of three keys, so that a thief of one
//! can be told from a thief of two.
//!
//! It shares no code with the publisher's: what a thief signs, no publisher would.

use std::collections::BTreeMap;

use ed25519_dalek::Signer;
use payload_tools::format::Hash;
use payload_tools::trust::{SigningKey, UnixTime};
use seesaw_e2e::COMPATIBLE;
use serde::Deserialize;
use serde_json::{Map, Value, json};

const ROOT: &str = "root";
const TIMESTAMP: &str = "timestamp";
const SNAPSHOT: &str = "snapshot";
const TARGETS: &str = "targets";

/// Keys that must sign for a role.
const THRESHOLD: usize = 2;
const KEYS: u8 = 3;

/// Something that is signed. What depends on it is not: that is signed by another act.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Act {
    /// A release is listed, or its facts are changed.
    List {
        /// Its counter, and name.
        release: u64,
        /// What is signed otherwise than usual.
        #[serde(default)]
        facts: Map<String, Value>,
    },
    /// A release is listed no longer.
    Withdraw(u64),
    /// New keys for a role; who names its keys must sign.
    Rotate(String),
    /// The attacker's keys for a role.
    Usurp(String),
    /// The next version of a role, linked to what is there.
    Sign {
        /// The role.
        role: String,
        /// How many of its keys sign.
        #[serde(default = "threshold")]
        keys: usize,
        /// Its version, if not the next.
        version: Option<u64>,
        /// Hours that it is good for, if not as usual.
        hours: Option<i64>,
        /// When a timestamp says that it was signed, in hours from now.
        signed_in_hours: Option<i64>,
    },
    /// Every role that says what is current, in order.
    Publish,
    /// A role goes back to what it was.
    Revert {
        /// The role.
        role: String,
        /// The version that it had.
        version: u64,
    },
    /// A file with the content of another.
    Serve {
        /// Its name.
        file: String,
        /// The name of the other.
        from: String,
    },
}

fn threshold() -> usize {
    THRESHOLD
}

#[derive(Clone, Debug)]
struct Role {
    /// What its keys are made from.
    seeds: Vec<u8>,
    version: u64,
    hours: i64,
    file: Vec<u8>,
}

/// Everything that was ever signed, and the keys.
#[derive(Clone, Debug)]
pub struct Repository {
    roles: BTreeMap<String, Role>,
    /// Keys of the root before, which sign its successor too.
    root_before: Vec<u8>,
    next_seed: u8,
    /// What each release that has a payload would be listed as.
    known: BTreeMap<u64, Value>,
    listed: BTreeMap<u64, Value>,
    files: BTreeMap<String, Vec<u8>>,
}

impl Repository {
    /// One that lists release 1. `known` is what the publisher's own repository lists.
    pub fn of(known: BTreeMap<u64, Value>) -> Self {
        let mut repository = Self {
            roles: BTreeMap::new(),
            root_before: Vec::new(),
            next_seed: 1,
            known,
            listed: BTreeMap::new(),
            files: BTreeMap::new(),
        };
        let day = 24;
        for (name, hours) in [
            (ROOT, 730 * day),
            (TIMESTAMP, 2 * day),
            (SNAPSHOT, 90 * day),
            (TARGETS, 365 * day),
            (COMPATIBLE, 365 * day),
        ] {
            let seeds = repository.new_seeds();
            let role = Role { seeds, version: 0, hours, file: Vec::new() };
            repository.roles.insert(name.to_owned(), role);
        }
        repository.list(1, &Map::new());
        for role in [ROOT, TARGETS, COMPATIBLE, SNAPSHOT, TIMESTAMP] {
            repository.sign(role, THRESHOLD, Signing::default());
        }
        repository
    }

    /// The root of trust that the device's image has.
    pub fn first_root(&self) -> &[u8] {
        &self.files["1.root.json"]
    }

    /// What a server shows, past versions of the timestamp beside it.
    pub fn files(&self) -> &BTreeMap<String, Vec<u8>> {
        &self.files
    }

    /// Does what is said.
    pub fn act(&mut self, act: &Act) {
        match act {
            Act::List { release, facts } => self.list(*release, facts),
            Act::Withdraw(release) => _ = self.listed.remove(release),
            Act::Rotate(role) | Act::Usurp(role) => {
                let seeds = self.new_seeds();
                self.role(role).seeds = seeds;
            }
            Act::Sign { role, keys, version, hours, signed_in_hours } => {
                let (version, hours) = (*version, *hours);
                self.sign(role, *keys, Signing { version, hours, signed_in: *signed_in_hours });
            }
            Act::Publish => {
                for role in [COMPATIBLE, SNAPSHOT, TIMESTAMP] {
                    self.sign(role, THRESHOLD, Signing::default());
                }
            }
            Act::Revert { role, version } => {
                let file = self.files[&format!("{version}.{role}.json")].clone();
                let role = self.role(role);
                (role.version, role.file) = (*version, file);
            }
            Act::Serve { file, from } => {
                let bytes = self.files[from].clone();
                self.files.insert(file.clone(), bytes);
            }
        }
    }

    fn new_seeds(&mut self) -> Vec<u8> {
        let first = self.next_seed;
        self.next_seed += KEYS;
        (first..self.next_seed).collect()
    }

    fn role(&mut self, name: &str) -> &mut Role {
        self.roles.get_mut(name).unwrap_or_else(|| panic!("there is no role {name}"))
    }

    fn list(&mut self, release: u64, facts: &Map<String, Value>) {
        let mut target = self.known[&release].clone();
        for (name, value) in facts {
            target["custom"][name] = value.clone();
        }
        self.listed.insert(release, target);
    }

    fn sign(&mut self, name: &str, keys: usize, how: Signing) {
        let hours = how.hours.unwrap_or(self.roles[name].hours);
        let version = how.version.unwrap_or(self.roles[name].version + 1);
        let mut body = match name {
            ROOT => self.root(),
            TARGETS => self.targets(),
            SNAPSHOT => json!({ "meta": self.metas(&[TARGETS, COMPATIBLE]) }),
            TIMESTAMP => json!({
                "meta": self.metas(&[SNAPSHOT]),
                "signed_at": in_hours(how.signed_in.unwrap_or(0)),
            }),
            _ => {
                json!({ "targets": self.listed.iter().map(path_and_target).collect::<Map<_, _>>() })
            }
        };
        let kind = if name == COMPATIBLE { TARGETS } else { name };
        body["_type"] = kind.into();
        body["spec_version"] = "1.0.33".into();
        body["version"] = version.into();
        body["expires"] = in_hours(hours).into();
        let mut signers: Vec<u8> = self.roles[name].seeds[..keys].to_vec();
        if name == ROOT {
            // A thief of so many of the old keys; his own are all his.
            let before = self.root_before.iter().copied().take(keys);
            let own = &self.roles[ROOT].seeds;
            signers = if self.root_before == *own || self.root_before.is_empty() {
                own[..keys].to_vec()
            } else {
                before.chain(own[..THRESHOLD].iter().copied()).collect()
            };
            self.root_before = own.clone();
        }
        let file = signed(&body, &signers);
        let role = self.role(name);
        (role.version, role.file) = (version, file.clone());
        self.files.insert(format!("{version}.{name}.json"), file.clone());
        if name == TIMESTAMP {
            self.files.insert("timestamp.json".to_owned(), file);
        }
    }

    /// What one role's file says of others.
    fn metas(&self, names: &[&str]) -> Map<String, Value> {
        let meta = |name: &&str| {
            let Role { version, file, .. } = &self.roles[*name];
            let hashes = json!({ "sha256": Hash::of(file).to_string() });
            let meta = json!({ "version": version, "length": file.len(), "hashes": hashes });
            (format!("{name}.json"), meta)
        };
        names.iter().map(meta).collect()
    }

    fn keys(&self, names: &[&str]) -> Map<String, Value> {
        let seeds = names.iter().flat_map(|name| &self.roles[*name].seeds);
        seeds.map(|&seed| (key_id(seed), key(seed).public().to_object())).collect()
    }

    fn signers(&self, name: &str) -> Value {
        let ids: Vec<String> = self.roles[name].seeds.iter().map(|&seed| key_id(seed)).collect();
        json!({ "keyids": ids, "threshold": THRESHOLD })
    }

    fn root(&self) -> Value {
        let top = [ROOT, TARGETS, SNAPSHOT, TIMESTAMP];
        let roles: Map<_, _> =
            top.iter().map(|name| ((*name).to_owned(), self.signers(name))).collect();
        json!({ "consistent_snapshot": true, "keys": self.keys(&top), "roles": roles })
    }

    fn targets(&self) -> Value {
        let mut role = self.signers(COMPATIBLE);
        role["name"] = COMPATIBLE.into();
        role["paths"] = json!([format!("{COMPATIBLE}/*")]);
        role["terminating"] = true.into();
        let delegations = json!({ "keys": self.keys(&[COMPATIBLE]), "roles": [role] });
        json!({ "targets": {}, "delegations": delegations })
    }
}

/// What is signed otherwise than usual.
#[derive(Clone, Copy, Debug, Default)]
struct Signing {
    version: Option<u64>,
    hours: Option<i64>,
    signed_in: Option<i64>,
}

fn path_and_target((counter, target): (&u64, &Value)) -> (String, Value) {
    (format!("{COMPATIBLE}/{counter}.json"), target.clone())
}

fn key(seed: u8) -> SigningKey {
    SigningKey::from_seed(&[seed; 32])
}

fn key_id(seed: u8) -> String {
    key(seed).public().id().to_string()
}

fn in_hours(hours: i64) -> String {
    UnixTime::from_secs(UnixTime::of_system_clock().as_secs() + hours * 3600).to_string()
}

/// A file of metadata. Maps of `serde_json` are sorted, and nothing here needs an escape, so what it
/// writes is the canonical form.
fn signed(body: &Value, seeds: &[u8]) -> Vec<u8> {
    let message = body.to_string();
    let sign = |&seed: &u8| {
        let signature = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]).sign(message.as_bytes());
        json!({ "keyid": key_id(seed), "sig": hex::encode(signature.to_bytes()) })
    };
    let signatures: Vec<Value> = seeds.iter().map(sign).collect();
    json!({ "signatures": signatures, "signed": body }).to_string().into_bytes()
}
