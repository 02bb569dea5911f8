//! The machine against a model of the disk: the steps of `boot_control`, and
//! the boot decision in the selector's place.

mod device;
mod failures;
mod interrupted;
mod joins;
mod lost_journal;
mod people;
mod table;
mod updates;

use jiff::Timestamp;
use partition_layout::{SlotLetter, SlotState};
use payload_tools::trust::policy::Direction;

use super::*;
use crate::update::decide::{Offer, Source};
use crate::update::{Booted, Command, SeenSlot, Way};

fn named(counter: u64) -> Named {
    Named { release: counter.to_string().parse().unwrap(), counter }
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn offer(counter: u64) -> Checked {
    let (named, admission) = (named(counter), Ok(Direction::Forward));
    Checked::Offer(Box::new(Offer { named, admission, source: Source::Server, costs: None }))
}

fn bad(reason: &str) -> Probe {
    Probe::Bad { reason: reason.to_owned() }
}

/// Slot A runs release 1, slot B is in `other` and names release 2.
fn seen(booted: SlotState, other: SlotState) -> Seen {
    let slot = |letter, state, counter| SeenSlot {
        letter,
        state,
        successful: matches!(state, SlotState::Confirmed | SlotState::Retired),
        named: Some(named(counter)),
    };
    Seen {
        booted: Booted::Slot(SlotLetter::A),
        boot_id: "boot 2".to_owned(),
        slots: [slot(SlotLetter::A, booted, 1), slot(SlotLetter::B, other, 2)],
        last_boot: Some("slot A (confirmed) started: fallback".to_owned()),
        unfit: None,
        over_budget: None,
    }
}

fn change(slot: SlotLetter, motive: Motive) -> Change {
    let way = if motive == Motive::Rollback { Way::Installed } else { Way::Install };
    Change { to: Some(named(2)), from: Some(named(1)), slot, way, motive }
}

fn granted() -> Motive {
    Motive::Channel { downgrade: false }
}
