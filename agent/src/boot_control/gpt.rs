//! [`BootControl`] over the boot attributes of a GPT.

use std::io;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use partition_layout::{
    Access, BlockDevice, DiskFile, Durable, Layout, Partition, Slot, SlotLetter, SlotState,
    SlotTable, Table, commit_with, preflight, repair_backup,
};
use payload_tools::format::uki::Osrel;

use super::in_use::claim;
use super::transition::{Pair, TransitionError};
use super::twin::twin_of;
use super::{BootControl, BootError, Evidence, InstalledSlot, Ready, SlotRecord, Undo, Vouched};
use crate::install::{
    Extent, ImageExtents, ImageIndex, ImagePlan, Prepared, StagePlan, TargetContent,
};
use crate::update::{Booted, Named, Seen, SeenSlot};

/// Which disk, and what says what runs from it.
#[derive(Debug, Clone)]
pub enum BootSource {
    /// The disk that this system runs from.
    RunningSystem,
    /// A disk or image file that nothing runs from; the slot is taken as booted, or the
    /// next one where the other is empty. To look, the one that would start next will do.
    Disk {
        /// The file or device.
        path: PathBuf,
        /// The slot.
        booted: Option<SlotLetter>,
    },
}

/// The slots of one GPT disk.
pub struct GptBootControl {
    path: PathBuf,
    disk: DiskFile,
    layout: Layout,
    evidence: Evidence,
    /// Where /proc, /sys and /dev are.
    root: PathBuf,
}

impl GptBootControl {
    /// Opens the disk of `source`.
    ///
    /// # Errors
    /// There is none, or it has no slots.
    pub fn open(source: BootSource, access: Access) -> Result<Self, BootError> {
        let (layout, root) = (Layout::standard(), PathBuf::from("/"));
        let (path, booted) = match source {
            BootSource::RunningSystem => {
                let (evidence, path) = Evidence::of_device(&root)?;
                let disk = DiskFile::open(&path, access)?;
                return Ok(Self { path, disk, layout, evidence, root });
            }
            BootSource::Disk { path, booted } => (path, booted),
        };
        let disk = match access {
            Access::ReadOnly => DiskFile::open(&path, access)?,
            Access::ReadWrite | Access::Exclusive => {
                runs_nothing(&root, &path, booted)?;
                DiskFile::open(&path, Access::Exclusive)?
            }
        };
        let evidence = said(&disk, &path, &layout, booted, access)?;
        Ok(Self { path, disk, layout, evidence, root })
    }

    fn table(&self) -> Result<SlotTable, BootError> {
        read_table(&self.disk, &self.path, &self.layout)
    }

    /// The booted slot, which must be certain.
    fn certain(&self, table: &SlotTable) -> Result<SlotLetter, BootError> {
        match self.evidence.booted(table) {
            Booted::Slot(letter) => Ok(letter),
            Booted::Mixed(why) => Err(BootError::Mixed(why)),
        }
    }

    /// Writes what `step` makes of both slots, in one commit.
    fn change(
        &self,
        name: &'static str,
        step: impl FnOnce(Pair) -> Result<Pair, TransitionError>,
    ) -> Result<Durable, BootError> {
        let decide = |table: &Table| {
            let table = SlotTable::of(table, &self.layout)
                .map_err(|source| BootError::Discover { disk: self.path.clone(), source })?;
            let letter = self.certain(&table)?;
            let (booted, other) = (table.slot(letter), table.slot(letter.other()));
            let pair = Pair { booted: booted.attributes, other: other.attributes };
            let after =
                step(pair).map_err(|source| BootError::Transition { step: name, source })?;
            Ok(vec![(booted.kernel.number, after.booted), (other.kernel.number, after.other)])
        };
        commit_with(&self.disk, decide)
            .map_err(|source| BootError::Commit { step: name, source })?
    }

    fn target(&self, letter: SlotLetter) -> Result<(), BootError> {
        match self.certain(&self.table()?)? {
            booted if booted == letter => Err(BootError::TargetIsBooted(letter)),
            _ => Ok(()),
        }
    }

    fn record(&self, slot: &Slot) -> SlotRecord {
        // A slot that names no release is shown and judged as one without a name.
        let osrel = self.osrel(slot);
        let named = osrel.map(|osrel| Named { release: osrel.release, counter: osrel.counter });
        SlotRecord {
            seen: SeenSlot {
                letter: slot.letter,
                state: slot.attributes.state(),
                successful: slot.attributes.successful(),
                named,
            },
            entry: slot.kernel.number,
            partuuid: slot.kernel.guid,
            attributes: slot.attributes,
        }
    }

    /// What the booted slot's image says about itself.
    ///
    /// # Errors
    /// What runs is mixed, or the disk cannot be read. `None`: it says nothing.
    pub fn booted_release(&self) -> Result<Option<Osrel>, BootError> {
        let table = self.table()?;
        let letter = self.certain(&table)?;
        Ok(self.osrel(table.slot(letter)))
    }

    /// Only a running system can take one disk for another.
    fn only_disk(&self) -> Result<(), BootError> {
        if !matches!(self.evidence, Evidence::Device { .. }) {
            return Ok(());
        }
        let twin = twin_of(&self.root, &self.path, self.table()?.disk_guid);
        twin.map_or(Ok(()), |twin| Err(BootError::Twin { disk: self.path.clone(), twin }))
    }

    /// Keeps everybody else out of a slot. A disk that nothing runs from was claimed as a whole.
    fn claim(&self, slot: &Slot) -> Result<Vec<DiskFile>, BootError> {
        if !matches!(self.evidence, Evidence::Device { .. }) {
            return Ok(Vec::new());
        }
        let partitions = [&slot.kernel, &slot.root].into_iter().chain(&slot.verity);
        claim(&self.root, &self.path, partitions)
            .map_err(|source| BootError::NotFree { slot: slot.letter, source })
    }

    fn osrel(&self, slot: &Slot) -> Option<Osrel> {
        let Partition { offset, size, .. } = slot.kernel;
        let mut read = |buf: &mut [u8], at: u64| {
            let at = offset.checked_add(at).ok_or(io::ErrorKind::InvalidInput)?;
            self.disk.read_at(at, buf)
        };
        Osrel::read(size, &mut read).ok()
    }

    fn extents_of(&self, table: &SlotTable, target: SlotLetter) -> [ImageExtents; 2] {
        let extent = |partition: &Partition| Extent {
            path: self.path.clone(),
            offset: partition.offset,
            size: partition.size,
        };
        let (to, from) = (table.slot(target), table.slot(target.other()));
        [(&to.kernel, &from.kernel), (&to.root, &from.root)]
            .map(|(to, from)| ImageExtents { target: extent(to), booted: extent(from) })
    }
}

fn read_table(
    disk: &dyn BlockDevice,
    path: &Path,
    layout: &Layout,
) -> Result<SlotTable, BootError> {
    SlotTable::read(disk, layout)
        .map_err(|source| BootError::Discover { disk: path.to_owned(), source })
}

/// Refuses a device that the system below `root` (`/`) runs from, or may run
/// from where nobody says what else is booted: what would start *next* is then
/// a guess, after an activation the wrong one.
fn runs_nothing(root: &Path, path: &Path, booted: Option<SlotLetter>) -> Result<(), BootError> {
    let is_device = |meta: std::fs::Metadata| meta.file_type().is_block_device();
    if !std::fs::metadata(path).is_ok_and(is_device) {
        return Ok(());
    }
    let disk = path.to_owned();
    match (Evidence::runs_from(root, path), booted) {
        (Ok(false), _) | (Err(_), Some(_)) => Ok(()),
        (Ok(true), _) => Err(BootError::Running { disk }),
        (Err(source), None) => Err(BootError::PerhapsRunning { disk, source }),
    }
}

/// Evidence about an image file. Its boot id changes when the selector spent a
/// try of the slot that is not booted, as it does when that would not start.
fn said(
    disk: &DiskFile,
    path: &Path,
    layout: &Layout,
    booted: Option<SlotLetter>,
    access: Access,
) -> Result<Evidence, BootError> {
    let table = read_table(disk, path, layout)?;
    let letter = booted.map_or_else(|| unsaid(&table, path, access), Ok)?;
    let other = table.slot(letter.other()).attributes;
    let spent = other.state() == SlotState::Trial && other.tries() < super::TRIES;
    let boot_id =
        if spent { format!("{letter}, {} left", other.tries()) } else { letter.to_string() };
    Ok(Evidence::Said { letter, boot_id })
}

/// What starts next is not what is booted: after an activation it is the other slot, whose trial
/// would be judged here without ever having run.
fn unsaid(table: &SlotTable, path: &Path, access: Access) -> Result<SlotLetter, BootError> {
    let disk = path.to_owned();
    let Some(next) = table.next() else { return Err(BootError::NothingNext { disk }) };
    let states = SlotLetter::BOTH.map(|letter| table.slot(letter).attributes.state());
    if access == Access::ReadOnly || states.contains(&SlotState::Empty) {
        return Ok(next);
    }
    Err(BootError::EitherBooted { disk, next, states })
}

impl BootControl for GptBootControl {
    fn source(&self) -> &Path {
        &self.path
    }

    fn seen(&self) -> Result<Seen, BootError> {
        let table = self.table()?;
        let [a, b] = self.slots()?;
        Ok(Seen {
            booted: self.evidence.booted(&table),
            boot_id: self.evidence.boot_id().to_owned(),
            slots: [a.seen, b.seen],
            last_boot: self.evidence.report().map(str::to_owned),
            unfit: None,
            over_budget: None,
        })
    }

    fn slots(&self) -> Result<[SlotRecord; 2], BootError> {
        let table = self.table()?;
        Ok(SlotLetter::BOTH.map(|letter| self.record(table.slot(letter))))
    }

    fn predict(&self) -> Result<Option<SlotLetter>, BootError> {
        Ok(self.table()?.next())
    }

    fn installed(
        &self,
        letter: SlotLetter,
        release: Option<&Named>,
    ) -> Result<InstalledSlot, BootError> {
        self.target(letter)?;
        let record = self.record(self.table()?.slot(letter));
        if record.seen.confirmed() && record.seen.named.as_ref() == release {
            return Ok(InstalledSlot { letter });
        }
        let expected =
            release.map_or("its release".to_owned(), |named| format!("release {}", named.release));
        Err(BootError::NotInstalled { slot: letter, expected })
    }

    fn extents(&self, target: SlotLetter) -> Result<[ImageExtents; 2], BootError> {
        self.target(target)?;
        Ok(self.extents_of(&self.table()?, target))
    }

    fn make_unbootable(
        &mut self,
        target: SlotLetter,
        release: Prepared,
        content: TargetContent,
    ) -> Result<StagePlan, BootError> {
        self.target(target)?;
        self.only_disk()?;
        let report = preflight(&self.disk, &self.layout)?;
        let slot = report.table.slot(target);
        let claims = self.claim(slot)?;
        let plan = |index: ImageIndex, to: &Partition, extents: ImageExtents| {
            to.check_fit(index.image().size)?;
            let ImageExtents { target, booted } = extents;
            Ok::<_, BootError>(ImagePlan { index, target, booted: Some(booted) })
        };
        let [kernel, root] = self.extents_of(&report.table, target);
        let kernel = plan(release.kernel, &slot.kernel, kernel)?;
        let root = plan(release.root, &slot.root, root)?;
        let unbootable = self.change("make the target unbootable", Pair::unbootable)?;
        Ok(StagePlan { slot: target, kernel, root, content, unbootable, claims })
    }

    fn activate(&mut self, target: SlotLetter, ready: Ready) -> Result<Durable, BootError> {
        self.target(target)?;
        let ready = match ready {
            Ready::Staged(staged) => staged.slot(),
            Ready::Installed(InstalledSlot { letter }) => letter,
        };
        if ready != target {
            return Err(BootError::NotReady { slot: target, ready });
        }
        self.change("activate the target", Pair::activate)
    }

    fn cancel(&mut self, target: SlotLetter, undo: Undo) -> Result<Durable, BootError> {
        self.target(target)?;
        self.change("cancel the activation", |pair| match undo {
            Undo::Confirmed => pair.cancel_to_confirmed(),
            Undo::Unbootable => pair.cancel_to_unbootable(),
        })
    }

    fn confirm(&mut self, Vouched(()): Vouched) -> Result<Durable, BootError> {
        self.change("confirm the booted slot", |pair| Ok(pair.confirm()))
    }

    fn mark_failed(&mut self, slot: SlotLetter) -> Result<Durable, BootError> {
        let booted = self.certain(&self.table()?)?;
        self.change("mark the slot failed", |pair| {
            if slot == booted { Ok(pair.fail_booted()) } else { pair.fail_other() }
        })
    }

    fn sync(&mut self) -> Result<(), BootError> {
        self.certain(&self.table()?)?;
        let step = "bring both copies of the partition table up to date";
        repair_backup(&self.disk).map_err(|source| BootError::Commit { step, source })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
