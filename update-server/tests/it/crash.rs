//! The server is killed again and again in the midst of what it is asked to keep.

use std::time::{Duration, Instant};

use axum::http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::task::JoinSet;

use crate::publisher::{Publisher, Wanted, device_trusts};
use crate::served::{Served, http, served_folder};

const KILLS: u64 = 32;
const DEVICES: u64 = 4;
/// Less than `GET /v1/admin/devices/{id}` shows.
const EVENTS: u64 = 150;

/// How far a publisher was told that it got with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    Nothing,
    Published,
    Promoted,
}

/// A served folder, what was acknowledged of it, and who publishes there.
struct World {
    folder: TempDir,
    served: Served,
    client: reqwest::Client,
    publisher: Publisher,
    /// The release that is published next, and its signed metadata.
    next: (Wanted, Value),
    /// The release that the channel was last seen at.
    promoted: u64,
    round: u64,
}

/// Uploads, publishes and promotes a release; says how far that was acknowledged.
pub async fn publish(url: String, token: String, next: (Wanted, Value)) -> Heard {
    let (client, (wanted, body)) = (http(), next);
    let call = async |method, path: &str, body: Vec<u8>| {
        let call = client.request(method, format!("{url}/v1/admin/{path}")).bearer_auth(&token);
        let answer = call.header("content-length", body.len()).body(body).send().await.ok()?;
        let status = answer.status();
        assert!(status.is_success(), "{path} of release {}: {status}", wanted.counter);
        Some(())
    };
    for (path, bytes) in wanted.files() {
        if call(Method::PUT, &path, bytes).await.is_none() {
            return Heard::Nothing;
        }
    }
    if call(Method::POST, "metadata", body.to_string().into()).await.is_none() {
        return Heard::Nothing;
    }
    let release = json!({ "release": wanted.counter.to_string() }).to_string();
    match call(Method::PUT, "channels/demo-x86_64/stable", release.into()).await {
        None => Heard::Published,
        Some(()) => Heard::Promoted,
    }
}

/// Reports events until there is no answer; the ids of those that were acknowledged.
pub async fn report(url: String, client: reqwest::Client, device: u64) -> (u64, Vec<String>) {
    let mut acknowledged = Vec::new();
    for count in 0..EVENTS {
        let id = format!("{device:016x}{count:016x}");
        let event = json!({ "id": id, "at": "2026-11-01T00:00:00Z", "kind": "seen" });
        let device = format!("{device:032x}");
        let body = json!({ "device": device, "compatible": "demo-x86_64", "events": [event] });
        match client.post(format!("{url}/v1/events")).json(&body).send().await {
            Ok(answer) if answer.status() == 204 => acknowledged.push(id),
            _ => break,
        }
    }
    (device, acknowledged)
}

impl World {
    fn new() -> Self {
        let folder = served_folder();
        let served = Served::start(folder.path());
        let key = std::fs::read_to_string(folder.path().join("data/timestamp.pub")).unwrap();
        let mut publisher = Publisher::with_timestamp_key(&key.trim().parse().unwrap());
        let first = Wanted::release(1);
        let next = (first.clone(), publisher.sign(&first));
        Self { folder, served, client: http(), publisher, next, promoted: 0, round: 0 }
    }

    /// Lets a publisher and devices work until the server is killed, `after` that time or when the
    /// publisher has done; then looks at what is left. Says how long it took.
    async fn round(&mut self, after: Option<Duration>) -> Duration {
        self.round += 1;
        let (url, client, begun) = (self.served.url.clone(), self.client.clone(), Instant::now());
        let mut devices = JoinSet::new();
        for n in 0..DEVICES {
            devices.spawn(report(url.clone(), client.clone(), self.round * DEVICES + n));
        }
        let publishing = tokio::spawn(publish(url, self.served.token(), self.next.clone()));
        match after {
            Some(time) => tokio::time::sleep(time).await,
            None => {
                while !publishing.is_finished() {
                    tokio::time::sleep(Duration::from_millis(1)).await;
                }
            }
        }
        let took = begun.elapsed();
        self.served.kill();
        let heard = publishing.await.unwrap();
        let acknowledged = devices.join_all().await;
        self.served = Served::start(self.folder.path());
        self.check_publication(heard).await;
        for (device, ids) in acknowledged {
            self.check_events(device, &ids).await;
        }
        took
    }

    async fn get(&self, path: &str) -> Option<Vec<u8>> {
        let get = self.client.get(format!("{}/v1/{path}", self.served.url));
        let answer = get.bearer_auth(self.served.token()).send().await.unwrap();
        if answer.status() == 404 {
            return None;
        }
        Some(answer.error_for_status().unwrap().bytes().await.unwrap().to_vec())
    }

    /// The release is there whole or not at all, and whole if that was acknowledged.
    async fn check_publication(&mut self, heard: Heard) {
        let (wanted, _) = self.next.clone();
        let before = wanted.counter - 1;
        let published = match self.get("metadata/timestamp.json").await {
            None => 0,
            Some(_) => {
                let fetch = async |path: String| self.get(&path).await;
                let trusted = device_trusts(&self.publisher, fetch).await;
                let releases = trusted.releases();
                let counters = releases.iter().map(|release| release.facts().counter);
                assert!(counters.eq(1..=releases.len() as u64), "{releases:?}");
                releases.len() as u64
            }
        };
        assert!(published == before || published == wanted.counter, "{published} {heard:?}");
        let channels: Value =
            serde_json::from_slice(&self.get("admin/channels").await.unwrap()).unwrap();
        let promoted = channels[0]["release"].as_str().map_or(0, |name| name.parse().unwrap());
        assert!(promoted <= published, "{promoted} is offered, {published} is the last");
        let least = match heard {
            Heard::Nothing => (before, self.promoted),
            Heard::Published => (wanted.counter, self.promoted),
            Heard::Promoted => (wanted.counter, wanted.counter),
        };
        assert!(published >= least.0 && promoted >= least.1, "{heard:?}: {published} {promoted}");
        self.promoted = promoted;
        self.check_files(published).await;
        if published == wanted.counter {
            self.publisher.taken();
            let next = Wanted::release(published + 1);
            self.next = (next.clone(), self.publisher.sign(&next));
        }
    }

    /// What devices download is whole, and nothing is left of what was cut.
    async fn check_files(&self, published: u64) {
        for counter in published.saturating_sub(1).max(1)..=published {
            for (path, bytes) in Wanted::release(counter).files() {
                assert!(self.get(&path).await == Some(bytes), "{path} of release {counter}");
            }
        }
        let mut folders = vec![self.folder.path().join("data/payloads")];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
                let name = entry.file_name().into_string().unwrap();
                assert!(!name.starts_with('.') && name != "incoming", "{name} is left");
                if entry.path().is_dir() {
                    folders.push(entry.path());
                }
            }
        }
    }

    async fn check_events(&self, device: u64, acknowledged: &[String]) {
        let shown = self.get(&format!("admin/devices/{device:032x}")).await;
        let shown: Value = shown.map_or(json!({}), |body| serde_json::from_slice(&body).unwrap());
        let events = shown["events"].as_array().map(Vec::as_slice).unwrap_or_default();
        for id in acknowledged {
            let kept = events.iter().any(|event| event["id"] == **id);
            assert!(kept, "{id} was acknowledged and is lost");
        }
    }
}

/// splitmix64: the same points in every run.
fn random(seed: u64) -> f64 {
    let mut z = seed.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) as f64 / u64::MAX as f64
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_killed_at_any_point_has_nothing_half_and_has_lost_nothing() {
    let mut world = World::new();
    let whole = world.round(None).await;
    for kill in 0..KILLS {
        let after = whole.mul_f64(random(kill));
        println!("kill {kill}: {after:?} of {whole:?}, release {}", world.next.0.counter);
        world.round(Some(after)).await;
    }
    // It goes on as if nothing had been.
    world.round(None).await;
    let published = world.next.0.counter - 1;
    println!("{published} releases were published");
    assert!(published >= 2, "no round got to its end");
}
