use std::fmt;

use clap::Args;
use serde::Serialize;

use super::consent::ConsentArgs;
use super::publisher::{PublisherArgs, block_on, connect};
use super::{Failure, Output};
use crate::admin::ServerArgs;
use crate::format::{Channel, Compatible, Release};
use crate::publish::Publisher;
use crate::trust::UnixTime;

const EXAMPLES: &str = "\
Examples:
  payload withdraw demo-x86_64 1 2 --server https://updates.example.com --token-file token";

/// Take releases off their compatible's signed list, and publish that.
///
/// From then on no device installs them, whatever a channel or a pin says; devices that run them
/// stay, and so does what the server has stored. Channels do not move: those that are still at one
/// of them are named. The list is 64 KiB at most, some 230 releases: make
/// room with releases that no device needs on its way up. A draft that changes the compatible's keys
/// is published with it.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Withdraw {
    /// Board and architecture that the releases are for.
    compatible: Compatible,
    /// Name of a release; may be given again.
    #[arg(required = true, value_name = "RELEASE")]
    releases: Vec<Release>,
    #[command(flatten)]
    publisher: PublisherArgs,
    #[command(flatten)]
    server: ServerArgs,
    #[command(flatten)]
    consent: ConsentArgs,
}

#[derive(Debug, Serialize)]
struct WithdrawReport {
    compatible: Compatible,
    withdrawn: Vec<Release>,
    left: usize,
    snapshot: u64,
    /// Channels that are still at one of them.
    stranded: Vec<Channel>,
}

impl Withdraw {
    pub(super) fn run(self, output: &Output) -> Result<(), Failure> {
        let server = connect(&self.server)?;
        let folder = self.publisher.repository()?;
        let Self { compatible, releases, consent, .. } = self;
        let withdrawn = block_on(async {
            let publisher = Publisher::begin(&folder, &server).await?;
            let (now, ask) = (UnixTime::of_system_clock(), |statement: &_| consent.ask(statement));
            Ok(publisher.withdraw(&compatible, &releases, now, &ask).await)
        })?;
        let Some(withdrawal) = consent.unless_shown(withdrawn, output)? else { return Ok(()) };
        output.report(&WithdrawReport {
            compatible,
            withdrawn: releases,
            left: withdrawal.left,
            snapshot: withdrawal.snapshot_version,
            stranded: withdrawal.stranded,
        })
    }
}

impl fmt::Display for WithdrawReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compatible, withdrawn, left, snapshot, stranded } = self;
        for release in withdrawn {
            writeln!(f, "withdrew release {release} of {compatible}")?;
        }
        writeln!(f, "releases still listed: {left} (snapshot {snapshot})")?;
        stranded.iter().try_for_each(|channel| {
            writeln!(
                f,
                "channel {channel} still offers it, and no device gets that: promote another with \
                 `update-server channel promote {compatible} {channel} RELEASE`, and lift a pin with \
                 `channel unpin`"
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_that_are_left_without_a_release_are_told() {
        let report = WithdrawReport {
            compatible: "demo".parse().unwrap(),
            withdrawn: vec!["2".parse().unwrap()],
            left: 1,
            snapshot: 9,
            stranded: vec!["beta".parse().unwrap()],
        };
        let said = report.to_string();
        assert!(said.contains("channel beta still offers it"), "{said}");
        assert!(said.contains("channel promote demo beta RELEASE"), "{said}");
    }
}
