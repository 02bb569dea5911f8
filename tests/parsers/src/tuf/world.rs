//! The keys of a repository, and files signed with them.

use std::sync::OnceLock;

use payload_tools::keyring::Signer;
use payload_tools::trust::SigningKey;
use serde_json::{Value, json};

use super::{SIGNED, SIGNED_BY_TWO, SIGNED_TWICE};

pub(super) const LATER: &str = "2028-01-01T00:00:00Z";

/// Root's key, those of the roles below, that of every delegated role, one more.
pub(super) const ROOT: usize = 0;
pub(super) const TIMESTAMP: usize = 1;
pub(super) const SNAPSHOT: usize = 2;
pub(super) const TARGETS: usize = 3;
pub(super) const DELEGATED: usize = 4;
pub(super) const OTHER: usize = 5;

fn keys() -> &'static Vec<SigningKey> {
    static KEYS: OnceLock<Vec<SigningKey>> = OnceLock::new();
    KEYS.get_or_init(|| (1..=6).map(|seed| SigningKey::from_seed(&[seed; 32])).collect())
}

pub(super) fn key(index: usize) -> &'static SigningKey {
    &keys()[index]
}

pub(super) fn key_id(index: usize) -> String {
    key(index).public().id().to_string()
}

fn key_of(file: &str) -> &'static SigningKey {
    key(match file.rsplit('.').nth(1).unwrap_or_default() {
        "root" => ROOT,
        "timestamp" => TIMESTAMP,
        "snapshot" => SNAPSHOT,
        "targets" => TARGETS,
        _ => DELEGATED,
    })
}

/// The bytes of the file of that name: as they are, or as what its role signs.
pub(super) fn answer(how: u8, file: &str, bytes: &[u8]) -> Vec<u8> {
    let key_of_file = key_of(file);
    match how {
        SIGNED => signed(bytes, &[key_of_file]),
        SIGNED_BY_TWO => signed(bytes, &[key_of_file, key(OTHER)]),
        SIGNED_TWICE => signed(bytes, &[key_of_file, key_of_file]),
        _ => bytes.to_vec(),
    }
}

/// What is no JSON cannot be signed.
fn signed(bytes: &[u8], signers: &[&SigningKey]) -> Vec<u8> {
    let Ok(signed) = serde_json::from_slice::<Value>(bytes) else { return bytes.to_vec() };
    // The canonical form, but for texts that JSON escapes and metadata does not.
    let message = serde_json::to_vec(&signed).unwrap_or_default();
    let sign = |key: &&SigningKey| {
        let id = key.public().id();
        let sig = keys().sign(id, &message).expect("one of the keys");
        json!({ "keyid": id.to_string(), "sig": sig })
    };
    let signatures: Vec<_> = signers.iter().map(sign).collect();
    serde_json::to_vec(&json!({ "signatures": signatures, "signed": signed })).unwrap_or_default()
}

pub(super) fn root(version: u64) -> Value {
    let one = |index: usize| json!({ "keyids": [key_id(index)], "threshold": 1 });
    let keys: serde_json::Map<_, _> = [ROOT, TIMESTAMP, SNAPSHOT, TARGETS]
        .iter()
        .map(|&index| (key_id(index), key(index).public().to_object()))
        .collect();
    json!({
        "_type": "root", "spec_version": "1.0.33", "version": version, "expires": LATER,
        "consistent_snapshot": true, "keys": keys,
        "roles": {
            "root": one(ROOT), "timestamp": one(TIMESTAMP), "snapshot": one(SNAPSHOT),
            "targets": one(TARGETS),
        },
    })
}

pub(super) fn root_of_version(version: u64) -> Vec<u8> {
    signed(root(version).to_string().as_bytes(), &[key(ROOT)])
}

pub(super) fn first_root() -> Vec<u8> {
    static FIRST: OnceLock<Vec<u8>> = OnceLock::new();
    FIRST.get_or_init(|| root_of_version(1)).clone()
}
