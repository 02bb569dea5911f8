//! Everything about one device, opened: its disk, its STATE, its configuration,
//! its server. The running device by default; an image file where one is named.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::error::ErrorKind;
use fs_err as fs;
use fs_err::os::unix::fs::OpenOptionsExt;
use partition_layout::{Access, SlotLetter};
use payload_tools::durable_file::{self, Readers};
use payload_tools::format::uki::Osrel;
use rustix::fs::{FlockOperation, StatVfsMountFlags};
use tracing::{error, warn};

use crate::boot_control::{BootControl, BootError, BootSource, GptBootControl};
use crate::client::{Anchor, EventQueue, Http, MetadataStore, NoAnchor, Tls, UpdateServer};
use crate::config::{Folders, Settings, StateFolder};
use crate::health::{self, Complaint};
use crate::identity::DeviceId;
use crate::install::Allowance;
use crate::journal::{Journal, JournalError};
use crate::reboot::{Reboot, SimulatedReboot, SystemReboot};
use crate::update::Life;
use crate::update::driver::Parts;

const FIRST_ROOT: &str = "/usr/lib/seesaw/1.root.json";
const RUN: &str = "/run/seesaw";

/// Which device, as both programs' options say.
#[derive(Debug, Clone, clap::Args)]
pub struct DeviceOptions {
    /// Work on this disk or image file, which nothing runs from, instead of on the running system
    #[arg(long, global = true, value_name = "FILE")]
    pub disk: Option<PathBuf>,
    /// With --disk: the slot that is booted [default: the next one, where the other is empty]
    #[arg(long, global = true, value_name = "A|B", value_parser = letter)]
    pub booted: Option<SlotLetter>,
    /// Folder of journal, device id and metadata [default: /var/lib/seesaw; with --disk: none]
    #[arg(long, global = true, value_name = "DIR")]
    pub state: Option<PathBuf>,
    /// Folders of configuration fragments, the weakest first [default: the device's; with --disk: none]
    #[arg(long, global = true, value_name = "DIR")]
    pub config: Vec<PathBuf>,
    /// The first root of trust
    #[arg(long, global = true, value_name = "FILE", default_value = FIRST_ROOT)]
    pub first_root: PathBuf,
    /// Folder of socket, lock and inhibitors [default: /run/seesaw; with --disk: none]
    #[arg(long, global = true, value_name = "DIR")]
    pub run: Option<PathBuf>,
}

fn letter(text: &str) -> Result<SlotLetter, String> {
    let mut letters = text.chars();
    let first = letters.next().and_then(SlotLetter::from_char);
    first.filter(|_| letters.next().is_none()).ok_or_else(|| "a slot is A or B".to_owned())
}

/// A device that could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum DeviceError {
    /// Its disk.
    #[error(transparent)]
    Boot(#[from] BootError),
    /// Another program works on it.
    #[error("another update-agent or updatectl works on this device, it has locked {}: wait for it", path.display())]
    Locked {
        /// What is locked.
        path: PathBuf,
    },
    /// Nothing can be locked.
    #[error("cannot take the device for this program alone: is it run as root?")]
    Lock(#[source] io::Error),
}

/// Held as long as the device is worked on.
#[derive(Debug)]
pub struct Lock {
    _file: Option<File>,
}

impl DeviceOptions {
    /// Whether the options fit together. Clap's own `requires` does not see an option that stands
    /// on the other side of the verb.
    ///
    /// # Errors
    /// The usage error of `program`.
    pub fn check(&self, program: &mut clap::Command) -> Result<(), clap::Error> {
        if self.booted.is_some() && self.disk.is_none() {
            let problem =
                "--booted says what is booted of an image file or idle disk: give --disk too";
            return Err(program.error(ErrorKind::MissingRequiredArgument, problem));
        }
        Ok(())
    }

    /// The STATE folder; none for an image file without --state.
    pub fn state_folder(&self) -> Option<StateFolder> {
        let path = self.state.clone().or_else(|| self.default(StateFolder::OF_DEVICE));
        path.map(StateFolder::at)
    }

    /// The folder of socket and inhibitors.
    pub fn run_folder(&self) -> Option<PathBuf> {
        self.run.clone().or_else(|| self.default(RUN))
    }

    fn default(&self, path: &str) -> Option<PathBuf> {
        self.disk.is_none().then(|| PathBuf::from(path))
    }

    fn folders(&self) -> Folders {
        match (&self.config[..], &self.disk) {
            ([], None) => Folders::of_device(),
            (folders, _) => Folders(folders.to_vec()),
        }
    }

    /// The disk alone.
    ///
    /// # Errors
    /// There is none, or it has no slots.
    pub fn boot_control(&self, access: Access) -> Result<GptBootControl, BootError> {
        let source = match &self.disk {
            Some(path) => BootSource::Disk { path: path.clone(), booted: self.booted },
            None => BootSource::RunningSystem,
        };
        GptBootControl::open(source, access)
    }

    /// Takes the device for this program alone.
    ///
    /// # Errors
    /// [`DeviceError::Locked`] while another one has it.
    pub fn lock(&self) -> Result<Lock, DeviceError> {
        let Some(file) = self.lockable().map_err(DeviceError::Lock)? else {
            return Ok(Lock { _file: None });
        };
        let (file, path) = file.into_parts();
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Lock { _file: Some(file) }),
            Err(rustix::io::Errno::WOULDBLOCK) => Err(DeviceError::Locked { path }),
            Err(error) => Err(DeviceError::Lock(error.into())),
        }
    }

    /// Nothing on STATE has to be written for it: a device whose STATE is full, read-only or lost
    /// is confirmed and rolled back all the same.
    fn lockable(&self) -> io::Result<Option<fs::File>> {
        if let (None, Some(run)) = (&self.disk, self.run_folder()) {
            fs::create_dir_all(&run)?;
            let mut options = fs::OpenOptions::new();
            // Who may read a file may lock it.
            options.write(true).create(true).mode(0o600);
            return options.open(run.join("lock")).map(Some);
        }
        let Some(state) = self.state_folder() else { return Ok(None) };
        fs::create_dir_all(state.path())?;
        fs::File::open(state.path()).map(Some)
    }

    /// Opens everything, under the [lock](Self::lock). What is wrong and leaves disk and journal usable stands
    /// against this boot: it can still be looked at, confirmed and rolled back.
    ///
    /// # Errors
    /// The disk cannot be opened.
    pub fn open(&self) -> Result<Parts, DeviceError> {
        let boot = self.boot_control(Access::ReadWrite)?;
        let seen = boot.seen()?;
        let state = self.state_folder();
        let anchor = self.anchor(booted_osrel(&boot), state.as_ref()).map(Arc::new);
        if let Err(missing) = &anchor {
            warn!("nothing can be verified: {}", crate::chain(missing));
        }
        let mut standing = self.standing(anchor.as_ref().err());
        let (journal, life) = open_journal(state.as_ref()).unwrap_or_else(|complaint| {
            standing.push(complaint);
            (Journal::forgetful(), None)
        });
        standing.extend(state.as_ref().and_then(|state| read_only(state.path())));
        let mut settings = self.settings().unwrap_or_else(|complaint| {
            standing.push(complaint);
            Settings::without_configuration()
        });
        if self.disk.is_some() {
            // This host's hooks are about this host, and run as whoever works on an image.
            settings.hooks.folders.clear();
        }
        let tls = Tls::of_system(anchor.as_ref().ok().cloned());
        let server = server(&settings, anchor.as_ref().ok(), state.as_ref(), &tls);
        let server = server.unwrap_or_else(|complaint| {
            standing.push(complaint);
            None
        });
        for complaint in &standing {
            error!("this boot cannot take a release: {complaint}");
        }
        let folder = state.as_ref().map(StateFolder::path);
        let allowance = Allowance::open(settings.download, folder, anchor.as_ref().ok().cloned());
        let events = state.as_ref().map_or_else(EventQueue::forgetful, open_events);
        let reboot: Box<dyn Reboot> =
            if self.disk.is_some() { Box::new(SimulatedReboot) } else { Box::new(SystemReboot) };
        Ok(Parts {
            boot: Box::new(boot),
            anchor,
            server,
            tls,
            settings,
            journal,
            life: life.unwrap_or_else(|| Life::new(&seen.boot_id)),
            events,
            reboot,
            inhibit: self.run_folder().unwrap_or_default().join("inhibit"),
            allowance,
            standing,
        })
    }

    /// What is configured.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn settings(&self) -> Result<Settings, Complaint> {
        Settings::read(&self.folders())
            .map_err(|error| Complaint::new("configuration", crate::chain(&error)))
    }

    /// An image file that nothing runs from is looked at without its own root of trust.
    fn standing(&self, missing: Option<&NoAnchor>) -> Vec<Complaint> {
        // Not there for an image file.
        let boot = self.run_folder().and_then(|run| fs::read_to_string(run.join("boot")).ok());
        let missing = missing.filter(|_| self.disk.is_none());
        health::standing(&boot.unwrap_or_default(), missing)
    }

    /// What this device believes.
    ///
    /// # Errors
    /// What it lacks for that.
    pub fn anchor(
        &self,
        osrel: Option<Osrel>,
        state: Option<&StateFolder>,
    ) -> Result<Anchor, NoAnchor> {
        let state = state.ok_or(NoAnchor::State)?;
        let osrel = osrel.ok_or(NoAnchor::Compatible)?;
        let first_root = fs::read(&self.first_root).map_err(NoAnchor::FirstRoot)?;
        Ok(Anchor {
            store: MetadataStore::new(state.metadata(), osrel.built.into()),
            first_root,
            compatible: osrel.compatible,
        })
    }
}

/// What the booted image says it is; a device whose image is silent, or that is
/// mixed, can still be looked at and rolled back.
pub fn booted_osrel(boot: &GptBootControl) -> Option<Osrel> {
    boot.booted_release().unwrap_or_else(|error| {
        warn!("{}", crate::chain(&error));
        None
    })
}

fn open_journal(state: Option<&StateFolder>) -> Result<(Journal, Option<Life>), Complaint> {
    let Some(state) = state else { return Ok((Journal::forgetful(), None)) };
    let opened = match durable_file::make_folder(state.path(), Readers::Everyone) {
        Err(source) => Err(JournalError::Io { step: "make the folder of", source }),
        Ok(()) => {
            sweep(state);
            Journal::open(state.path())
        }
    };
    let opened = match opened {
        // Set aside by now: the slots' bits remember what matters most.
        Err(error @ JournalError::Foreign { .. }) => {
            warn!("{}", crate::chain(&error));
            Journal::open(state.path())
        }
        opened => opened,
    };
    opened.map_err(|error| Complaint::new("state", crate::chain(&error)))
}

/// What is full is found out by the first write, and may be emptied meanwhile.
fn read_only(state: &Path) -> Option<Complaint> {
    let flags = rustix::fs::statvfs(state).ok()?.f_flag;
    let problem = "STATE is mounted read-only: nothing can be remembered";
    flags.contains(StatVfsMountFlags::RDONLY).then(|| Complaint::new("state", problem.to_owned()))
}

/// Power cuts would fill STATE with what they left.
fn sweep(state: &StateFolder) {
    for folder in [state.path(), &state.metadata()] {
        match durable_file::sweep(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                warn!("what a power cut left stays on STATE: {error}");
            }
            _ => {}
        }
    }
}

/// Reports are news: a queue that cannot be read stops nothing.
fn open_events(state: &StateFolder) -> EventQueue {
    EventQueue::open(state.path()).unwrap_or_else(|error| {
        warn!("reports are lost with the program, their queue on STATE is unreadable: {error}");
        EventQueue::forgetful()
    })
}

fn server(
    settings: &Settings,
    anchor: Option<&Arc<Anchor>>,
    state: Option<&StateFolder>,
    tls: &Tls,
) -> Result<Option<UpdateServer>, Complaint> {
    let (Some(url), Some(anchor), Some(state)) = (&settings.server, anchor, state) else {
        return Ok(None);
    };
    let http = Http::new(url, settings.request_timeout, tls.clone())
        .map_err(|error| Complaint::new("http", crate::chain(&error)))?;
    let device = DeviceId::of(state.path())
        .map_err(|error| Complaint::new("device-id", crate::chain(&error)))?;
    Ok(Some(UpdateServer::new(http, anchor.clone(), device)))
}

#[cfg(test)]
pub(crate) mod tests;
