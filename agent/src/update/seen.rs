use jiff::Timestamp;
use partition_layout::{SlotLetter, SlotState};

use super::Named;

/// The device as it is now, read anew before every step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// What runs.
    pub booted: Booted,
    /// Differs from boot to boot.
    pub boot_id: String,
    /// Both slots.
    pub slots: [SeenSlot; 2],
    /// The selector's words about this boot, for reports only.
    pub last_boot: Option<String>,
    /// Until when no more may be fetched: the download budget is spent.
    pub over_budget: Option<Timestamp>,
    /// What keeps this boot from taking a release: it could not be remembered, or
    /// not verified.
    pub unfit: Option<String>,
}

/// Which slot runs, by evidence and never by the bits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Booted {
    /// Kernel and root both come from this slot.
    Slot(SlotLetter),
    /// They do not, or nothing says where they come from.
    Mixed(String),
}

/// One slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeenSlot {
    /// Its letter.
    pub letter: SlotLetter,
    /// What its bits say.
    pub state: SlotState,
    /// Its successful bit: what tells a confirmed slot from one on its last try.
    pub successful: bool,
    /// The release that its kernel names.
    pub named: Option<Named>,
}

impl Seen {
    /// The slot with this letter.
    pub fn slot(&self, letter: SlotLetter) -> &SeenSlot {
        let [a, b] = &self.slots;
        if a.letter == letter { a } else { b }
    }

    /// The booted slot and the other one.
    ///
    /// # Errors
    /// What disagrees, on a mixed slot.
    pub fn pair(&self) -> Result<(&SeenSlot, &SeenSlot), &str> {
        match &self.booted {
            Booted::Slot(letter) => Ok((self.slot(*letter), self.slot(letter.other()))),
            Booted::Mixed(why) => Err(why),
        }
    }
}

impl SeenSlot {
    /// Whether the selector would start it.
    pub fn confirmed(&self) -> bool {
        self.state == SlotState::Confirmed
    }
}
