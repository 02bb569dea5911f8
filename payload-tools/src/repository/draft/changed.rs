//! Drafts that were changed after somebody had signed them: a signature is there, and is of something
//! else.

use std::collections::BTreeSet;

use super::{Draft, DraftError};
use crate::trust::Role;

impl Draft {
    /// Refuses a draft that was changed after somebody had signed it.
    pub(super) fn refuse_misattributed(&self) -> Result<(), DraftError> {
        self.misattributed()?.into_iter().try_for_each(Err)
    }

    /// The same of another copy, before it is taken over. A signature that is none, of a content that is
    /// here too, does no harm: it is left out.
    pub(super) fn refuse_changed(&self, copy: &Self) -> Result<(), DraftError> {
        let is_here = |error: &DraftError| match error {
            DraftError::Changed { role, .. } => self.message(role) == copy.message(role),
            _ => false,
        };
        copy.misattributed()?.into_iter().filter(|error| !is_here(error)).try_for_each(Err)
    }

    /// What there is in the names of keys that did not sign it, file by file.
    fn misattributed(&self) -> Result<Vec<DraftError>, DraftError> {
        let mut errors = Vec::new();
        for (role, file) in self.changed() {
            let signers = self.requirements(&role)?.into_iter().map(|needed| needed.signers);
            let keys: BTreeSet<_> = signers.flat_map(|by| file.misattributed_to(by)).collect();
            if !keys.is_empty() {
                let (version, keys) = (file.version(), keys.into_iter().collect());
                errors.push(DraftError::Changed { role, version, keys });
            }
        }
        Ok(errors)
    }

    fn message(&self, of: &Role) -> Option<&[u8]> {
        let mut changed = self.changed().into_iter();
        changed.find(|(role, _)| role == of).map(|(_, file)| file.message())
    }
}
