use payload_tools::format::Release;
use payload_tools::trust::{Limits, TrustError, verify_bundle};
use serde::Serialize;

use super::{Args, Exit, Failure, look, print, print_json, render};
use crate::client::{NoAnchor, StoreError};
use crate::device::booted_osrel;
use crate::status::Status;
use crate::update::Command;

/// Releases that cannot be listed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ListError {
    #[error(transparent)]
    NoAnchor(#[from] NoAnchor),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("this device has no metadata yet: run `updatectl check` first")]
    NotYet,
    #[error("the metadata on STATE does not verify: run `updatectl check` first")]
    Trust(#[from] TrustError),
}

/// One release.
#[derive(Debug, Serialize)]
pub(super) struct Listed {
    pub release: Release,
    pub counter: u64,
    pub channels: Vec<String>,
    /// The slots that hold it.
    pub slots: Vec<partition_layout::SlotLetter>,
    pub booted: bool,
    pub floor: bool,
    /// `failed`, `held` or `pinned`.
    pub note: Option<&'static str>,
}

pub(super) fn list(args: &Args) -> Result<Exit, Failure> {
    let status = look(&args.device)?;
    let releases = known(args, &status)?;
    if args.json {
        print_json(&releases)?;
    } else {
        print(&render::releases(&releases))?;
    }
    Ok(Exit::Done)
}

/// The releases of the metadata on STATE, verified anew, newest first.
fn known(args: &Args, status: &Status) -> Result<Vec<Listed>, Failure> {
    let boot = args.device.boot_control(partition_layout::Access::ReadOnly)?;
    let anchor = args.device.anchor(booted_osrel(&boot), args.device.state_folder().as_ref());
    let anchor = anchor.map_err(ListError::NoAnchor)?;
    let stored = anchor.store.load().map_err(ListError::Store)?;
    if stored.is_empty() {
        return Err(ListError::NotYet.into());
    }
    let (root, now) = (&anchor.first_root, anchor.now());
    // What lies on STATE is what a bundle has; its age is told by `check`.
    let read = |name: &str, _max| Ok::<_, TrustError>(stored.get(name).cloned());
    let trusted = verify_bundle(root, &stored, read, &anchor.compatible, now, Limits::default())
        .map_err(ListError::Trust)?;
    let mut releases: Vec<Listed> = trusted
        .releases()
        .iter()
        .map(|signed| {
            let facts = signed.facts();
            Listed {
                release: facts.release.clone(),
                counter: facts.counter,
                channels: facts.channels.iter().map(ToString::to_string).collect(),
                slots: slots_of(status, &facts.release),
                booted: booted(status, &facts.release),
                floor: facts.floor,
                note: note(status, &facts.release),
            }
        })
        .collect();
    releases.sort_by_key(|listed| std::cmp::Reverse(listed.counter));
    Ok(releases)
}

/// What a pin or a channel names and no release that is known here has: it is kept all the same,
/// since newer metadata may know it.
pub(super) fn doubt(args: &Args, command: &Command, status: &Status) -> Option<String> {
    let known = || known(args, status).ok();
    match command {
        Command::Pin { release: Some(release) } => {
            let named = known()?.iter().any(|listed| listed.release == *release);
            (!named)
                .then(|| format!("the newest metadata on this device names no release {release}"))
        }
        Command::Channel { channel: Some(channel) } => {
            let signed =
                |listed: &Listed| listed.channels.iter().any(|name| name == channel.as_str());
            let known = known()?.iter().any(signed);
            (!known).then(|| {
                format!("no release in the newest metadata on this device is signed for {channel}")
            })
        }
        _ => None,
    }
}

fn slots_of(status: &Status, release: &Release) -> Vec<partition_layout::SlotLetter> {
    let holds = |slot: &&crate::status::SlotStatus| slot.release.as_ref() == Some(release);
    status.slots.iter().filter(holds).map(|slot| slot.slot).collect()
}

fn booted(status: &Status, release: &Release) -> bool {
    status.booted.is_some_and(|booted| slots_of(status, release).contains(&booted))
}

fn note(status: &Status, release: &Release) -> Option<&'static str> {
    let memory = &status.agent.as_ref()?.life.memory;
    if memory.failure_of(release).is_some() {
        return Some("failed");
    }
    if memory.held.as_ref().is_some_and(|held| held.named.release == *release) {
        return Some("held");
    }
    (memory.pinned.as_ref() == Some(release)).then_some("pinned")
}
