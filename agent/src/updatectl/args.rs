use std::path::PathBuf;

use clap::{Parser, Subcommand};
use payload_tools::format::{Channel, Release};

use super::exit::Exit;
use crate::device::DeviceOptions;
use crate::update::Command;

/// Look at and steer the updates of this device
///
/// Without the daemon, status, history, list, confirm, cancel, rollback, pin, unpin, channel and
/// install still work, under a lock.
#[derive(Debug, Parser)]
#[command(name = "updatectl", version, after_help = Exit::table())]
pub struct Args {
    /// Print JSON
    #[arg(long, global = true)]
    pub json: bool,
    /// Which device.
    #[command(flatten)]
    pub device: DeviceOptions,
    /// What to do.
    #[command(subcommand)]
    pub(super) verb: Verb,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(super) enum Verb {
    /// Show the slots, what runs, what starts next, and why
    Status,
    /// Ask the server whether there is an update, and what it costs to fetch; install nothing
    ///
    /// Joins a check that runs. To tell the costs it reads both slots, and the tree of the release.
    ///
    /// Of a release that waits for its reboot it asks whether that still stands; if not, the
    /// activation is undone.
    Check,
    /// Check, install and activate, or join an update that runs; lifts a hold
    Update {
        /// Also take a release that failed here before
        #[arg(long)]
        retry_failed: bool,
    },
    /// Install a signed release from a bundle or a release folder, without a server
    Install {
        /// The bundle or folder
        path: PathBuf,
        /// Also take a release that failed here before
        #[arg(long)]
        retry_failed: bool,
    },
    /// Confirm the booted slot, whatever its health checks say
    Confirm,
    /// End an installation or a person's check, or undo an activation before the reboot
    Cancel,
    /// Go back to the release in the other slot
    Rollback,
    /// List the releases that are known, from the newest verified metadata on this device
    List,
    /// Show or choose the channel
    Channel {
        /// The channel to follow
        name: Option<Channel>,
        /// Follow the configured channel again
        #[arg(long, conflicts_with = "name")]
        reset: bool,
    },
    /// Stay at a release, against the channel [default: the one that runs]
    Pin {
        /// The release
        release: Option<Release>,
    },
    /// Follow the channel again
    Unpin,
    /// Show what happened
    History,
}

impl Verb {
    /// What the agent is told; the verbs that only look tell it to check.
    pub(super) fn command(&self) -> Command {
        match self {
            Self::Status | Self::List | Self::History | Self::Check => Command::Check,
            Self::Update { retry_failed } => Command::Update { retry_failed: *retry_failed },
            Self::Install { path, retry_failed } => Command::Install {
                path: std::path::absolute(path).unwrap_or_else(|_| path.clone()),
                retry_failed: *retry_failed,
            },
            Self::Confirm => Command::Confirm,
            Self::Cancel => Command::Cancel,
            Self::Rollback => Command::Rollback,
            Self::Channel { name, .. } => Command::Channel { channel: name.clone() },
            Self::Pin { release } => Command::Pin { release: release.clone() },
            Self::Unpin => Command::Unpin,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Args::command().debug_assert();
    }

    fn parse(line: &str) -> Result<Args, clap::Error> {
        let args = Args::try_parse_from(line.split(' '))?;
        args.device.check(&mut Args::command())?;
        Ok(args)
    }

    #[test]
    fn options_may_stand_before_and_after_the_verb() {
        for line in [
            "updatectl --disk x status --json",
            "updatectl status --disk x --json",
            "updatectl --json --disk x --booted A status",
            "updatectl --json --disk x status --booted A",
            "updatectl --booted A status --disk x --json",
        ] {
            let args = parse(line).unwrap();
            assert!(args.json && args.device.disk.is_some(), "{line}");
        }
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for line in [
            "updatectl",
            "updatectl status --booted A",
            "updatectl --booted A status",
            "updatectl --disk x --booted C status",
            "updatectl channel a --reset",
            "updatectl enable",
        ] {
            assert!(parse(line).is_err(), "{line}");
        }
    }
}
