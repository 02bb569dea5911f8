//! A server that runs, a publisher's folder, and releases to publish.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::num::NonZero;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use payload_tools::admin::AdminClient;
use payload_tools::build::{BuildPlan, Encoding, build, default_salt};
use payload_tools::format::ReleaseFacts;
use payload_tools::testing::{osrel, uki};
use payload_tools::trust::{Client, Files, Limits, Reply, Step, Trusted, UnixTime};
use seesaw_harness::programs::{Programs, programs};
use serde_json::{Value, json};
use tempfile::TempDir;

pub const COMPATIBLE: &str = "demo-x86_64";

/// A server on a free port, stopped when dropped, and a publisher whose keys it knows.
pub struct Served {
    pub folder: TempDir,
    pub url: String,
    programs: Programs,
    pub token: String,
    server: Child,
    /// What opens the publisher's keys.
    environment: Vec<(&'static str, OsString)>,
}

impl Served {
    /// The order of birth: the server, the keys, the repository.
    pub fn new() -> Self {
        Self::with_keys(Vec::new(), &[&["keygen", "--compatible", COMPATIBLE]])
    }

    /// The same with keys that are made by these commands in this environment.
    pub fn with_keys(environment: Vec<(&'static str, OsString)>, keygen: &[&[&str]]) -> Self {
        let programs = programs().unwrap();
        let folder = TempDir::new().unwrap();
        let data = folder.path().join("server");
        let mut init = Command::new(&programs.update_server);
        let init = init.args(["init", "--json", "--data"]).arg(&data);
        let init: Value = serde_json::from_slice(&succeed(init).stdout).unwrap();
        let (server, url) = serve(&programs, &folder, &data);
        let token = init["token"].as_str().unwrap().to_owned();
        let served = Self { folder, url, programs, token, server, environment };
        for command in keygen {
            served.payload(command);
        }
        let key = init["timestamp_key"].as_str().unwrap();
        served.payload(&["init", "--compatible", COMPATIBLE, "--timestamp-key", key]);
        served
    }

    /// The server's data folder.
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("server")
    }

    /// A client of the server with the operator's token.
    pub fn client(&self) -> AdminClient {
        AdminClient::new(&self.url, &self.token).unwrap()
    }

    /// Ends the server and starts one on another data folder.
    pub fn serve(&mut self, data: &Path) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
        (self.server, self.url) = serve(&self.programs, &self.folder, data);
    }

    /// The folder of the publisher that `payload` works in.
    pub fn publisher(&self) -> PathBuf {
        self.folder.path().join("publisher")
    }

    pub fn first_root(&self) -> PathBuf {
        self.publisher().join("metadata/1.root.json")
    }

    /// `payload` on a publisher's folder, with JSON.
    pub fn command(&self, publisher: &Path, args: &[&str]) -> Command {
        let mut command = Command::new(&self.programs.payload);
        command.args(args).arg("--json").arg("--publisher").arg(publisher);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a verb of `payload` that must succeed; its report.
    pub fn payload(&self, args: &[&str]) -> Value {
        serde_json::from_slice(&succeed(&mut self.command(&self.publisher(), args)).stdout).unwrap()
    }

    /// Runs a verb of `payload` that knows no publisher's folder and must succeed; its report.
    pub fn payload_alone(&self, args: &[&str]) -> Value {
        let mut command = Command::new(&self.programs.payload);
        serde_json::from_slice(&succeed(command.args(args).arg("--json")).stdout).unwrap()
    }

    /// The same for people.
    pub fn payload_in_words(&self, args: &[&str]) -> String {
        let said = succeed(Command::new(&self.programs.payload).args(args)).stdout;
        String::from_utf8(said).unwrap()
    }

    /// `payload publish` by some publisher, whatever comes of it.
    pub fn publish_by(&self, publisher: &Path, release: &Path, channels: &[&str]) -> Output {
        self.publish_through(&self.url, publisher, release, channels)
    }

    /// The same by another way to the server.
    pub fn publish_through(
        &self,
        url: &str,
        publisher: &Path,
        release: &Path,
        channels: &[&str],
    ) -> Output {
        let release = release.to_str().unwrap();
        let mut args = vec!["publish", release, "--server", url, "--token", &self.token];
        args.extend(channels.iter().flat_map(|channel| ["--channel", channel]));
        self.command(publisher, &args).output().unwrap()
    }

    /// `payload publish` that must succeed; its report.
    pub fn publish(&self, release: &Path, channels: &[&str]) -> Value {
        let output = self.publish_by(&self.publisher(), release, channels);
        assert!(output.status.success(), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a verb of `update-server` in the server's folder, which must succeed; its report.
    pub fn in_data_folder(&self, args: &[&str]) -> Value {
        let mut command = Command::new(&self.programs.update_server);
        command.args(args).arg("--json").arg("--data").arg(self.data());
        serde_json::from_slice(&succeed(&mut command).stdout).unwrap()
    }

    /// Runs a verb of `update-server` with the server, as its operator does; it must succeed.
    pub fn operate(&self, args: &[&str]) -> String {
        let mut command = Command::new(&self.programs.update_server);
        command.args(args).args(["--server", &self.url, "--token", &self.token]);
        String::from_utf8(succeed(&mut command).stdout).unwrap()
    }

    /// Runs a verb of `payload` with the server, which must succeed; its report.
    pub fn with_server(&self, args: &[&str]) -> Value {
        self.payload(&[args, &["--server", &self.url, "--token", &self.token]].concat())
    }

    /// `payload renew` that must succeed; its report.
    pub fn renew(&self, args: &[&str]) -> Value {
        self.with_server(&[&["renew"], args].concat())
    }

    /// `payload renew` with some token, whatever comes of it.
    pub fn renew_with(&self, token: &str, args: &[&str]) -> Output {
        let words = ["renew", "--server", &self.url, "--token", token];
        self.command(&self.publisher(), &[&words, args].concat()).output().unwrap()
    }

    /// A release folder with two small images, whose root differs from that of other releases.
    pub fn release(&self, counter: u64) -> PathBuf {
        self.release_of(counter, &[counter as u8; 4096])
    }

    /// The same with another root, as `payload build` makes it; once.
    pub fn release_of(&self, counter: u64, root: &[u8]) -> PathBuf {
        let path = |name: &str| self.folder.path().join(format!("{name}-{counter}"));
        let (out, kernel, root_path) = (path("release"), path("kernel"), path("root"));
        if out.exists() {
            return out;
        }
        let text = osrel(COMPATIBLE, &counter.to_string(), counter);
        let sections: [(&str, &[u8]); 2] = [(".osrel", text.as_bytes()), (".cmdline", b"panic=10")];
        fs_err::write(&kernel, uki(&sections)).unwrap();
        fs_err::write(&root_path, root).unwrap();
        let facts: ReleaseFacts = serde_json::from_value(json!({
            "release": counter.to_string(), "counter": counter, "compatible": COMPATIBLE,
            "min_from": 0, "channels": [], "floor": false, "downgrade_from": null,
        }))
        .unwrap();
        let (salt, threads) = (default_salt(&facts.compatible), NonZero::<usize>::MIN);
        let encoding = Encoding { level: 1, salt, threads };
        let plan = BuildPlan { facts, kernel, root: root_path, encoding };
        build(&plan, &out, &|_| ()).unwrap();
        out
    }

    /// What a device believes that has only its image's first root.
    pub fn device_sees(&self) -> Trusted {
        let first_root = fs_err::read(self.first_root()).unwrap();
        let (compatible, now) = (COMPATIBLE.parse().unwrap(), UnixTime::of_system_clock());
        let (mut client, refused) =
            Client::new(&first_root, &Files::new(), &compatible, now, Limits::default()).unwrap();
        assert!(refused.is_empty());
        while let Step::Fetch { path, .. } = client.next() {
            let found = self.get(&format!("/v1/metadata/{path}"));
            client.feed(found.map_or(Reply::NotFound, Reply::Bytes)).unwrap();
        }
        client.finish().unwrap()
    }

    /// The counters of the releases that such a device could take.
    pub fn offered(&self) -> Vec<u64> {
        self.device_sees().releases().iter().map(|release| release.facts().counter).collect()
    }

    /// The body of an answer of 200; nothing for 404.
    pub fn get(&self, path: &str) -> Option<Vec<u8>> {
        get(self.url.strip_prefix("http://").unwrap(), path)
    }
}

/// The body of a server's answer of 200; nothing for 404.
pub fn get(address: &str, path: &str) -> Option<Vec<u8>> {
    let mut stream = TcpStream::connect(address).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n").unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    let head = answer.windows(4).position(|four| four == b"\r\n\r\n").unwrap();
    let body = answer.split_off(head + 4);
    match answer.split(|byte| *byte == b' ').nth(1).unwrap() {
        b"200" => Some(body),
        b"404" => None,
        other => panic!("{path}: {}", String::from_utf8_lossy(other)),
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.server.kill();
        let _reaped = self.server.wait();
    }
}

/// Starts a server; it and its URL.
fn serve(programs: &Programs, folder: &TempDir, data: &Path) -> (Child, String) {
    let announce = data.with_extension("address");
    // What an earlier server on this folder said is no answer of this one.
    if announce.exists() {
        fs_err::remove_file(&announce).unwrap();
    }
    let server = Command::new(&programs.update_server)
        .args(["serve", "--listen", "127.0.0.1:0", "--data"])
        .arg(data)
        .arg("--announce")
        .arg(&announce)
        .stdin(Stdio::null())
        .stderr(fs_err::File::create(folder.path().join("server.log")).unwrap().into_file())
        .spawn()
        .unwrap();
    let url = format!("http://{}", wait_for(&announce).trim());
    (server, url)
}

/// Runs a program that must succeed.
pub fn succeed(command: &mut Command) -> Output {
    let output = command.stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "{command:?}: {output:?}");
    output
}

/// Runs work on the network.
pub fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// The server says where it listens by renaming a file into place.
fn wait_for(file: &Path) -> String {
    let deadline = Instant::now() + Duration::from_secs(60);
    loop {
        match fs_err::read_to_string(file) {
            Ok(text) => return text,
            Err(error) if Instant::now() > deadline => panic!("the server does not start: {error}"),
            Err(_) => std::thread::yield_now(),
        }
    }
}
