//! The real program, serving a folder.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub fn program() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_update-server"));
    for name in ["SEESAW_SERVER", "SEESAW_TOKEN", "SEESAW_TOKEN_FILE"] {
        command.env_remove(name);
    }
    command
}

pub fn init(folder: &Path) -> Output {
    let token = folder.join("token");
    program()
        .args(["init", "--data"])
        .arg(folder.join("data"))
        .arg("--token-file")
        .arg(token)
        .output()
        .unwrap()
}

/// A served data folder. Dropped, it is killed.
pub struct Served {
    pub child: Child,
    pub url: String,
    pub token_file: PathBuf,
}

impl Served {
    pub fn start(folder: &Path) -> Self {
        Self::start_under("true", folder)
    }

    /// Starts it in a shell that does something about its own process before.
    pub fn start_under(first: &str, folder: &Path) -> Self {
        Self::start_by(&["sh", "-c", &format!("{first} && exec \"$0\" \"$@\"")], folder)
    }

    /// Starts it where the mounts that a shell makes before are its own; for that nobody needs to be
    /// root.
    pub fn start_among(mounts: &str, folder: &Path) -> Self {
        let shell = format!("{mounts} && exec \"$0\" \"$@\"");
        Self::start_by(&["unshare", "--map-root-user", "--mount", "sh", "-ec", &shell], folder)
    }

    /// Starts it by a command that runs what follows it.
    fn start_by(command: &[&str], folder: &Path) -> Self {
        let announce = folder.join("address");
        let _ = std::fs::remove_file(&announce);
        let child = Command::new(command[0])
            .args(&command[1..])
            .arg(program().get_program())
            .args(["serve", "--listen", "127.0.0.1:0", "--data"])
            .arg(folder.join("data"))
            .arg("--announce")
            .arg(&announce)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        let mut served = Self { child, url: String::new(), token_file: folder.join("token") };
        let deadline = Instant::now() + Duration::from_secs(60);
        while !announce.exists() {
            assert!(Instant::now() < deadline, "not announced within a minute");
            assert!(served.child.try_wait().unwrap().is_none(), "it ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        let address = std::fs::read_to_string(&announce).unwrap();
        served.url = format!("http://{}", address.trim());
        served
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// The operator's token.
    pub fn token(&self) -> String {
        std::fs::read_to_string(&self.token_file).unwrap().trim().to_owned()
    }

    pub fn run(&self, arguments: &[&str]) -> Output {
        let mut command = program();
        command.args(arguments).args(["--server", &self.url, "--token-file"]);
        command.arg(&self.token_file).output().unwrap()
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(output.status.success(), "{}", text(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// SIGTERM, and the exit that follows.
    pub fn stop(mut self) -> ExitStatus {
        let pid = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        self.child.wait().unwrap()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        // Both fail when it has ended, which is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

pub fn http() -> reqwest::Client {
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::new()
}

pub fn served_folder() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let output = init(folder.path());
    assert!(output.status.success(), "{}", text(&output.stderr));
    folder
}
