//! A publisher with keys in memory, signing as `payload publish` does.

use axum::body::Body;
use axum::http::Method;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use payload_tools::format::seekable::Writer;
use payload_tools::format::{
    BLOCK, Compatible, GROUP, Hash, Image, Manifest, ReleaseFacts, Role as ImageRole, Salt,
};
use payload_tools::repository::{Birth, Draft, Published, RoleSeed, State};
use payload_tools::tree::TreeBuilder;
use payload_tools::trust::{
    Client, Files, Limits, PublicKey, Reply, SigningKey, Step, Trusted, UnixTime,
};
use serde_json::{Value, json};
use update_server::store::Room;

use crate::server::{Answer, Caller, TestServer};

pub fn compatible() -> Compatible {
    "demo-x86_64".parse().unwrap()
}

/// A release as a test wants it: its name is its counter.
#[derive(Clone)]
pub struct Wanted {
    pub counter: u64,
    pub channels: &'static [&'static str],
}

impl Wanted {
    pub fn release(counter: u64) -> Self {
        Self { counter, channels: &["stable", "beta"] }
    }

    pub fn facts(&self) -> ReleaseFacts {
        ReleaseFacts {
            release: self.counter.to_string().parse().unwrap(),
            counter: self.counter,
            compatible: compatible(),
            min_from: 0,
            channels: self.channels.iter().map(|name| name.parse().unwrap()).collect(),
            floor: false,
            downgrade_from: None,
        }
    }

    /// A small kernel, and a root that is just large enough to have levels.
    pub fn image(&self, role: ImageRole) -> TestImage {
        let size = match role {
            ImageRole::Kernel => BLOCK,
            ImageRole::Root => GROUP + BLOCK,
        };
        let mut content = format!("{role} of release {}", self.counter).into_bytes();
        content.resize(size, 0);
        let builder = TreeBuilder::new(Salt::default());
        let tree = builder.build(&content.as_slice(), size as u64, &|_| ()).unwrap();
        let mut full = Writer::new(Vec::new(), size as u64);
        // The server does not decode: any bytes will do.
        full.frame(format!("frame of {role} {}", self.counter).as_bytes()).unwrap();
        let image = builder.image(role, size as u64, &tree);
        TestImage { image, full: full.finish().unwrap(), levels: tree.levels }
    }

    /// What a device downloads of it, by the path below `/v1/`.
    pub fn files(&self) -> Vec<(String, Vec<u8>)> {
        let mut files = Vec::new();
        for role in ImageRole::ALL {
            let TestImage { image, full, levels } = self.image(role);
            files.push((format!("images/{}/full", image.root), full));
            files.push((format!("images/{}/levels", image.root), levels));
        }
        let bytes = self.manifest().to_bytes().unwrap();
        let sha256 = Hash::of(&bytes);
        files.push((format!("targets/demo-x86_64/{sha256}.{}.json", self.counter), bytes));
        files
    }

    pub fn manifest(&self) -> Manifest {
        let image = |role| self.image(role).image;
        Manifest {
            compatible: compatible(),
            release: self.facts().release,
            counter: self.counter,
            built: "2026-11-01T00:00:00Z".parse().unwrap(),
            images: ImageRole::ALL.map(image).into(),
        }
    }
}

pub struct TestImage {
    pub image: Image,
    pub full: Vec<u8>,
    pub levels: Vec<u8>,
}

pub struct Publisher {
    keys: Vec<SigningKey>,
    /// What the server has, as far as this one knows.
    state: State,
    /// What was signed last.
    signed: State,
    /// Whether the server has taken anything of it.
    published: bool,
    pub first_root: Vec<u8>,
    /// When it signs, and when devices look at what it signed.
    pub now: UnixTime,
}

pub fn now() -> UnixTime {
    UnixTime::of_system_clock()
}

/// Always the same: root, targets, snapshot, the compatible's.
fn keys() -> Vec<SigningKey> {
    (1..=4).map(|seed| SigningKey::from_seed(&[seed; 32])).collect()
}

/// The files of a publication's body.
pub fn files(body: &Value) -> Files {
    let files = body["files"].as_object().unwrap().iter();
    let decoded = |(name, text): (&String, &Value)| {
        (name.clone(), STANDARD.decode(text.as_str().unwrap()).unwrap())
    };
    files.map(decoded).collect()
}

impl Publisher {
    pub fn for_server(server: &TestServer) -> Self {
        Self::with_timestamp_key(&server.timestamp_key)
    }

    pub fn with_timestamp_key(timestamp_key: &PublicKey) -> Self {
        let (keys, now) = (keys(), now());
        let seed = |key: usize| RoleSeed::from(keys[key].public().clone());
        let birth = Birth {
            root: seed(0),
            targets: seed(1),
            snapshot: seed(2),
            timestamp: timestamp_key.clone(),
            compatibles: [(compatible(), seed(3))].into(),
        };
        let mut draft = Draft::begin(&birth, now).unwrap();
        draft.sign(&keys).unwrap();
        Self { published: false, ..Self::at(draft.finish().unwrap(), now) }
    }

    /// One that goes on from what a server has.
    pub fn resumed(files: &Files, version: u64, now: UnixTime) -> Self {
        Self::at((&Published::load(files, version).unwrap()).into(), now)
    }

    fn at(state: State, now: UnixTime) -> Self {
        let first_root = state.files()["1.root.json"].clone();
        Self { keys: keys(), signed: state.clone(), state, published: true, first_root, now }
    }

    /// Another publisher of the same team, who knows what this one knows.
    pub fn colleague(&self) -> Self {
        Self { published: self.published, ..Self::at(self.state.clone(), self.now) }
    }

    /// Uploads what the release consists of.
    pub async fn upload(&self, server: &TestServer, wanted: &Wanted) {
        for (name, bytes) in wanted.files() {
            server.upload(&name, &bytes).await.ok();
        }
    }

    /// Signs the release and the next snapshot; the body for the server.
    pub fn sign(&mut self, wanted: &Wanted) -> Value {
        let (facts, manifest) = (wanted.facts(), wanted.manifest());
        let bytes = manifest.to_bytes().unwrap();
        let now = self.now;
        self.sign_change(|draft| {
            draft.list_release(&facts, &bytes, &manifest, now).unwrap();
        })
    }

    pub fn sign_snapshot(&mut self) -> Value {
        self.sign_change(|_| ())
    }

    fn sign_change(&mut self, change: impl FnOnce(&mut Draft)) -> Value {
        let mut draft = Draft::on(Some(self.state.clone()));
        change(&mut draft);
        draft.sign(&self.keys).unwrap();
        draft.take_snapshot(self.now).unwrap();
        draft.sign(&self.keys).unwrap();
        self.signed = draft.finish().unwrap();
        let known = if self.published { self.state.files() } else { Files::new() };
        let mut new = self.signed.files();
        new.retain(|name, _| !known.contains_key(name));
        let files: serde_json::Map<String, Value> =
            new.into_iter().map(|(name, bytes)| (name, STANDARD.encode(bytes).into())).collect();
        json!({ "files": files })
    }

    /// Publishes the list without some release.
    pub async fn withdraw(&mut self, server: &TestServer, counter: u64) {
        let release = counter.to_string().parse().unwrap();
        let now = self.now;
        let body =
            self.sign_change(|draft| draft.withdraw(&compatible(), &[release], now).unwrap());
        send(server, &body).await.ok();
        self.taken();
    }

    /// Takes note that the server has taken what was signed last.
    pub fn taken(&mut self) {
        self.state = self.signed.clone();
        self.published = true;
    }

    pub async fn publish(&mut self, server: &TestServer, wanted: &Wanted) -> Answer {
        self.upload(server, wanted).await;
        let body = self.sign(wanted);
        let answer = send(server, &body).await;
        if answer.status.is_success() {
            self.taken();
        }
        answer
    }
}

/// What a device trusts after a check that begins with the first root alone. `fetch` gets what is
/// below `/v1/`.
pub async fn device_trusts(
    publisher: &Publisher,
    fetch: impl AsyncFn(String) -> Option<Vec<u8>>,
) -> Trusted {
    let (stored, limits) = (Files::new(), Limits::default());
    let (mut client, _) =
        Client::new(&publisher.first_root, &stored, &compatible(), publisher.now, limits).unwrap();
    while let Step::Fetch { path, max } = client.next() {
        let found = fetch(format!("metadata/{path}")).await;
        assert!(found.as_ref().is_none_or(|bytes| bytes.len() as u64 <= max), "{path}");
        client.feed(found.map_or(Reply::NotFound, Reply::Bytes)).unwrap();
    }
    client.finish().unwrap()
}

pub async fn send(server: &TestServer, body: &Value) -> Answer {
    let body = Body::from(body.to_string());
    server.call(Caller::Operator, Method::POST, "/v1/admin/metadata", body).await
}

/// A server that has releases 1 to `last`, with `stable` at the last.
pub async fn server_at(last: u64) -> (TestServer, Publisher) {
    server_at_with(last, Room::default()).await
}

/// The same, which keeps so many devices.
pub async fn server_at_with(last: u64, room: Room) -> (TestServer, Publisher) {
    let server = TestServer::with_room(room).await;
    let mut publisher = Publisher::for_server(&server);
    for counter in 1..=last {
        publisher.publish(&server, &Wanted::release(counter)).await.ok();
    }
    let body = json!({ "release": last.to_string() });
    server.admin_put("channels/demo-x86_64/stable", body).await.ok();
    (server, publisher)
}
