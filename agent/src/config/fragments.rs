use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::num::{NonZeroU32, NonZeroU64};
use std::path::{Path, PathBuf};

use fs_err as fs;
use payload_tools::format::Channel;
use serde::Deserialize;

use super::values::{Check, Priority, Save, Seconds, ServerUrl, StrategyName, Window};

/// The folders of fragments, the weakest first.
#[derive(Debug, Clone)]
pub struct Folders(pub Vec<PathBuf>);

/// What one file may say. A key that no field bears is refused.
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fragment {
    /// The update server.
    pub server: Option<ServerFragment>,
    /// What is followed, and how.
    pub updates: Option<UpdatesFragment>,
    /// How much is fetched, and how fast.
    pub download: Option<DownloadFragment>,
    /// How an install is done.
    pub install: Option<InstallFragment>,
    /// When a slot is healthy.
    pub health: Option<HealthFragment>,
    /// When the device reboots.
    pub reboot: Option<RebootFragment>,
    /// Executables around the steps.
    pub hooks: Option<HooksFragment>,
}

/// `[server]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerFragment {
    /// Its base URL.
    pub url: Option<ServerUrl>,
    /// How long one request may take.
    pub timeout_seconds: Option<Seconds>,
}

/// `[updates]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdatesFragment {
    /// The channel; the server's default without.
    pub channel: Option<Channel>,
    /// Time between polls, where the server names none.
    pub poll_seconds: Option<Seconds>,
}

/// `[download]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DownloadFragment {
    /// Payload bytes per second.
    pub bytes_per_second: Option<NonZeroU64>,
    /// Payload bytes in `budget_hours`.
    pub budget_bytes: Option<NonZeroU64>,
    /// Hours for which `budget_bytes` are.
    pub budget_hours: Option<NonZeroU32>,
    /// What is dearer.
    pub save: Option<Save>,
}

/// `[install]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InstallFragment {
    /// Beside the device's work.
    pub priority: Option<Priority>,
}

/// `[health]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthFragment {
    /// How long a trial has to become healthy.
    pub deadline_seconds: Option<Seconds>,
    /// Whether reaching the update server is part of being healthy.
    pub update_server: Option<bool>,
    /// Checks by name; `false` switches off one of a weaker fragment.
    #[serde(default)]
    pub checks: BTreeMap<String, CheckFragment>,
}

/// One check, or none in place of a weaker fragment's.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum CheckFragment {
    /// `false`
    Off(Off),
    /// A check.
    On(Check),
}

/// Only `false`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(try_from = "bool")]
pub struct Off;

impl TryFrom<bool> for Off {
    type Error = &'static str;

    fn try_from(value: bool) -> Result<Self, &'static str> {
        if value { Err("a check is a table, or false") } else { Ok(Off) }
    }
}

/// `[reboot]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RebootFragment {
    /// Which strategy.
    pub strategy: Option<StrategyName>,
    /// Of the windows.
    pub time_zone: Option<String>,
    /// When reboots may begin, for the strategy `window`.
    pub windows: Option<Vec<Window>>,
}

/// `[hooks]`
#[derive(Debug, Default, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HooksFragment {
    /// How long all the hooks of one moment may take.
    pub deadline_seconds: Option<Seconds>,
}

/// A configuration that was refused.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file could not be read.
    #[error("cannot read the configuration")]
    Io(#[source] io::Error),
    /// A file says what no file may say.
    #[error("{}: {message}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// The line, and what is wrong with it.
        message: String,
    },
    /// The files together say too little or what contradicts itself.
    #[error("{key}: {problem}; set it in a fragment in one of {folders}")]
    Together {
        /// The key.
        key: &'static str,
        /// What is wrong.
        problem: String,
        /// Where fragments are read from.
        folders: String,
    },
}

impl Folders {
    /// A device's folders: the image's, the runtime's, the administrator's, and STATE's.
    pub fn of_device() -> Self {
        Self(
            ["/usr/lib/seesaw", "/run/seesaw", "/etc/seesaw", "/var/lib/seesaw"]
                .map(|folder| Path::new(folder).join("config.d"))
                .to_vec(),
        )
    }

    /// Reads every `*.toml`. A file hides the one of the same name in a weaker
    /// folder, a link to /dev/null hides it altogether; then the files are
    /// merged in the order of their names, later keys over earlier ones.
    ///
    /// # Errors
    /// The first file that cannot be read or says what it may not.
    pub fn read(&self) -> Result<Fragment, ConfigError> {
        let mut files: BTreeMap<OsString, PathBuf> = BTreeMap::new();
        for folder in &self.0 {
            for path in toml_files(folder).map_err(ConfigError::Io)? {
                if let Some(name) = path.file_name() {
                    files.insert(name.to_owned(), path);
                }
            }
        }
        let mut merged = Fragment::default();
        for path in files.into_values().filter(|path| !masked(path)) {
            let text = fs::read_to_string(&path).map_err(ConfigError::Io)?;
            let fragment =
                Fragment::parse(&text).map_err(|message| ConfigError::File { path, message })?;
            merged.merge(fragment);
        }
        Ok(merged)
    }

    pub(super) fn listed(&self) -> String {
        self.0.iter().map(|folder| folder.display().to_string()).collect::<Vec<_>>().join(", ")
    }
}

fn toml_files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let entries = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let toml = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "toml");
    paths.filter(|path| path.as_ref().map_or(true, toml)).collect()
}

fn masked(path: &Path) -> bool {
    fs::read_link(path).is_ok_and(|to| to == Path::new("/dev/null"))
}

impl Fragment {
    /// Parses the text of one file.
    ///
    /// # Errors
    /// The line, what stands there and what is wrong with it, in one line.
    pub fn parse(text: &str) -> Result<Self, String> {
        toml::from_str(text).map_err(|error| {
            let message = error.message().trim().replace('\n', ", ");
            let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
            let number = before.matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default().trim();
            format!("line {}, `{line}`: {message}", number + 1)
        })
    }

    /// Lays `over` over this one, key by key.
    pub fn merge(&mut self, over: Fragment) {
        let server = self.server.get_or_insert_default();
        let of = over.server.unwrap_or_default();
        lay(&mut server.url, of.url);
        lay(&mut server.timeout_seconds, of.timeout_seconds);

        let updates = self.updates.get_or_insert_default();
        let of = over.updates.unwrap_or_default();
        lay(&mut updates.channel, of.channel);
        lay(&mut updates.poll_seconds, of.poll_seconds);

        let download = self.download.get_or_insert_default();
        let of = over.download.unwrap_or_default();
        lay(&mut download.bytes_per_second, of.bytes_per_second);
        lay(&mut download.budget_bytes, of.budget_bytes);
        lay(&mut download.budget_hours, of.budget_hours);
        lay(&mut download.save, of.save);

        let install = self.install.get_or_insert_default();
        lay(&mut install.priority, over.install.unwrap_or_default().priority);

        let health = self.health.get_or_insert_default();
        let of = over.health.unwrap_or_default();
        lay(&mut health.deadline_seconds, of.deadline_seconds);
        lay(&mut health.update_server, of.update_server);
        health.checks.extend(of.checks);

        let reboot = self.reboot.get_or_insert_default();
        let of = over.reboot.unwrap_or_default();
        lay(&mut reboot.strategy, of.strategy);
        lay(&mut reboot.time_zone, of.time_zone);
        lay(&mut reboot.windows, of.windows);

        let hooks = self.hooks.get_or_insert_default();
        lay(&mut hooks.deadline_seconds, over.hooks.unwrap_or_default().deadline_seconds);
    }
}

fn lay<T>(under: &mut Option<T>, over: Option<T>) {
    if over.is_some() {
        *under = over;
    }
}

#[cfg(test)]
mod tests;
