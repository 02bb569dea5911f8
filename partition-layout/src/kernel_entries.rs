//! Which partitions hold the kernels of slots A and B, by what the table alone says.

use alloc::vec::Vec;

use crate::{
    Attempt, BootAttributes, BootOrder, Entry, Guid, Refusal, SlotLetter, SlotState, StartFailure,
    Table, boot_decision,
};

/// Type of a kernel partition: ChromeOS kernel, the type that owns attribute bits 48-56.
pub const KERNEL_TYPE: Guid = Guid::from_fields(
    0xFE3A_2A5D,
    0x4F32,
    0x41A7,
    [0xB7, 0x25, 0xAC, 0xCC, 0x32, 0x85, 0xA3, 0x09],
);

/// The kernel partitions of a disk in the order of their entries, each with its slot.
///
/// A kernel partition is known by [`KERNEL_TYPE`], its slot by the last letter of its name,
/// whatever the rest of the layout is called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KernelEntries(Vec<(SlotLetter, Entry)>);

/// Kernel partitions that cannot be told apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KernelEntriesError {
    /// Nothing to start.
    #[error("no kernel partition (type {KERNEL_TYPE}) with a name that ends in A or B")]
    None,
    /// Two partitions claim one slot.
    #[error("kernel partitions {first} and {second} both belong to slot {letter}")]
    Ambiguous {
        /// The slot.
        letter: SlotLetter,
        /// Number of the first entry, from 1.
        first: u32,
        /// Number of the second entry.
        second: u32,
    },
}

impl KernelEntries {
    /// Finds them in the copy that counts.
    ///
    /// # Errors
    /// When there is none, or it is unclear which is whose.
    pub fn find(table: &Table) -> Result<Self, KernelEntriesError> {
        let mut found: Vec<(SlotLetter, Entry)> = Vec::new();
        for entry in table.partitions().filter(|entry| entry.type_guid == KERNEL_TYPE) {
            // A stray partition of the type is no slot, and no reason not to boot.
            let letter = entry.name.chars().next_back().and_then(SlotLetter::from_char);
            let Some(letter) = letter else { continue };
            if let Some((_, earlier)) = found.iter().find(|(taken, _)| *taken == letter) {
                let (first, second) = (earlier.number, entry.number);
                return Err(KernelEntriesError::Ambiguous { letter, first, second });
            }
            found.push((letter, entry));
        }
        if found.is_empty() { Err(KernelEntriesError::None) } else { Ok(Self(found)) }
    }

    /// In the order of the entries: an [`Attempt`](crate::Attempt)'s index counts in this.
    pub fn as_slice(&self) -> &[(SlotLetter, Entry)] {
        &self.0
    }

    /// What starts, and in which order.
    pub fn order(&self) -> BootOrder {
        let attributes: Vec<BootAttributes> =
            self.0.iter().map(|(_, entry)| entry.attributes).collect();
        boot_decision(&attributes)
    }

    /// What the report of `attempt` says was passed over: first the slots that would have come
    /// before it had they tries left, the news of a fallback, then those of `refused`, which did
    /// not start in this boot. No slot is in it twice.
    pub fn passed_over(&self, attempt: &Attempt, refused: &[Refusal]) -> Vec<Refusal> {
        let priority = self.0.get(attempt.index).map(|(_, entry)| entry.attributes.priority());
        let failed_above = self.0.iter().filter(|(letter, entry)| {
            entry.attributes.state() == SlotState::Failed
                && Some(entry.attributes.priority()) > priority
                && !refused.iter().any(|refusal| refusal.letter == *letter)
        });
        let no_tries_left = failed_above.map(|(letter, _)| Refusal {
            letter: *letter,
            state: SlotState::Failed,
            failure: StartFailure::NoTriesLeft,
            efi_status: 0,
        });
        no_tries_left.chain(refused.iter().copied()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Nibble;
    use alloc::vec;

    fn kernels(slots: [(u8, u8, bool); 2]) -> KernelEntries {
        let nibble = |value| Nibble::try_from(value).unwrap();
        let entries = (2..).zip(SlotLetter::BOTH).zip(slots);
        let entry =
            |((number, letter), (p, t, successful)): ((u32, SlotLetter), (u8, u8, bool))| {
                let entry = Entry {
                    number,
                    type_guid: KERNEL_TYPE,
                    guid: KERNEL_TYPE,
                    first_lba: 0,
                    last_lba: 0,
                    attributes: BootAttributes::default().with_boot(
                        nibble(p),
                        nibble(t),
                        successful,
                    ),
                    name: alloc::format!("KERNEL-{letter}"),
                };
                (letter, entry)
            };
        KernelEntries(entries.map(entry).collect())
    }

    /// What the reports of all attempts say, when none of them starts.
    fn reports(slots: [(u8, u8, bool); 2]) -> Vec<Vec<(SlotLetter, StartFailure)>> {
        let kernels = kernels(slots);
        let mut refused = vec![];
        let mut reports = vec![];
        for attempt in &kernels.order().attempts {
            let passed_over = kernels.passed_over(attempt, &refused);
            reports.push(passed_over.iter().map(|of| (of.letter, of.failure)).collect());
            let letter = kernels.as_slice()[attempt.index].0;
            let failure = StartFailure::LoadImage;
            refused.push(Refusal { letter, state: attempt.state, failure, efi_status: 1 });
        }
        reports
    }

    #[test]
    fn a_report_names_each_slot_that_was_passed_over_once() {
        use SlotLetter::{A, B};
        use StartFailure::{LoadImage, NoTriesLeft};
        let check = |slots, expected: Vec<Vec<_>>| assert_eq!(reports(slots), expected);
        // A fallback: the trial has no tries left.
        check([(2, 0, false), (1, 0, true)], vec![vec![(A, NoTriesLeft)], vec![(B, LoadImage)]]);
        // A failed slot below is no news.
        check([(1, 0, false), (2, 0, true)], vec![vec![], vec![(B, LoadImage)]]);
        // Both failed: the first was tried all the same, and did not start for another reason.
        check([(2, 0, false), (1, 0, false)], vec![vec![], vec![(A, LoadImage)]]);
    }
}
