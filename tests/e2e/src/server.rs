//! An `update-server` of our own, on a port that the system chooses.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use fs_err as fs;
use seesaw_harness::programs::Programs;
use serde_json::Value;

use crate::command::{Failure, json, succeed};

/// Starting takes milliseconds; a loaded machine gets a minute.
const START: Duration = Duration::from_secs(60);

/// A running server, ended when dropped.
#[derive(Debug)]
pub struct Server {
    program: PathBuf,
    folder: PathBuf,
    options: Vec<String>,
    child: Child,
    url: String,
    /// The timestamp key that `init` printed, in hex.
    pub timestamp_key: String,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop();
    }
}

impl Server {
    /// `update-server init` in `folder`, then `serve`; devices are told to poll every
    /// `poll_seconds`. It makes no deltas by itself.
    ///
    /// # Errors
    /// When either fails, or does not answer within a minute.
    pub fn start(programs: &Programs, folder: &Path, poll_seconds: u32) -> Result<Self, Failure> {
        let poll = poll_seconds.to_string();
        Self::start_with(programs, folder, &["--poll-seconds", &poll, "--delta-threads", "0"])
    }

    /// The same with other options.
    ///
    /// # Errors
    /// As there.
    pub fn start_with(
        programs: &Programs,
        folder: &Path,
        options: &[&str],
    ) -> Result<Self, Failure> {
        let program = programs.update_server.clone();
        let init = succeed(
            Command::new(&program)
                .args(["init", "--json", "--data"])
                .arg(folder.join("server"))
                .arg("--token-file")
                .arg(folder.join("token")),
        )?;
        let printed: Value = serde_json::from_slice(&init.stdout).unwrap_or_default();
        let key = printed["timestamp_key"].as_str().unwrap_or_default().to_owned();
        let options: Vec<_> = options.iter().map(|option| (*option).to_owned()).collect();
        let (child, url) = serve(&program, folder, &options)?;
        let folder = folder.to_owned();
        Ok(Self { program, folder, options, child, url, timestamp_key: key })
    }

    /// Its process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// `http://ADDRESS:PORT`.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The operator's token, in a file.
    pub fn token_file(&self) -> PathBuf {
        self.folder.join("token")
    }

    /// An operator's command; what it prints as JSON.
    ///
    /// # Errors
    /// When it fails.
    pub fn operate(&self, args: &[&str]) -> Result<Value, Failure> {
        let mut command = Command::new(&self.program);
        command.args(args).args(["--json", "--server", &self.url]);
        command.arg("--token-file").arg(self.token_file());
        match json(&mut command)? {
            (0, value) => Ok(value),
            (_, value) => Err(Failure::Json {
                command: format!("update-server {}", args.join(" ")),
                output: value.to_string(),
            }),
        }
    }

    /// Makes the key that is to sign timestamps next; its public half.
    ///
    /// # Errors
    /// When `update-server` fails.
    pub fn next_timestamp_key(&self) -> Result<String, Failure> {
        let mut command = Command::new(&self.program);
        command.args(["timestamp-key", "--json", "--data"]).arg(self.folder.join("server"));
        let (_, printed) = json(&mut command)?;
        Ok(printed["timestamp_key"].as_str().unwrap_or_default().to_owned())
    }

    /// The same server again after [`stop`](Self::stop), at another address.
    ///
    /// # Errors
    /// When it does not come up within a minute.
    pub fn start_again(&mut self) -> Result<(), Failure> {
        (self.child, self.url) = serve(&self.program, &self.folder, &self.options)?;
        Ok(())
    }

    /// As if its machine were gone.
    pub fn stop(&mut self) {
        // Ended or not, it is gone afterwards.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn serve(program: &Path, folder: &Path, options: &[String]) -> Result<(Child, String), Failure> {
    let announced = folder.join("announced");
    // What an earlier one said is no answer of this one.
    if announced.exists() {
        fs::remove_file(&announced)?;
    }
    let mut command = Command::new(program);
    command
        .args(["serve", "--listen", "127.0.0.1:0"])
        .args(options)
        .arg("--data")
        .arg(folder.join("server"))
        .arg("--announce")
        .arg(&announced)
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.join("server.log"))?.into_file());
    let mut child = command
        .spawn()
        .map_err(|source| Failure::Start { command: program.display().to_string(), source })?;
    let until = Instant::now() + START;
    // The file comes when the server answers; there is nothing else to wait on.
    while Instant::now() < until && child.try_wait()?.is_none() {
        if let Ok(address) = fs::read_to_string(&announced)
            && !address.trim().is_empty()
        {
            return Ok((child, format!("http://{}", address.trim())));
        }
        std::thread::yield_now();
    }
    let _ = child.kill();
    Err(Failure::Ended {
        command: "update-server serve".to_owned(),
        status: "no address announced".to_owned(),
        output: fs::read_to_string(folder.join("server.log"))?,
    })
}
