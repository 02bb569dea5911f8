use clap::{Args, Subcommand};

use super::table::{self, or_dash};
use super::{CliError, Output, Remote, print_json};
use crate::api::admin::ChannelView;
use crate::names::{Channel, Compatible, Release};
use crate::store::{ChannelChange, Expect};

/// What can be done with channels.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Lists all channels.
    List {
        #[command(flatten)]
        remote: Remote,
    },
    /// Creates a channel at a published release.
    ///
    /// The first channel of a compatible becomes its default: the one of devices
    /// that name none. A channel that is there already is left as it is: `promote`
    /// moves it.
    Create {
        #[command(flatten)]
        which: Which,
        /// The release it begins at.
        release: Release,
        /// Make it the default, in place of the present one.
        #[arg(long)]
        default: bool,
        #[command(flatten)]
        remote: Remote,
    },
    /// Moves a channel to another release.
    ///
    /// Devices follow with their next poll. One that runs a newer release stays,
    /// unless the release was signed with a range to go back from.
    Promote {
        #[command(flatten)]
        which: Which,
        /// The release, which must be signed for this channel.
        release: Release,
        #[command(flatten)]
        remote: Remote,
    },
    /// Holds a channel at a release, whatever it is promoted to.
    Pin {
        #[command(flatten)]
        which: Which,
        /// The release, which may be older than what devices run.
        release: Release,
        #[command(flatten)]
        remote: Remote,
    },
    /// Lifts the pin of a channel.
    Unpin {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
    },
    /// Hands out no more updates in a channel; devices that only await their
    /// reboot do not reboot either.
    Pause {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
    },
    /// Hands out updates again.
    Resume {
        #[command(flatten)]
        which: Which,
        #[command(flatten)]
        remote: Remote,
    },
}

/// One channel.
#[derive(Debug, Args)]
pub struct Which {
    /// Board and architecture: demo-x86_64.
    compatible: Compatible,
    /// Name of the channel: stable.
    channel: Channel,
}

impl Verb {
    /// The server that is asked.
    pub fn remote(&self) -> &Remote {
        match self {
            Self::List { remote }
            | Self::Create { remote, .. }
            | Self::Promote { remote, .. }
            | Self::Pin { remote, .. }
            | Self::Unpin { remote, .. }
            | Self::Pause { remote, .. }
            | Self::Resume { remote, .. } => remote,
        }
    }
}

pub async fn run(verb: Verb) -> Result<(), CliError> {
    let there = ChannelChange { expect: Some(Expect::Present), ..ChannelChange::default() };
    let (which, remote, change) = match verb {
        Verb::List { remote } => return list(&remote).await,
        Verb::Create { which, release, default, remote } => {
            let (expect, default) = (Some(Expect::Absent), default.then_some(true));
            let release = Some(release);
            (which, remote, ChannelChange { expect, release, default, ..there })
        }
        Verb::Promote { which, release, remote } => {
            (which, remote, ChannelChange { release: Some(release), ..there })
        }
        Verb::Pin { which, release, remote } => {
            (which, remote, ChannelChange { pin: Some(Some(release)), ..there })
        }
        Verb::Unpin { which, remote } => {
            (which, remote, ChannelChange { pin: Some(None), ..there })
        }
        Verb::Pause { which, remote } => {
            (which, remote, ChannelChange { paused: Some(true), ..there })
        }
        Verb::Resume { which, remote } => {
            (which, remote, ChannelChange { paused: Some(false), ..there })
        }
    };
    let Which { compatible, channel } = which;
    let view: ChannelView =
        remote.put(&format!("channels/{compatible}/{channel}"), &change).await?;
    show(&[view], remote.output())
}

async fn list(remote: &Remote) -> Result<(), CliError> {
    let views: Vec<ChannelView> = remote.get("channels").await?;
    if remote.output() == Output::Programs {
        return print_json(&views);
    }
    show(&views, Output::People)
}

fn show(views: &[ChannelView], output: Output) -> Result<(), CliError> {
    if let (Output::Programs, [view]) = (output, views) {
        return print_json(view);
    }
    let rows: Vec<_> = views.iter().map(row).collect();
    table::print(["COMPATIBLE", "CHANNEL", "RELEASE", "PIN", "STATE", "DEFAULT"], &rows);
    Ok(())
}

fn row(view: &ChannelView) -> [String; 6] {
    let paused = view.paused.then(|| "paused".to_owned());
    let state: Vec<_> = paused.into_iter().chain(view.trouble()).collect();
    let offered = match &view.pin {
        Some(pin) if *pin != view.release => format!("pinned: {pin} is offered"),
        _ => "offered".to_owned(),
    };
    [
        view.compatible.to_string(),
        view.channel.to_string(),
        view.release.to_string(),
        or_dash(view.pin.as_ref()),
        if state.is_empty() { offered } else { state.join("; ") },
        if view.default { "default" } else { "-" }.to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rollout::Offer;

    #[test]
    fn a_channel_whose_release_nobody_gets_says_so() {
        let state = |offer, paused, pin: Option<&str>| {
            let view = ChannelView {
                compatible: "demo".parse().unwrap(),
                channel: "stable".parse().unwrap(),
                release: "2".parse().unwrap(),
                pin: pin.map(|pin| pin.parse().unwrap()),
                offer,
                paused,
                default: true,
            };
            row(&view)[4].clone()
        };
        assert_eq!(state(Offer::Offered, false, None), "offered");
        assert_eq!(state(Offer::Offered, false, Some("2")), "offered");
        assert_eq!(state(Offer::Offered, false, Some("1")), "pinned: 1 is offered");
        assert_eq!(state(Offer::Offered, true, None), "paused");
        let withdrawn = state(Offer::Withdrawn, false, Some("1"));
        assert_eq!(withdrawn, "1 is withdrawn: no device gets it");
        let both = state(Offer::NotSigned, true, None);
        assert_eq!(both, "paused; 2 is not signed for stable: no device gets it");
    }
}
