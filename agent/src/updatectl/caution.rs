//! What a command does that cannot be undone, said once it is accepted.

use partition_layout::SlotLetter;

use crate::status::Status;
use crate::update::Command;

/// What to say, if there is anything.
pub(super) fn of(command: &Command, status: &Status) -> Option<String> {
    let target = status.booted.or(status.next).map(SlotLetter::other)?;
    match command {
        Command::Update { .. } | Command::Install { .. } => Some(format!(
            "slot {target}, which holds {}, is overwritten unless the release is already in it; \
             what it holds cannot be rolled back to afterwards",
            held_by(status, target)
        )),
        Command::Confirm => Some(
            "a confirmed slot is not left by itself any more: its trial ends here, without its \
             health checks"
                .to_owned(),
        ),
        Command::Rollback => Some(format!(
            "the next boot starts slot {target} with {}; data on STATE stays as it is, and \
             the release that is left is held until a newer one or `updatectl update`",
            held_by(status, target)
        )),
        Command::Cancel => Some(format!(
            "a release in slot {target} that never ran becomes unbootable; installing it again \
             fetches only what is missing"
        )),
        Command::Check | Command::Channel { .. } | Command::Pin { .. } | Command::Unpin => None,
    }
}

fn held_by(status: &Status, slot: SlotLetter) -> String {
    let record = status.slots.iter().find(|record| record.slot == slot);
    let release = record.and_then(|record| record.release.as_ref());
    release.map_or("no named release".to_owned(), |release| format!("release {release}"))
}
