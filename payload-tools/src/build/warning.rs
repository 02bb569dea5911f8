use std::fmt;

use serde::Serialize;

use crate::ReadAt;
use crate::format::ReleaseFacts;

/// What is allowed in a release and probably a mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Warning {
    /// The kernel would stand still after a panic instead of falling back.
    NoPanicReboot,
    /// Nothing that Linux mounts as a root begins like this image.
    NoFileSystem,
    /// No older release may go to this one directly.
    NoWayUp,
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Warning::NoPanicReboot => {
                "the kernel's .cmdline has no panic=SECONDS: after a kernel panic the device stands still \
                 instead of falling back"
            }
            Warning::NoFileSystem => {
                "the root image is no ext4, EROFS, SquashFS, XFS, Btrfs or F2FS: a device may not be able to \
                 mount it"
            }
            Warning::NoWayUp => {
                "--min-from is not below --counter: no device with an older release will get this one"
            }
        })
    }
}

/// Where a file system says what it is, and how.
const MAGIC: [(u64, &[u8]); 6] = [
    (1024 + 56, &[0x53, 0xEF]),
    (1024, &[0xE2, 0xE1, 0xF5, 0xE0]),
    (0, b"hsqs"),
    (0, b"XFSB"),
    (0x1_0040, b"_BHRfS_M"),
    (1024, &[0x10, 0x20, 0xF5, 0xF2]),
];

/// Whether a root image begins as no file system does that is known here.
pub(super) fn of_root(image: &dyn ReadAt) -> Option<Warning> {
    let begins = |&(at, magic): &(u64, &[u8])| {
        let mut found = vec![0; magic.len()];
        image.fill_at(&mut found, at).is_ok() && found == magic
    };
    (!MAGIC.iter().any(begins)).then_some(Warning::NoFileSystem)
}

/// Whether the facts keep every older release from it. A range to go back from is another way.
pub(super) fn of_facts(facts: &ReleaseFacts) -> Option<Warning> {
    let unreachable = facts.min_from > 0 && facts.min_from >= facts.counter;
    (unreachable && facts.downgrade_from.is_none()).then_some(Warning::NoWayUp)
}
