use clap::Subcommand;

use super::table::{self, or_dash};
use super::{CliError, Output, Remote, print_json};
use crate::api::admin::{DeviceDetailView, DeviceListView, DeviceView, PinDevice};
use crate::names::{DeviceId, Release};
use crate::store::{DeviceCursor, DeviceEvent};

/// What can be done with devices.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Lists devices, those seen last first, 1000 at once.
    List {
        /// Go on from there: what the list before said at its end.
        #[arg(long, value_name = "PLACE")]
        before: Option<DeviceCursor>,
        #[command(flatten)]
        remote: Remote,
    },
    /// Shows one device with what it reported.
    Show {
        /// The device's id: 32 hex digits.
        device: DeviceId,
        #[command(flatten)]
        remote: Remote,
    },
    /// Holds a device at a release, whatever its channel says.
    Pin {
        /// The device's id: 32 hex digits.
        device: DeviceId,
        /// A published release. The device itself decides whether it may go back
        /// to an older one.
        release: Release,
        #[command(flatten)]
        remote: Remote,
    },
    /// Forgets a device with its history and its pin.
    ///
    /// It appears again with its next poll. Devices without a pin that were not
    /// seen for 180 days are forgotten anyway.
    Forget {
        /// The device's id: 32 hex digits.
        device: DeviceId,
        #[command(flatten)]
        remote: Remote,
    },
    /// Lets a device follow its channel again.
    Unpin {
        /// The device's id: 32 hex digits.
        device: DeviceId,
        #[command(flatten)]
        remote: Remote,
    },
}

impl Verb {
    /// The server that is asked.
    pub fn remote(&self) -> &Remote {
        match self {
            Self::List { remote, .. }
            | Self::Show { remote, .. }
            | Self::Pin { remote, .. }
            | Self::Forget { remote, .. }
            | Self::Unpin { remote, .. } => remote,
        }
    }
}

pub async fn run(verb: Verb) -> Result<(), CliError> {
    match verb {
        Verb::List { before, remote } => list(before.as_ref(), &remote).await,
        Verb::Show { device, remote } => show(&device, &remote).await,
        Verb::Pin { device, release, remote } => pin(&device, Some(release), &remote).await,
        Verb::Forget { device, remote } => forget(&device, &remote).await,
        Verb::Unpin { device, remote } => pin(&device, None, &remote).await,
    }
}

async fn list(before: Option<&DeviceCursor>, remote: &Remote) -> Result<(), CliError> {
    let query = before.map(|cursor| format!("?before={cursor}")).unwrap_or_default();
    let view: DeviceListView = remote.get(&format!("devices{query}")).await?;
    if remote.output() == Output::Programs {
        return print_json(&view);
    }
    let rows: Vec<_> = view.devices.iter().map(row).collect();
    table::print(
        [
            "DEVICE",
            "COMPATIBLE",
            "CHANNEL",
            "RELEASE",
            "SLOT",
            "LAST EVENT",
            "ANSWER",
            "PIN",
            "LAST SEEN",
        ],
        &rows,
    );
    eprint!("{} of {} shown", view.devices.len(), view.total);
    match view.before {
        Some(cursor) => eprintln!("; more: device list --before {cursor}"),
        None => eprintln!(),
    }
    Ok(())
}

async fn show(device: &DeviceId, remote: &Remote) -> Result<(), CliError> {
    let view: DeviceDetailView = remote.get(&format!("devices/{device}")).await?;
    if remote.output() == Output::Programs {
        return print_json(&view);
    }
    let DeviceDetailView { device, events } = view;
    println!("device      {}", device.device);
    println!("compatible  {}", device.compatible);
    if let Some(check) = &device.check {
        println!("release     {} in slot {}", or_dash(check.release.as_ref()), check.slot.as_str());
        println!("channel     {}", or_dash(check.channel.as_ref()));
        println!("answer      {}: {}", check.reason, check.detail);
    }
    println!("pin         {}", or_dash(device.pin.as_ref()));
    println!("first seen  {}", device.first_seen);
    println!("last seen   {}\n", device.last_seen);
    let rows: Vec<_> = events.iter().map(event_row).collect();
    table::print(["AT", "EVENT", "RELEASE", "SLOT", "FROM", "REASON"], &rows);
    Ok(())
}

async fn forget(device: &DeviceId, remote: &Remote) -> Result<(), CliError> {
    remote.delete(&format!("devices/{device}")).await?;
    if remote.output() == Output::Programs {
        return print_json(&serde_json::json!({ "forgotten": device }));
    }
    println!("{device} is forgotten");
    Ok(())
}

async fn pin(device: &DeviceId, release: Option<Release>, remote: &Remote) -> Result<(), CliError> {
    let path = format!("devices/{device}/pin");
    let view: DeviceView = remote.put(&path, &PinDevice { release }).await?;
    if remote.output() == Output::Programs {
        return print_json(&view);
    }
    match &view.pin {
        Some(release) => println!("{device} is pinned to {release}"),
        None => println!("{device} follows its channel"),
    }
    Ok(())
}

fn row(view: &DeviceView) -> [String; 9] {
    let (check, event) = (view.check.as_ref(), view.event.as_ref());
    [
        view.device.to_string(),
        view.compatible.to_string(),
        or_dash(check.and_then(|check| check.channel.as_ref())),
        or_dash(check.and_then(|check| check.release.as_ref())),
        or_dash(check.map(|check| check.slot.as_str())),
        or_dash(event.map(|event| event.kind.as_str())),
        or_dash(check.map(|check| &check.reason)),
        or_dash(view.pin.as_ref()),
        view.last_seen.to_string(),
    ]
}

fn event_row(event: &DeviceEvent) -> [String; 6] {
    [
        event.at.to_string(),
        event.kind.as_str().to_owned(),
        or_dash(event.release.as_ref()),
        or_dash(event.slot.map(|slot| slot.as_str())),
        or_dash(event.from.as_ref()),
        or_dash(event.reason.as_ref().map(|reason| printable(reason))),
    ]
}

/// What a device wrote is not to move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
