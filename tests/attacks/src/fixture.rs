//! What an attack's file says.

use std::path::{Path, PathBuf};

use fs_err as fs;
use serde::Deserialize;
use thiserror::Error;

use crate::repository::Act;

/// One attack: `fixtures/<name>/attack.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Attack {
    /// What it is called.
    pub title: String,
    /// The machine or the keys that the attacker has.
    pub holds: String,
    /// What remains possible with that.
    pub remains: String,
    /// Counters of the releases whose payload a server has. The device runs release 1.
    #[serde(default)]
    pub payloads: Vec<u64>,
    /// The channel that the device is configured to follow; nothing: the server's default.
    pub follows: Option<String>,
    /// What happens, one after the other, to one device.
    #[serde(rename = "step")]
    pub steps: Vec<Step>,
}

/// What is done, what the device is told to do, and what it must do.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// What is done. Nothing: what comes is not an attack but leads up to one, or follows it.
    pub attack: Option<String>,
    /// What the holders of the keys sign before that; it stays.
    #[serde(default)]
    pub people: Vec<Act>,
    /// What the attacker signs, on top of what is there; it is there for this step.
    #[serde(default)]
    pub signed: Vec<Act>,
    /// What the device hears on its way to the server, for this step.
    #[serde(default)]
    pub lies: Vec<Lie>,
    /// The release that the server offers; nothing: it offers none.
    pub offer: Option<u64>,
    /// In which channel.
    #[serde(default = "stable")]
    pub channel: String,
    /// How far the device's clock is off, as faketime(1) takes it.
    pub clock: Option<String>,
    /// What becomes of STATE before this.
    #[serde(default)]
    pub state: State,
    /// What is run on the device.
    #[serde(default)]
    pub run: Run,
    /// Its exit status.
    pub exit: i32,
    /// Words that it shows; `#` stands for what differs from run to run.
    pub shows: String,
    /// What it leaves of the slot that does not run.
    pub target: Target,
    /// Requests that it makes at most.
    pub requests: u64,
    /// Bytes that it is sent at most.
    pub bytes: u64,
    /// Of its requests, how many take as long as one may (`server.timeout_seconds`).
    #[serde(default)]
    pub timeouts: u64,
    /// Whether the device reboots then, and comes up.
    #[serde(default)]
    pub reboots: bool,
}

fn stable() -> String {
    "stable".to_owned()
}

/// A lie about what the server says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lie {
    /// A part of the request, its range included.
    pub about: String,
    /// What is answered.
    pub with: Told,
    /// After so many true answers.
    #[serde(default)]
    pub after: usize,
}

/// What is answered in place of the truth.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Nothing.
    Silence,
    /// The truth, and then more without an end.
    Endless,
    /// The truth, a byte now and then.
    Drip,
    /// The truth, with one bit of it changed.
    Flipped,
    /// The truth, with another signature.
    Forged,
    /// This status.
    Status(u16),
    /// A page.
    Page,
    /// Another file of the metadata.
    File(String),
    /// The manifest of this release.
    Manifest(u64),
    /// The payload of this release's root file system in place of release 2's.
    Image(u64),
}

/// What becomes of STATE.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// It stays.
    #[default]
    Kept,
    /// It is lost.
    Wiped,
}

/// What is run on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Run {
    /// `updatectl update`: ask, and take what is offered.
    #[default]
    Update,
    /// `updatectl check`: ask.
    Check,
    /// `updatectl install` of a bundle that somebody else signed.
    Install,
    /// `updatectl rollback`: a person goes back to the other slot.
    Rollback,
    /// `update-agent --once`: do what is pending, and ask.
    Agent,
}

/// What is left of the slot that does not run. The one that runs is what it was, always.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Target {
    /// No byte of it is written, nor of the table.
    Untouched,
    /// What was written of it cannot be started.
    Unbootable,
    /// The next boot tries it.
    Activated,
}

/// An attack that cannot be read.
#[derive(Debug, Error)]
pub enum FixtureError {
    /// The file.
    #[error(transparent)]
    Io(#[from] std::io::Error),
    /// What is in it.
    #[error("{} is no attack", path.display())]
    Toml {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: Box<toml::de::Error>,
    },
}

/// The folder of all.
pub fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures")
}

/// The names of all, in order.
///
/// # Errors
/// When the folder cannot be read.
pub fn names() -> Result<Vec<String>, FixtureError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder())? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

/// The attack of that name.
///
/// # Errors
/// When it cannot be read.
pub fn attack(name: &str) -> Result<Attack, FixtureError> {
    let path = folder().join(name).join("attack.toml");
    let text = fs::read_to_string(&path)?;
    toml::from_str(&text).map_err(|source| FixtureError::Toml { path, source: Box::new(source) })
}
