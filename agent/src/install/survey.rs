//! What a release would cost, before anything is written.

use partition_layout::Access;
use payload_tools::fetch_plan::Costs;
use payload_tools::format::Role;

use super::costs::costs;
use super::error::InstallError;
use super::index::{Indexed, Prepared};
use super::plan::{ImageExtents, TargetContent};
use super::progress::{Meter, Progress};
use super::scan::{InBooted, scan};
use super::stage::Files;

/// Reads what the target slot and the booted one have of a release, whose kernel and root these
/// partitions are. Blocks for as long as that takes, or until `watch` ends it.
///
/// # Errors
/// A partition cannot be opened, or nobody wants to know any more.
pub fn survey(
    release: &Prepared,
    extents: &[ImageExtents; 2],
    watch: &dyn Progress,
) -> Result<Costs, InstallError> {
    let [kernel, root] = extents;
    let mut sum = Costs::default();
    for (role, index, extents) in
        [(Role::Kernel, &release.kernel, kernel), (Role::Root, &release.root, root)]
    {
        let (target, booted) = (&extents.target, Some(&extents.booted));
        let files = Files::open(role, target, booted, Access::ReadOnly)?;
        let indexed = Indexed::new(index, files.target(), files.booted());
        let meter = Meter::new(watch, indexed.image.size);
        let scanned = scan(&indexed, TargetContent::CutStage, InBooted::Noted, &meter)?;
        sum = sum + costs(index, &indexed, &scanned);
    }
    Ok(sum)
}
