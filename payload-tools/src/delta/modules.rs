//! How the numbers of kernel modules moved, learned from what the modules were and are.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::code_map::code_maps;
use super::continuations::Continuations;
use super::elf::{Object, is_relocatable};
use super::own_numbers::OwnNumbers;
use super::tracks::Tracks;
use crate::format::delta::adjust::{Domain, ShiftMap};
use crate::{ReadAt, workers};

/// What moved further than this did not move, but is another number.
const SHIFT_MAX: u64 = 1 << 24;
/// Modules that are asked where their own types begin.
const ASKED: usize = 64;
/// Larger files are no modules.
const FILE_MAX: u64 = 64 << 20;

/// What is known of the modules of two images.
#[derive(Debug, Default)]
pub(super) struct Modules {
    /// The first type and the first name that a module has of its own.
    pub own: [u64; 2],
    /// How those before, the kernel's, moved.
    pub kernel: [ShiftMap; 2],
    /// Each by its index among the continuations.
    pub all: BTreeMap<usize, Module>,
}

/// One module.
#[derive(Debug)]
pub(super) struct Module {
    pub old: Object,
    /// How its numbers moved.
    pub maps: BTreeMap<Domain, ShiftMap>,
}

/// An image, old or new, that cannot be read.
type ReadError = (&'static str, io::Error);

fn of_old(error: io::Error) -> ReadError {
    ("old", error)
}

fn of_new(error: io::Error) -> ReadError {
    ("new", error)
}

/// Where most of the modules say that a number went, and how many say so.
type Votes = HashMap<(Domain, u64), HashMap<u64, u32>>;

impl Modules {
    /// Looks at all pairs of modules, twice: for what they have in common, and at each alone.
    pub fn learn(
        files: &Continuations,
        (old, new): (&dyn ReadAt, &dyn ReadAt),
        threads: NonZero<usize>,
    ) -> Result<Self, ReadError> {
        let found = find(files, old).map_err(of_old)?;
        let mut own = OwnNumbers::default();
        for index in found.iter().take(ASKED) {
            own.look(&files.get(*index).old.read(old).map_err(of_old)?);
        }
        let mut modules = Self { own: own.first(), ..Self::default() };
        let each = |work: &(dyn Fn(usize, Vec<u8>, Vec<u8>) + Sync)| {
            let next = AtomicUsize::new(0);
            workers::run(threads, || {
                while let Some(index) = found.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let file = files.get(*index);
                    let was = file.old.read(old).map_err(of_old)?;
                    work(*index, was, file.new.read(new).map_err(of_new)?);
                }
                Ok::<_, ReadError>(())
            })
        };
        let votes = Mutex::new(Votes::new());
        each(&|_, old, new| {
            let Some(object) = Object::parse(&old) else { return };
            let tracks = Tracks::of(&old, &new);
            let mut moves = moves(&object, &old, &tracks, &new);
            moves.retain(|(domain, number, _)| modules.is_kernels(*domain, *number));
            count(&mut votes.lock().unwrap_or_else(PoisonError::into_inner), moves);
        })?;
        let mut kernel = maps(votes.into_inner().unwrap_or_else(PoisonError::into_inner));
        let mut take = |domain| kernel.remove(&domain).unwrap_or_default();
        modules.kernel = [take(Domain::Type), take(Domain::TypeName)];
        let all = Mutex::new(BTreeMap::new());
        each(&|index, old, new| {
            if let Some(module) = modules.module(&old, &new) {
                all.lock().unwrap_or_else(PoisonError::into_inner).insert(index, module);
            }
        })?;
        modules.all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(modules)
    }

    fn is_kernels(&self, domain: Domain, number: u64) -> bool {
        domain.of_kernel().is_some_and(|which| number < self.own[which])
    }

    /// Where a number of a module is now.
    pub fn moved(&self, module: &Module, domain: Domain, number: u64) -> u64 {
        match domain.of_kernel() {
            Some(which) if self.is_kernels(domain, number) => self.kernel[which].moved(number),
            _ => module.maps.get(&domain).map_or(number, |map| map.moved(number)),
        }
    }

    fn module(&self, old: &[u8], new: &[u8]) -> Option<Module> {
        let mut module = Module { old: Object::parse(old)?, maps: BTreeMap::new() };
        let tracks = Tracks::of(&self.adjusted(&module, old), new);
        // Sections that are zeroes until they are relocated do not show by their bytes how they
        // moved; what refers to them does.
        if let Some(new_object) = Object::parse(new) {
            module.maps = code_maps(&module.old, &new_object, old, &tracks);
        }
        let tracks = Tracks::of(&self.adjusted(&module, old), new);
        let mut moves = moves(&module.old, old, &tracks, new);
        moves.retain(|(domain, number, _)| {
            !self.is_kernels(*domain, *number) && !module.maps.contains_key(domain)
        });
        let mut votes = Votes::new();
        count(&mut votes, moves);
        module.maps.extend(maps(votes));
        module.maps.retain(|_, map| !map.is_empty());
        Some(module)
    }

    /// A module with its numbers moved.
    fn adjusted(&self, module: &Module, old: &[u8]) -> Vec<u8> {
        let mut bytes = old.to_vec();
        module.old.change(&mut bytes, |site, number| self.moved(module, site.domain, number));
        bytes
    }
}

/// Those continuations that are modules.
fn find(files: &Continuations, old: &dyn ReadAt) -> io::Result<Vec<usize>> {
    let mut found = Vec::new();
    for index in 0..files.len() {
        let file = files.get(index);
        let is_small = file.old.len.max(file.new.len) <= FILE_MAX;
        if is_small && is_relocatable(&file.old.read_start(old)?) {
            found.push(index);
        }
    }
    Ok(found)
}

/// What became of the numbers of a module.
fn moves(object: &Object, old: &[u8], tracks: &Tracks, new: &[u8]) -> Vec<(Domain, u64, u64)> {
    let mut moves = Vec::new();
    object.look(old, |at, site, was| {
        if let Some(to) = tracks.find(at, site.len) {
            let mut is = [0; 8];
            is[..site.len].copy_from_slice(&new[to..to + site.len]);
            moves.push((site.domain, was, u64::from_le_bytes(is)));
        }
    });
    moves
}

fn count(votes: &mut Votes, moves: Vec<(Domain, u64, u64)>) {
    for (domain, was, is) in moves {
        *votes.entry((domain, was)).or_default().entry(is).or_default() += 1;
    }
}

/// A map for each domain: of each number where most say that it went.
fn maps(votes: Votes) -> BTreeMap<Domain, ShiftMap> {
    let mut shifts: BTreeMap<Domain, BTreeMap<u64, (i64, u32)>> = BTreeMap::new();
    for ((domain, was), votes) in votes {
        let all: u32 = votes.values().sum();
        let most = votes.into_iter().max_by_key(|(is, votes)| (*votes, std::cmp::Reverse(*is)));
        let Some((is, votes)) = most.filter(|(_, votes)| votes * 2 >= all) else { continue };
        let shift = is.wrapping_sub(was) as i64;
        if shift.unsigned_abs() <= SHIFT_MAX {
            shifts.entry(domain).or_default().insert(was, (shift, votes));
        }
    }
    shifts.into_iter().map(|(domain, shifts)| (domain, map(&shifts))).collect()
}

/// A place wherever the shift changes, but for a number that is alone in saying so.
fn map(shifts: &BTreeMap<u64, (i64, u32)>) -> ShiftMap {
    let mut map = ShiftMap::default();
    let mut next = shifts.values().skip(1);
    for (number, (shift, votes)) in shifts {
        let goes_on = next.next().is_none_or(|(next, _)| next == shift);
        if *votes > 1 || goes_on {
            map.push(*number, *shift);
        }
    }
    map
}

#[cfg(test)]
pub(super) mod tests;
