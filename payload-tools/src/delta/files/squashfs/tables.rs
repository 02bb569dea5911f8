//! Where the tables are, and what they hold: "Overview", "Storing Lookup Tables" and
//! "Extended Attribute Table".

use std::collections::BTreeSet;
use std::io;

use super::metadata::{Metadata, Table};
use super::passable;
use super::runs::Runs;
use super::source::Source;
use super::superblock::Superblock;

/// The tables that say where files are.
#[derive(Default)]
pub(super) struct Tables {
    pub inodes: Table,
    pub directories: Table,
    pub fragments: Table,
}

/// Reads the tables, and adds the blocks of all of them to the runs.
///
/// Nothing says where one ends: it does where the next thing begins, so that no
/// byte is read twice, whatever the superblock says.
pub(super) fn read(
    source: &Source<'_>,
    superblock: &Superblock,
    runs: &mut Runs,
) -> io::Result<Tables> {
    let (inodes, directories) = (superblock.inode_table, superblock.directory_table);
    let fragments = first_block(source, superblock.fragment_table, superblock.fragments > 0)?;
    let export = first_block(source, superblock.export_table, superblock.inodes > 0)?;
    let ids = first_block(source, superblock.id_table, superblock.ids > 0)?;
    // The keys and values, and behind them and a count what says where each file's are.
    let xattr = superblock.xattr_table;
    let values = first_block(source, xattr, true)?;
    let value_ids = first_block(source, xattr.saturating_add(16), true)?;
    let starts: BTreeSet<u64> = [Some(inodes), Some(directories), fragments, export, ids]
        .into_iter()
        .chain([values, value_ids])
        .flatten()
        .filter(|start| (superblock.data..source.size).contains(start))
        .collect();
    // The places of the blocks of a table follow those.
    let mut ends = starts.clone();
    ends.extend([superblock.fragment_table, superblock.export_table, superblock.id_table]);
    ends.extend([xattr, source.size]);

    let mut metadata = Metadata::new(source, superblock.level)?;
    let mut tables = Tables::default();
    for start in starts {
        let end = ends.range(start + 1..).next().map_or(source.size, |end| *end);
        let (table, found) = metadata.chain(start..end)?;
        for run in found {
            runs.add(run);
        }
        if start == inodes {
            tables.inodes = table;
        } else if start == directories {
            tables.directories = table;
        } else if fragments == Some(start) {
            tables.fragments = table;
        }
    }
    Ok(tables)
}

/// The place of the first block of a table that is found by a list of such.
fn first_block(source: &Source<'_>, list: u64, any: bool) -> io::Result<Option<u64>> {
    // Where there is no such table the place is beyond every image.
    let place = if any { passable(source.read(list))? } else { None };
    Ok(place.map(u64::from_le_bytes))
}
