//! A good check, and for every fault one that has it.

use payload_tools::trust::{MAX_ROLES, MAX_ROOTS};
use serde_json::{Value, json};

use super::world::{DELEGATED, LATER, OTHER, key, key_id, root};
use super::{
    ABSENT, EARLY, NEXT_ROOT, RAW, SEARCH, SIGNED, SIGNED_BY_TWO, SIGNED_TWICE, STORED, TOO_LONG,
};
use crate::input::put_piece;

const PAST: &str = "2026-01-01T00:00:00Z";

/// The files of a check in the order in which they are asked for.
#[derive(Clone)]
struct Check {
    mode: u8,
    stored: Vec<(&'static str, Value)>,
    roots: Vec<(u8, Value)>,
    timestamp: (u8, Value),
    snapshot: (u8, Value),
    targets: (u8, Value),
    roles: Vec<(u8, Value)>,
}

fn header(kind: &str, version: u64, more: Value) -> Value {
    let mut file = json!({
        "_type": kind, "spec_version": "1.0.33", "version": version, "expires": LATER,
    });
    if let (Some(file), Value::Object(more)) = (file.as_object_mut(), more) {
        file.extend(more);
    }
    file
}

fn timestamp(version: u64, snapshot: u64) -> Value {
    header("timestamp", version, json!({ "meta": { "snapshot.json": { "version": snapshot } } }))
}

fn delegation(name: &str) -> Value {
    json!({
        "keys": { key_id(DELEGATED): key(DELEGATED).public().to_object() },
        "roles": [{
            "name": name, "keyids": [key_id(DELEGATED)], "threshold": 1, "paths": ["demo/*"],
            "terminating": true,
        }],
    })
}

fn release(counter: u64) -> Value {
    json!({
        "length": 7, "hashes": { "sha256": "5a".repeat(32) },
        "custom": {
            "release": counter.to_string(), "counter": counter, "compatible": "demo",
            "min_from": 0, "channels": ["stable"], "floor": false, "downgrade_from": null,
        },
    })
}

fn targets(delegations: &Value, targets: &Value) -> Value {
    header("targets", 1, json!({ "delegations": delegations, "targets": targets }))
}

impl Check {
    fn good() -> Self {
        let meta = json!({ "targets.json": { "version": 1 }, "demo.json": { "version": 1 } });
        let role = json!({ "demo/1.json": release(1), "demo/2.json": release(2) });
        Self {
            mode: 0,
            stored: Vec::new(),
            roots: vec![(SIGNED, root(2))],
            timestamp: (SIGNED, timestamp(1, 1)),
            snapshot: (SIGNED, header("snapshot", 1, json!({ "meta": meta }))),
            targets: (SIGNED, targets(&delegation("demo"), &json!({}))),
            roles: vec![(SIGNED, header("targets", 1, json!({ "targets": role })))],
        }
    }

    fn bytes(&self) -> Vec<u8> {
        let mut bytes = vec![self.mode];
        for (name, file) in &self.stored {
            bytes.push(STORED | SIGNED);
            put_piece(name.as_bytes(), &mut bytes);
            put_piece(file.to_string().as_bytes(), &mut bytes);
        }
        let last_root = [(ABSENT, Value::Null)];
        let rest = [&self.timestamp, &self.snapshot, &self.targets];
        for (how, file) in self.roots.iter().chain(&last_root).chain(rest).chain(&self.roles) {
            bytes.push(*how);
            put_piece(file.to_string().as_bytes(), &mut bytes);
        }
        bytes
    }
}

fn but(change: impl FnOnce(&mut Check)) -> Vec<u8> {
    let mut check = Check::good();
    change(&mut check);
    check.bytes()
}

fn set(file: &mut (u8, Value), place: &str, value: Value) {
    match file.1.pointer_mut(place) {
        Some(old) => *old = value,
        None => file.1[place.trim_start_matches('/')] = value,
    }
}

pub(super) fn seeds() -> Vec<Vec<u8>> {
    let mut all = vec![
        Check::good().bytes(),
        but(|check| check.mode = SEARCH),
        but(|check| check.mode = EARLY | SEARCH),
        but(|check| {
            (check.mode, check.roles) =
                (SEARCH, vec![(SIGNED, targets(&json!({ "keys": {}, "roles": [] }), &json!({})))])
        }),
        but(|check| check.roots = vec![(NEXT_ROOT, Value::Null); MAX_ROOTS as usize + 2]),
        but(|check| check.timestamp.0 = ABSENT),
        but(|check| check.timestamp.0 = TOO_LONG),
        but(|check| check.timestamp.0 = SIGNED_TWICE),
        but(|check| check.timestamp.0 = RAW),
        but(|check| {
            check.timestamp = (RAW, json!({ "signatures": [], "signed": timestamp(1, 1) }))
        }),
        but(|check| check.roots[0].1 = root(3)),
        but(|check| check.stored = vec![("timestamp.json", timestamp(5, 1))]),
        but(|check| check.stored = vec![("snapshot.json", timestamp(5, 1))]),
    ];
    all.extend(with_a_changed_file());
    all.push(rotated());
    all.push(endless_roles());
    all
}

/// Which file, what in it, and its new value.
fn with_a_changed_file() -> Vec<Vec<u8>> {
    type Pick = fn(&mut Check) -> &mut (u8, Value);
    let root_file: Pick = |check| &mut check.roots[0];
    let timestamp_file: Pick = |check| &mut check.timestamp;
    let snapshot_file: Pick = |check| &mut check.snapshot;
    let targets_file: Pick = |check| &mut check.targets;
    let role_file: Pick = |check| &mut check.roles[0];
    let hashes = json!({ "version": 1, "length": 2000, "hashes": { "sha256": "00".repeat(32) } });
    let no_facts = json!({ "length": 7, "hashes": { "sha256": "5a".repeat(32) } });
    let table: Vec<(Pick, &str, Value)> = vec![
        (root_file, "/roles/snapshot/threshold", 0.into()),
        (root_file, "/expires", PAST.into()),
        (timestamp_file, "/version", 0.into()),
        (timestamp_file, "/_type", "snapshot".into()),
        (timestamp_file, "/spec_version", "2.0.0".into()),
        (timestamp_file, "/expires", PAST.into()),
        (timestamp_file, "/expires", "soon".into()),
        (timestamp_file, "/signed_at", LATER.into()),
        (timestamp_file, "/meta/snapshot.json", hashes),
        (snapshot_file, "/meta", json!({ "targets.json": { "version": 1 } })),
        (targets_file, "/delegations/roles", json!([])),
        (targets_file, "/delegations/roles/0/path_hash_prefixes", json!(["00"])),
        (targets_file, "/delegations/roles/0/paths", json!(["*"])),
        (targets_file, "/delegations/roles/0/name", "targets".into()),
        (role_file, "/targets", json!({ "demo/1.json": release(1), "demo/01.json": release(1) })),
        (role_file, "/targets/demo~12.json/custom/counter", 1.into()),
        (role_file, "/targets/demo~12.json", no_facts),
        (role_file, "/targets", json!({ "other/2.json": release(2) })),
    ];
    let change = |(pick, place, value): (Pick, &str, Value)| {
        but(|check| match place.rsplit_once('/') {
            // A member that is not there yet.
            Some((parent, name)) if pick(check).1.pointer(place).is_none() => {
                if let Some(parent) = pick(check).1.pointer_mut(parent) {
                    parent[name] = value;
                }
            }
            _ => set(pick(check), place, value),
        })
    };
    table.into_iter().map(change).collect()
}

/// A new key for root.
fn rotated() -> Vec<u8> {
    let mut new = root(2);
    new["keys"][key_id(OTHER)] = key(OTHER).public().to_object();
    new["roles"]["root"]["keyids"] = json!([key_id(OTHER)]);
    but(|check| check.roots = vec![(SIGNED_BY_TWO, new)])
}

/// A chain of roles that each leave it to the next.
fn endless_roles() -> Vec<u8> {
    let name = |number: usize| format!("role-{number}");
    let count = MAX_ROLES + 4;
    but(|check| {
        check.mode = SEARCH;
        for number in 0..count {
            check.snapshot.1["meta"][format!("{}.json", name(number))] = json!({ "version": 1 });
        }
        check.targets.1 = targets(&delegation(&name(0)), &json!({}));
        let role = |number| (SIGNED, targets(&delegation(&name(number + 1)), &json!({})));
        check.roles = (0..count).map(role).collect();
    })
}
