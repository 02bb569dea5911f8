use std::collections::BTreeMap;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::SignedDuration;
use jiff::tz::TimeZone;
use payload_tools::format::Channel;

use super::fragments::{CheckFragment, DownloadFragment, HealthFragment, RebootFragment};
use super::values::{
    Budget, Check, DownloadSettings, HookSettings, Priority, Seconds, ServerUrl, Strategy,
    StrategyName,
};
use super::{ConfigError, Folders, Fragment};

const REQUEST_TIMEOUT: Seconds = Seconds::of(30);
const POLL: Seconds = Seconds::of(300);
const HEALTH_DEADLINE: Seconds = Seconds::of(300);
/// A trial is ended after 15 minutes whatever the agent does (dist/initramfs/trial-deadline),
/// and must be able to confirm itself before that, a slow boot included.
const HEALTH_MAX: Duration = Duration::from_secs(600);
const BUDGET_HOURS: u32 = 24;
/// A year: a longer one is a slip.
const BUDGET_HOURS_MAX: u32 = 8784;
/// Less would never bring the trees and the first segment of a large image, and each install that
/// is begun costs the release that was in the slot.
const BUDGET_BYTES_MIN: u64 = 32 << 20;
/// More slowly a server or what is between gives a connection up.
const RATE_MIN: u64 = 16 << 10;
/// The agent answers nobody while hooks run, and must in the service's `WatchdogSec`.
const HOOKS_MAX: Duration = Duration::from_secs(60);

/// The device's folder on STATE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateFolder(PathBuf);

/// What the agent relies on: every value checked, every default filled in.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The update server. `None`: this device is only updated from bundles.
    pub server: Option<ServerUrl>,
    /// Deadline of a request to it.
    pub request_timeout: Duration,
    /// The configured channel.
    pub channel: Option<Channel>,
    /// Time between polls.
    pub poll: Duration,
    /// How much is fetched, and how fast.
    pub download: DownloadSettings,
    /// How an install shares the device with its work.
    pub priority: Priority,
    /// When a slot is healthy.
    pub health: HealthSettings,
    /// When the device reboots.
    pub strategy: Strategy,
    /// Executables around the steps.
    pub hooks: HookSettings,
}

/// When a slot is healthy.
#[derive(Debug, Clone)]
pub struct HealthSettings {
    /// How long a trial has to become healthy.
    pub deadline: Duration,
    /// Whether the update server must be reached and verified.
    pub update_server: bool,
    /// The configured checks.
    pub checks: BTreeMap<String, Check>,
}

impl StateFolder {
    /// A device's.
    pub const OF_DEVICE: &str = "/var/lib/seesaw";

    /// The folder at `path`.
    pub fn at(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Where trusted metadata is kept.
    pub fn metadata(&self) -> PathBuf {
        self.0.join("metadata")
    }
}

impl Settings {
    /// Reads and checks the fragments of `folders`.
    ///
    /// # Errors
    /// The file and key that are wrong.
    pub fn read(folders: &Folders) -> Result<Self, ConfigError> {
        Self::of(folders.read()?, folders)
    }

    /// What a merged fragment, read from `folders`, comes to.
    ///
    /// # Errors
    /// When its settings do not go together.
    pub fn of(fragment: Fragment, folders: &Folders) -> Result<Self, ConfigError> {
        Self::from_fragment(fragment).map_err(|(key, problem)| ConfigError::Together {
            key,
            problem,
            folders: folders.listed(),
        })
    }

    /// What a device relies on whose fragments are refused: no server, and no
    /// reboot but a person's, who may have set windows for it.
    pub fn without_configuration() -> Self {
        Self {
            server: None,
            request_timeout: REQUEST_TIMEOUT.duration(),
            channel: None,
            poll: POLL.duration(),
            download: DownloadSettings::default(),
            priority: Priority::default(),
            health: HealthSettings {
                deadline: HEALTH_DEADLINE.duration(),
                update_server: false,
                checks: BTreeMap::new(),
            },
            strategy: Strategy::Manual,
            hooks: hooks(HOOKS_MAX),
        }
    }

    fn from_fragment(fragment: Fragment) -> Result<Self, (&'static str, String)> {
        let server = fragment.server.unwrap_or_default();
        let updates = fragment.updates.unwrap_or_default();
        let deadline = fragment.hooks.unwrap_or_default().deadline_seconds;
        let deadline = deadline.map_or(HOOKS_MAX, Seconds::duration);
        at_most(HOOKS_MAX, "hooks.deadline_seconds", deadline)?;
        let health = health(fragment.health.unwrap_or_default(), server.url.is_some());
        at_most(HEALTH_MAX, "health.deadline_seconds", health.deadline)?;
        Ok(Self {
            health,
            server: server.url,
            request_timeout: server.timeout_seconds.unwrap_or(REQUEST_TIMEOUT).duration(),
            channel: updates.channel,
            poll: updates.poll_seconds.unwrap_or(POLL).duration(),
            download: download(fragment.download.unwrap_or_default())?,
            priority: fragment.install.unwrap_or_default().priority.unwrap_or_default(),
            strategy: strategy(fragment.reboot.unwrap_or_default())?,
            hooks: hooks(deadline),
        })
    }
}

fn at_most(
    max: Duration,
    key: &'static str,
    given: Duration,
) -> Result<(), (&'static str, String)> {
    match given > max {
        true => Err((key, format!("it must be at most {}", max.as_secs()))),
        false => Ok(()),
    }
}

fn download(fragment: DownloadFragment) -> Result<DownloadSettings, (&'static str, String)> {
    let hours = fragment.budget_hours.map_or(BUDGET_HOURS, NonZeroU32::get);
    if hours > BUDGET_HOURS_MAX {
        return Err(("download.budget_hours", format!("it must be at most {BUDGET_HOURS_MAX}")));
    }
    let period = SignedDuration::from_hours(hours.into());
    let bytes = fragment.budget_bytes.map(NonZeroU64::get);
    at_least(BUDGET_BYTES_MIN, "download.budget_bytes", bytes)?;
    let bytes_per_second = fragment.bytes_per_second.map(NonZeroU64::get);
    at_least(RATE_MIN, "download.bytes_per_second", bytes_per_second)?;
    let budget = bytes.map(|bytes| Budget { bytes, period });
    Ok(DownloadSettings { bytes_per_second, budget, save: fragment.save.unwrap_or_default() })
}

fn at_least(min: u64, key: &'static str, given: Option<u64>) -> Result<(), (&'static str, String)> {
    match given.filter(|given| *given < min) {
        Some(_) => Err((key, format!("it must be at least {min}, for an install to get through"))),
        None => Ok(()),
    }
}

fn hooks(deadline: Duration) -> HookSettings {
    let folders = ["/usr/lib/seesaw/hooks", "/etc/seesaw/hooks"].map(PathBuf::from);
    HookSettings { folders: folders.to_vec(), deadline }
}

fn health(fragment: HealthFragment, has_server: bool) -> HealthSettings {
    let on = |(name, check)| match check {
        CheckFragment::On(check) => Some((name, check)),
        CheckFragment::Off(_) => None,
    };
    HealthSettings {
        deadline: fragment.deadline_seconds.unwrap_or(HEALTH_DEADLINE).duration(),
        update_server: fragment.update_server.unwrap_or(true) && has_server,
        checks: fragment.checks.into_iter().filter_map(on).collect(),
    }
}

fn strategy(fragment: RebootFragment) -> Result<Strategy, (&'static str, String)> {
    let windows = fragment.windows.unwrap_or_default();
    match fragment.strategy.unwrap_or(StrategyName::Immediate) {
        StrategyName::Immediate => Ok(Strategy::Immediate),
        StrategyName::Manual => Ok(Strategy::Manual),
        StrategyName::Window if windows.is_empty() => {
            Err(("reboot.windows", "the strategy `window` needs at least one".to_owned()))
        }
        StrategyName::Window => {
            if windows.iter().any(|window| !(1..=1440).contains(&window.minutes)) {
                return Err(("reboot.windows.minutes", "it must be from 1 to 1440".to_owned()));
            }
            let zone = match fragment.time_zone.as_deref() {
                None => TimeZone::UTC,
                Some(name) => {
                    TimeZone::get(name).map_err(|error| ("reboot.time_zone", error.to_string()))?
                }
            };
            Ok(Strategy::Windows { zone, windows })
        }
    }
}
