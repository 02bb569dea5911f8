//! Where a kernel's type information ends and that of its modules begins.

use std::collections::HashMap;

use super::elf::Object;
use crate::format::delta::adjust::Domain;

const FUNC: u8 = 12;
const FUNC_PROTO: u8 = 13;

/// What tells where a module's own types and names begin. In a module the kernel's types come
/// first, then its own, and so do the names. Where they end is written nowhere.
#[derive(Debug, Default)]
pub(super) struct OwnNumbers {
    types: HashMap<u64, u32>,
    names: HashMap<u64, u32>,
}

impl OwnNumbers {
    /// Looks at a module.
    pub fn look(&mut self, module: &[u8]) {
        let Some(object) = Object::parse(module) else { return };
        let kind = |at: usize| module[at + 7] & 0x1F;
        let of = |at: usize| u32::from_le_bytes([8, 9, 10, 11].map(|n| module[at + n]));
        // A function is of a prototype, and nearly always of one that its module has too: of all
        // pairs of a reference and a prototype, the right ones agree on where ids begin.
        let types = (0u64..).zip(&object.types);
        let prototypes = types.filter(|(_, at)| kind(**at) == FUNC_PROTO);
        let prototypes: Vec<u64> = prototypes.map(|(index, _)| index).collect();
        for at in object.types.iter().filter(|at| kind(**at) == FUNC) {
            for prototype in &prototypes {
                if let Some(first) = u64::from(of(*at)).checked_sub(*prototype) {
                    *self.types.entry(first).or_default() += 1;
                }
            }
        }
        // The last string is the name of something.
        let mut last_name = 0;
        object.look(module, |_, site, number| {
            if site.domain == Domain::TypeName {
                last_name = last_name.max(number);
            }
        });
        if let Some(first) = object.last_string.and_then(|last| last_name.checked_sub(last)) {
            *self.names.entry(first).or_default() += 1;
        }
    }

    /// The first type and the first name of a module's own; 0 where nothing tells.
    pub fn first(self) -> [u64; 2] {
        [self.types, self.names].map(|votes| {
            let most = votes.into_iter().max_by_key(|(first, votes)| (*votes, *first));
            most.map_or(0, |(first, _)| first)
        })
    }
}
