//! The life of an update. `state` says what happens next and does nothing;
//! `driver` does it and decides nothing.

pub mod decide;
pub mod driver;

mod effect;
mod event;
mod life;
mod memory;
mod said;
mod seen;
mod started;
mod state;
mod step;
mod verdict;

pub use effect::{ConfirmedBy, Effect, HookMoment, Kind, Moment, Report};
pub use event::{
    Answer, Checked, Command, Event, Grant, InstallFault, Objection, Probe, SlotFault,
};
pub use life::{Change, Life, Motive, Named, Phase, Then, Way};
pub use memory::{Condemned, Excused, FORGOTTEN_AFTER, Held, Memory};
pub use seen::{Booted, Seen, SeenSlot};
pub use state::on;
pub use verdict::{Outcome, Verdict};
