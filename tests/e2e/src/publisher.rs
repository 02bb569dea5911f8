//! A publisher: keys, a repository, releases.

use std::path::{Path, PathBuf};
use std::process::Command;

use seesaw_harness::programs::Programs;
use serde_json::Value;

use crate::COMPATIBLE;
use crate::command::{Failure, succeed};
use crate::server::Server;

/// A publisher's folder and the program that works on it.
#[derive(Clone, Debug)]
pub struct Publisher {
    program: PathBuf,
    folder: PathBuf,
}

impl Publisher {
    /// Makes keys, and the first root of trust around the server's timestamp key.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn found(programs: &Programs, folder: &Path, server: &Server) -> Result<Self, Failure> {
        let publisher = Self { program: programs.payload.clone(), folder: folder.to_owned() };
        publisher.payload(&["keygen", "--compatible", COMPATIBLE])?;
        publisher.payload(&[
            "init",
            "--compatible",
            COMPATIBLE,
            "--timestamp-key",
            &server.timestamp_key,
        ])?;
        Ok(publisher)
    }

    /// The root of trust that images carry.
    pub fn first_root(&self) -> PathBuf {
        self.folder.join("metadata/1.root.json")
    }

    /// Builds a release whose name is its counter; its folder `out`.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn build(
        &self,
        counter: u64,
        kernel: &Path,
        root: &Path,
        out: &Path,
    ) -> Result<(), Failure> {
        self.build_for(COMPATIBLE, counter, [kernel, root], out)
    }

    /// Devices of another kind are this publisher's too, once it publishes again.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn add_compatible(&self, compatible: &str) -> Result<(), Failure> {
        self.payload(&["keygen", "--compatible", compatible])?;
        self.payload(&["role", "add", compatible])?;
        self.payload(&["sign"]).map(drop)
    }

    /// The same for devices of another kind.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn build_for_others(
        &self,
        compatible: &str,
        counter: u64,
        images: [&Path; 2],
        out: &Path,
    ) -> Result<(), Failure> {
        self.build_for(compatible, counter, images, out)
    }

    fn build_for(
        &self,
        compatible: &str,
        counter: u64,
        [kernel, root]: [&Path; 2],
        out: &Path,
    ) -> Result<(), Failure> {
        let name = counter.to_string();
        let mut command = Command::new(&self.program);
        command
            .args(["build", "--compatible", compatible, "--level", "3"])
            .args(["--release", &name, "--counter", &name])
            .arg("--kernel")
            .arg(kernel)
            .arg("--root")
            .arg(root)
            .arg("--out")
            .arg(out);
        succeed(&mut command).map(drop)
    }

    /// Signs a release and publishes it in `channel`.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn publish(&self, release: &Path, channel: &str, server: &Server) -> Result<(), Failure> {
        self.publish_at(release, channel, server.url(), &server.token_file())
    }

    /// The same at one of several servers.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn publish_at(
        &self,
        release: &Path,
        channel: &str,
        url: &str,
        token_file: &Path,
    ) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.args(["publish", "--channel", channel, "--server", url]);
        command.arg("--publisher").arg(&self.folder).arg("--token-file").arg(token_file);
        succeed(command.arg(release)).map(drop)
    }

    /// Signs the snapshot again.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn renew_at(&self, url: &str, token_file: &Path) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.args(["renew", "--server", url, "--publisher"]).arg(&self.folder);
        succeed(command.arg("--token-file").arg(token_file)).map(drop)
    }

    /// Makes the deltas from one release to another, into the other's folder.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn delta(&self, old: &Path, new: &Path) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        succeed(command.args(["delta", "--level", "3"]).arg(old).arg(new)).map(drop)
    }

    /// Signs a release for a bundle, which needs no server.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn sign(&self, release: &Path) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        succeed(command.args(["sign", "--publisher"]).arg(&self.folder).arg(release)).map(drop)
    }

    /// Makes one file of a signed release.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn bundle(&self, release: &Path, out: &Path) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        succeed(command.arg("bundle").arg(release).arg("--out").arg(out)).map(drop)
    }

    /// Withdraws a release: it is listed no longer.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn withdraw(&self, release: &str, server: &Server) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.args(["withdraw", COMPATIBLE, release, "--server", server.url()]);
        command.arg("--publisher").arg(&self.folder).arg("--token-file").arg(server.token_file());
        succeed(&mut command).map(drop)
    }

    /// Runs a verb on the publisher's folder that speaks to the server.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn at_server(&self, args: &[&str], server: &Server) -> Result<(), Failure> {
        let mut command = Command::new(&self.program);
        command.args(args).args(["--server", server.url()]);
        command.arg("--publisher").arg(&self.folder).arg("--token-file").arg(server.token_file());
        succeed(&mut command).map(drop)
    }

    /// Runs a verb on the publisher's folder; what it prints.
    ///
    /// # Errors
    /// When `payload` fails, or prints no JSON.
    pub fn payload(&self, args: &[&str]) -> Result<Value, Failure> {
        let mut command = Command::new(&self.program);
        command.args(args).arg("--publisher").arg(&self.folder);
        let printed = succeed(command.arg("--json"))?.stdout;
        serde_json::from_slice(&printed).map_err(|_| Failure::Json {
            command: args.join(" "),
            output: String::from_utf8_lossy(&printed).into_owned(),
        })
    }

    /// Makes a key in the publisher's folder; its public half.
    ///
    /// # Errors
    /// When `payload` fails.
    pub fn new_key(&self, name: &str) -> Result<String, Failure> {
        let made = self.payload(&["keygen", "--name", name])?;
        Ok(made["keys"][0]["public"].as_str().unwrap_or_default().to_owned())
    }
}
