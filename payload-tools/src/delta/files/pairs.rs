//! Which file of an old image each file of a new image continues.

use std::collections::{BTreeMap, BTreeSet};

use super::ImageFile;

/// Stands for a version in a path; no name has such a byte.
const VERSION: u8 = 0;

/// For each new file the old one that it continues, if any, by index: the one of
/// the same path, or of the same path but for versions, or of the same name where
/// only one has it in either image.
pub(in crate::delta) fn pairs(old: &[ImageFile], new: &[ImageFile]) -> Vec<Option<usize>> {
    let by_path = Groups::of(old, |file| file.path.clone());
    let mut pairs: Vec<Option<usize>> =
        new.iter().map(|file| by_path.group(&file.path).first().copied()).collect();
    let taken: BTreeSet<usize> = pairs.iter().flatten().copied().collect();

    let by_shape = Groups::of(old, |file| without_versions(&file.path));
    let (old_names, new_names) = (Groups::of(old, name_of), Groups::of(new, name_of));
    for (pair, file) in pairs.iter_mut().zip(new).filter(|(pair, _)| pair.is_none()) {
        let alike = by_shape.group(&without_versions(&file.path));
        let free = alike.iter().copied().filter(|at| !taken.contains(at));
        *pair = free.min_by_key(|at| distance(&old[*at], file)).or_else(|| {
            let name = name_of(file);
            match (old_names.group(&name), new_names.group(&name)) {
                ([old], [_]) => Some(*old),
                _ => None,
            }
        });
    }
    pairs
}

/// How far an old file is from a new one that differs from it in versions: by the
/// names in their paths that differ, for `i3000.ko` is none of `i3200.ko` in a
/// folder with another version; then by their lengths.
fn distance<'a>(old: &'a ImageFile, new: &ImageFile) -> (usize, u64, &'a [u8]) {
    let slash = |byte: &u8| *byte == b'/';
    let names = old.path.split(slash).zip(new.path.split(slash));
    let others = names.filter(|(old, new)| old != new).count();
    (others, old.len.abs_diff(new.len), &old.path)
}

/// Indices of files, by something that several may have.
struct Groups(BTreeMap<Vec<u8>, Vec<usize>>);

impl Groups {
    fn of(files: &[ImageFile], key: impl Fn(&ImageFile) -> Vec<u8>) -> Self {
        let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (index, file) in files.iter().enumerate() {
            groups.entry(key(file)).or_default().push(index);
        }
        Self(groups)
    }

    fn group(&self, key: &[u8]) -> &[usize] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

fn name_of(file: &ImageFile) -> Vec<u8> {
    file.path.rsplit(|byte| *byte == b'/').next().unwrap_or_default().to_vec()
}

/// The path with each run of digits, and what joins such runs to a version, as
/// one placeholder.
fn without_versions(path: &[u8]) -> Vec<u8> {
    let mut shape = Vec::with_capacity(path.len());
    // Since the last digit of a version, what may yet belong to it.
    let mut joints: Option<Vec<u8>> = None;
    for byte in path {
        match (byte, &mut joints) {
            (b'0'..=b'9', joints) => {
                if joints.replace(Vec::new()).is_none() {
                    shape.push(VERSION);
                }
            }
            (b'.' | b'-' | b'~' | b'+', Some(joints)) => joints.push(*byte),
            (_, joints) => {
                shape.extend(joints.take().unwrap_or_default());
                shape.push(*byte);
            }
        }
    }
    shape.extend(joints.unwrap_or_default());
    shape
}

#[cfg(test)]
mod tests;
