//! How the numbers of kernel modules and programs moved, learned from what these were and are.

use std::collections::BTreeMap;
use std::io;
use std::num::NonZero;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use super::code_map::code_maps;
use super::continuations::Continuations;
use super::elf::{Object, is_program, is_relocatable};
use super::own_numbers::OwnNumbers;
use super::program;
use super::tracks::Tracks;
use super::votes::Votes;
use crate::format::delta::adjust::{Domain, ShiftMap};
use crate::{ReadAt, workers};

/// Objects that are asked where their own types begin.
const ASKED: usize = 64;
/// Larger files are neither modules nor, as far as this goes, programs: a thread has some seven times as
/// much memory for one.
const FILE_MAX: u64 = 32 << 20;

/// What is known of the modules and programs of two images.
#[derive(Debug, Default)]
pub(super) struct Objects {
    /// The first type and the first name that a module has of its own.
    pub own: [u64; 2],
    /// How those before, the kernel's, moved.
    pub kernel: [ShiftMap; 2],
    /// Each by its index among the continuations.
    pub all: BTreeMap<usize, MovedObject>,
}

/// A module, or a program that differs.
#[derive(Debug)]
pub(super) struct MovedObject {
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

impl Objects {
    /// Looks at all pairs of modules, twice: for what they have in common, and at each alone; at
    /// programs alone.
    pub fn learn(
        files: &Continuations,
        (old, new): (&dyn ReadAt, &dyn ReadAt),
        threads: NonZero<usize>,
    ) -> Result<Self, ReadError> {
        let Found { modules, programs } = find(files, old).map_err(of_old)?;
        let mut own = OwnNumbers::default();
        for index in modules.iter().take(ASKED) {
            own.look(&files.get(*index).old.read(old).map_err(of_old)?);
        }
        let mut objects = Self { own: own.first(), ..Self::default() };
        let each = |found: &[usize], work: &(dyn Fn(usize, Vec<u8>, Vec<u8>) + Sync)| {
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
        let votes = Mutex::new(Votes::default());
        each(&modules, &|_, old, new| {
            let Some(object) = Object::parse(&old) else { return };
            let tracks = Tracks::of(&old, &new);
            let mut moves = moves(&object, &old, &tracks, &new);
            moves.retain(|(domain, number, _)| objects.is_kernels(*domain, *number));
            votes.lock().unwrap_or_else(PoisonError::into_inner).extend(moves);
        })?;
        let mut kernel = votes.into_inner().unwrap_or_else(PoisonError::into_inner).maps();
        let mut take = |domain| kernel.remove(&domain).unwrap_or_default();
        objects.kernel = [take(Domain::Type), take(Domain::TypeName)];
        let all = Mutex::new(BTreeMap::new());
        each(&modules, &|index, old, new| {
            if let Some(module) = objects.module(&old, &new) {
                all.lock().unwrap_or_else(PoisonError::into_inner).insert(index, module);
            }
        })?;
        each(&programs, &|index, old, new| {
            if let Some(program) = moved_program(&old, &new) {
                all.lock().unwrap_or_else(PoisonError::into_inner).insert(index, program);
            }
        })?;
        objects.all = all.into_inner().unwrap_or_else(PoisonError::into_inner);
        Ok(objects)
    }

    fn is_kernels(&self, domain: Domain, number: u64) -> bool {
        domain.of_kernel().is_some_and(|which| number < self.own[which])
    }

    /// Where a number of a module is now.
    pub fn moved(&self, module: &MovedObject, domain: Domain, number: u64) -> u64 {
        match domain.of_kernel() {
            Some(which) if self.is_kernels(domain, number) => self.kernel[which].moved(number),
            _ => module.maps.get(&domain).map_or(number, |map| map.moved(number)),
        }
    }

    fn module(&self, old: &[u8], new: &[u8]) -> Option<MovedObject> {
        let mut module = MovedObject { old: Object::parse(old)?, maps: BTreeMap::new() };
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
        let mut votes = Votes::default();
        votes.extend(moves);
        module.maps.extend(votes.maps());
        module.maps.retain(|_, map| !map.is_empty());
        Some(module)
    }

    /// A module with its numbers moved.
    fn adjusted(&self, module: &MovedObject, old: &[u8]) -> Vec<u8> {
        let mut bytes = old.to_vec();
        module.old.change(&mut bytes, |site, number| self.moved(module, site.domain, number));
        bytes
    }
}

/// Continuations that have numbers which move.
#[derive(Default)]
struct Found {
    modules: Vec<usize>,
    programs: Vec<usize>,
}

fn find(files: &Continuations, old: &dyn ReadAt) -> io::Result<Found> {
    let mut found = Found::default();
    for index in 0..files.len() {
        let file = files.get(index);
        let len = file.old.len.max(file.new.len);
        let start = if len <= FILE_MAX { file.old.read_start(old)? } else { Vec::new() };
        if is_relocatable(&start) {
            found.modules.push(index);
        } else if is_program(&start) {
            found.programs.push(index);
        }
    }
    Ok(found)
}

/// A program that differs and how its addresses moved.
fn moved_program(old: &[u8], new: &[u8]) -> Option<MovedObject> {
    if old == new {
        return None;
    }
    let (object, is) = (Object::parse(old)?, Object::parse(new)?);
    let map = program::learn(&object, old, &is, new);
    let maps = BTreeMap::from([(Domain::Address, map)]);
    (!maps[&Domain::Address].is_empty()).then_some(MovedObject { old: object, maps })
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

#[cfg(test)]
pub(super) mod tests;
