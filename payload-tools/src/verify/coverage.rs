use crate::format::Hash;
use crate::tree::{CheckedGroup, Levels};

/// Which groups of an image were checked. One bit per group.
#[derive(Debug, Clone)]
pub struct Coverage {
    root: Hash,
    checked: Vec<bool>,
}

/// Every group of an image was checked against its tree. Made by
/// [`Coverage::finish`] alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CompleteImage {
    root: Hash,
}

/// Groups of an image were not checked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{missing} of {groups} block groups were not checked, the first is {first}")]
pub struct Incomplete {
    /// Groups not checked.
    pub missing: u64,
    /// Groups of the image.
    pub groups: u64,
    /// The first that was not checked.
    pub first: u64,
}

impl Coverage {
    /// Nothing of the image with these levels was checked yet.
    pub fn new(levels: &Levels) -> Self {
        Self { root: levels.root(), checked: vec![false; levels.group_count() as usize] }
    }

    /// Counts a group; one of another image counts for nothing.
    pub fn add(&mut self, group: &CheckedGroup<'_>) {
        if group.image_root() != self.root {
            return;
        }
        if let Some(checked) = self.checked.get_mut(group.index() as usize) {
            *checked = true;
        }
    }

    /// The image is complete, or what is missing.
    pub fn finish(self) -> Result<CompleteImage, Incomplete> {
        let missing = self.checked.iter().filter(|checked| !**checked).count() as u64;
        match self.checked.iter().position(|checked| !checked) {
            None => Ok(CompleteImage { root: self.root }),
            Some(first) => {
                let groups = self.checked.len() as u64;
                Err(Incomplete { missing, groups, first: first as u64 })
            }
        }
    }
}

impl CompleteImage {
    /// Root of the image.
    pub fn root(&self) -> Hash {
        self.root
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::{BLOCK, GROUP, Role, Salt};
    use crate::tree::TreeBuilder;

    fn levels(bytes: &[u8]) -> Levels {
        let builder = TreeBuilder::new(Salt::default());
        let tree = builder.build(&bytes, bytes.len() as u64, &|_| ()).unwrap();
        let image = builder.image(Role::Root, bytes.len() as u64, &tree);
        Levels::verify(&image, tree.levels).unwrap()
    }

    #[test]
    fn an_image_is_complete_when_each_group_was_checked() {
        let bytes = vec![1; 2 * GROUP + BLOCK];
        let levels = levels(&bytes);
        let mut coverage = Coverage::new(&levels);
        for index in [0, 2, 0] {
            let group = bytes.chunks(GROUP).nth(index).unwrap();
            coverage.add(&levels.check_group(index as u64, group).unwrap());
        }
        let incomplete = coverage.clone().finish().unwrap_err();
        assert_eq!(incomplete, Incomplete { missing: 1, groups: 3, first: 1 });
        coverage.add(&levels.check_group(1, &bytes[GROUP..2 * GROUP]).unwrap());
        assert_eq!(coverage.finish().unwrap().root(), levels.root());
    }

    #[test]
    fn groups_of_another_image_count_for_nothing() {
        let (ours, other) = (vec![1; GROUP], vec![2; GROUP]);
        let mut coverage = Coverage::new(&levels(&ours));
        coverage.add(&levels(&other).check_group(0, &other).unwrap());
        assert!(coverage.finish().is_err());
    }
}
