//! What a stage fetched of a release, and what each way to it costs.

use std::fmt;

use payload_tools::fetch_plan::{Costs, Mib, Offered};
use payload_tools::format::delta::head_len;
use serde::{Deserialize, Serialize};

use super::delta::Delta;
use super::index::{ImageIndex, Indexed};
use super::scan::Scanned;

/// What a stage fetched, and what it would have by other ways.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Download {
    /// Payload bytes.
    pub fetched: u64,
    /// What was to be expected.
    pub costs: Costs,
}

/// What each way to an image costs.
pub(super) fn costs(index: &ImageIndex, indexed: &Indexed<'_>, scanned: &Scanned) -> Costs {
    let Indexed { image, levels, table, delta, .. } = indexed;
    let head_bytes = if index.has_delta() { head_len(image.size) } else { 0 };
    let offered = Offered {
        levels,
        table,
        delta: delta.as_ref().map(Delta::head),
        index_bytes: index.bytes_fetched() - head_bytes,
        head_bytes,
    };
    Costs::of(&offered, &scanned.target, &scanned.wanted)
}

impl fmt::Display for Download {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} fetched of {}", Mib(self.fetched), self.costs)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_fetched_stands_before_what_was_to_be_expected() {
        let said = Download { fetched: 3 << 19, costs: Costs::default() }.to_string();
        assert!(said.starts_with("1.5 MiB fetched of 0.0 MiB to fetch: full payload "), "{said}");
    }
}
