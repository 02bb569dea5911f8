//! A repository with any graph of delegations, over the top-level keys of [`World::new`].

use std::collections::{BTreeMap, BTreeSet};

use super::world::{DAY, NOW, World, key, run};
use crate::trust::metadata::{
    Delegation, Delegations, FileMeta, Files, Hashes, Header, Metadata, RoleKeys, Snapshot,
    SnapshotOnly, TargetFile, Targets, Timestamp, sign,
};
use crate::trust::role::{Layout, Role, RoleName};
use crate::trust::{Client, Limits, SigningKey, Target, TrustError, UnixTime};

#[derive(Clone)]
pub(super) struct Edge {
    from: String,
    to: String,
    paths: Option<Vec<String>>,
    prefixes: Option<Vec<String>>,
    terminating: bool,
    /// Whether the key that this delegation names signs the role.
    signs: bool,
}

/// A delegation of everything without a folder, with a key of its own, that does not terminate.
pub(super) fn edge(from: &str, to: &str) -> Edge {
    let (from, to) = (from.to_owned(), to.to_owned());
    Edge {
        from,
        to,
        paths: Some(vec!["*".into()]),
        prefixes: None,
        terminating: false,
        signs: true,
    }
}

impl Edge {
    pub(super) fn paths(self, paths: &[&str]) -> Self {
        let paths = paths.iter().map(|&path| path.to_owned()).collect();
        Self { paths: Some(paths), ..self }
    }

    pub(super) fn bin(self, prefixes: &[&str]) -> Self {
        let prefixes = prefixes.iter().map(|&prefix| prefix.to_owned()).collect();
        Self { prefixes: Some(prefixes), paths: None, ..self }
    }

    pub(super) fn paths_and_bin(self, prefixes: &[&str]) -> Self {
        let paths = self.paths.clone();
        Self { paths, ..self.bin(prefixes) }
    }

    pub(super) fn terminating(self) -> Self {
        Self { terminating: true, ..self }
    }

    pub(super) fn unsigned(self) -> Self {
        Self { signs: false, ..self }
    }
}

pub(super) struct Graph {
    pub edges: Vec<Edge>,
    /// Role, path and content.
    pub targets: Vec<(String, String, TargetFile)>,
    pub layout: Layout,
    /// Roles that the snapshot does not name.
    pub unnamed: BTreeSet<String>,
    /// Roles that are past their date.
    pub expired: BTreeSet<String>,
}

impl Graph {
    pub(super) fn new(edges: &[Edge]) -> Self {
        Self {
            edges: edges.to_vec(),
            targets: Vec::new(),
            layout: Layout::Consistent,
            unnamed: BTreeSet::new(),
            expired: BTreeSet::new(),
        }
    }

    pub(super) fn target(mut self, role: &str, path: &str) -> Self {
        let file = file_of(format!("{role} says {path}").as_bytes());
        self.targets.push((role.to_owned(), path.to_owned(), file));
        self
    }

    fn keys_of(&self, role: &str) -> Vec<SigningKey> {
        if role == "targets" {
            return vec![key(4)];
        }
        let into = self.edges.iter().enumerate();
        let into = into.filter(|(_, edge)| edge.to == role && edge.signs);
        into.map(|(n, _)| key(100 + n as u8)).collect()
    }

    fn body(&self, role: &str) -> Targets {
        let mut delegations = Delegations::default();
        for (n, edge) in self.edges.iter().enumerate().filter(|(_, edge)| edge.from == role) {
            let public = key(100 + n as u8).public().clone();
            delegations.keys.insert(public.id().clone(), public.to_object());
            delegations.roles.push(Delegation {
                name: serde_json::from_value(edge.to.clone().into()).unwrap(),
                keys: RoleKeys { keyids: vec![public.id().clone()], threshold: 1 },
                paths: edge.paths.clone(),
                path_hash_prefixes: edge.prefixes.clone(),
                terminating: edge.terminating,
            });
        }
        let own = self.targets.iter().filter(|(by, ..)| by == role);
        let targets = own.map(|(_, path, file)| (path.clone(), file.clone())).collect();
        Targets { delegations: Some(delegations), targets }
    }

    fn signed<T: Metadata>(&self, role: &str, body: &T, keys: &[SigningKey]) -> Vec<u8> {
        let expires = if self.expired.contains(role) { 0 } else { DAY };
        let header = Header::new::<T>(1, UnixTime::from_secs(NOW.as_secs() + expires));
        sign(&header, body, &keys.iter().collect::<Vec<_>>()).unwrap()
    }

    pub(super) fn root(&self) -> Vec<u8> {
        let mut world = World::new();
        world.layout = self.layout;
        world.root()
    }

    /// Everything as a server has it.
    pub(super) fn files(&self) -> Files {
        let mut files = Files::new();
        let mut publish = |role: &Role, bytes: Vec<u8>| {
            files.insert(role.published_name(self.layout, 1), bytes);
        };
        let mut meta = BTreeMap::new();
        let names: BTreeSet<_> = self.edges.iter().map(|edge| edge.to.as_str()).collect();
        for name in names.into_iter().chain(["targets"]) {
            let role = role(name);
            let bytes = self.signed(name, &self.body(name), &self.keys_of(name));
            if !self.unnamed.contains(name) {
                meta.insert(role.meta_path(), FileMeta::of(1, &bytes));
            }
            publish(&role, bytes);
        }
        let snapshot = self.signed("snapshot", &Snapshot { meta }, &[key(3)]);
        let meta = SnapshotOnly { snapshot: FileMeta::of(1, &snapshot) };
        publish(&Role::Snapshot, snapshot);
        let timestamp = Timestamp { meta, signed_at: None };
        publish(&Role::Timestamp, self.signed("timestamp", &timestamp, &[key(2)]));
        files
    }

    /// A client that trusts the repository's root and has brought the top level up to date.
    pub(super) fn client(&self) -> Client {
        let mut client = self.client_with(&Files::new());
        run(&mut client, &self.files()).unwrap();
        client
    }

    pub(super) fn client_with(&self, stored: &Files) -> Client {
        let (client, refused) =
            Client::top_level(&self.root(), stored, NOW, Limits::default()).unwrap();
        assert!(refused.is_empty(), "{refused:?}");
        client
    }

    /// What a new client finds, and the files of delegated roles that it asks for.
    pub(super) fn search(&self, path: &str) -> (Option<Target>, Vec<String>) {
        let mut client = self.client();
        let (found, asked) = search(&mut client, path, &self.files());
        (found.unwrap(), asked)
    }
}

pub(super) fn search(
    client: &mut Client,
    path: &str,
    files: &Files,
) -> (Result<Option<Target>, TrustError>, Vec<String>) {
    if let Err(error) = client.find(path) {
        return (Err(error), Vec::new());
    }
    match run(client, files) {
        Ok(asked) => (Ok(client.found().unwrap().cloned()), asked),
        Err(error) => (Err(error), Vec::new()),
    }
}

pub(super) fn file_of(content: &[u8]) -> TargetFile {
    TargetFile { custom: None, hashes: Hashes::of(content), length: content.len() as u64 }
}

pub(super) fn role(name: &str) -> Role {
    match name {
        "targets" => Role::Targets,
        _ => Role::Delegated(serde_json::from_value::<RoleName>(name.into()).unwrap()),
    }
}
