//! What the selector and a kernel would do.

use partition_layout::{Access, DiskFile, SlotLetter, boot_decision, commit};

use super::{Kernel, World, table};
use crate::command::{Failure, expect};

impl World {
    /// The selector and the kernel, until an agent could start; how often the machine was reset.
    ///
    /// # Errors
    /// When no slot comes up in ten boots, or the disk is not as it should be.
    pub fn boot(&mut self, kernel: impl Fn(&str) -> Kernel) -> Result<u32, Failure> {
        let resets = self.boot_unjudged(kernel)?;
        self.judged(|| Ok(resets))
    }

    /// The same after a crash, whose table an agent has yet to look after.
    ///
    /// # Errors
    /// When no slot comes up in ten boots.
    pub fn boot_unjudged(&mut self, kernel: impl Fn(&str) -> Kernel) -> Result<u32, Failure> {
        for resets in 0..10 {
            let slot = self.start_slot()?;
            if kernel(&self.release_in(slot)?) == Kernel::Runs {
                self.booted = slot;
                return Ok(resets);
            }
        }
        expect("boots until a slot comes up", "more than 10", "at most 10")?;
        Ok(10)
    }

    /// What the selector does: decides, and writes that a try is used.
    fn start_slot(&self) -> Result<SlotLetter, Failure> {
        let disk = DiskFile::open(self.path("disk"), Access::ReadWrite)?;
        let table = table(&disk)?;
        let attributes: Vec<_> = table.slots.iter().map(|slot| slot.attributes).collect();
        let order = boot_decision(&attributes);
        let first = order.attempts.first().ok_or_else(|| Failure::Unexpected {
            what: "the boot order",
            expected: "a slot".to_owned(),
            found: "none".to_owned(),
        })?;
        let slot = &table.slots[first.index];
        if let Some(tries) = first.tries_after {
            let less = slot.attributes.with_boot(slot.attributes.priority(), tries, false);
            let _durable = commit(&disk, &[(slot.kernel.number, less)])?;
        }
        Ok(slot.letter)
    }
}
