//! What the partitions are called.

use serde::Deserialize;

use crate::SlotLetter;

/// Names of the partitions of a disk. A slot's partitions are called as given here, with the
/// slot's letter at the end.
///
/// The TOML form is in docs/formats.md; a key that is left out keeps the standard name.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Layout {
    esp: String,
    state: String,
    kernel: String,
    root: String,
    verity: String,
}

/// The partitions that exist once per slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SlotPart {
    /// The unified kernel image, and the boot attributes.
    Kernel,
    /// The root file system.
    Root,
    /// The dm-verity tree of the root file system.
    Verity,
}

/// A layout that no disk can have.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LayoutError {
    /// Not TOML, an unknown key, or no text.
    #[error("the layout is not valid")]
    Syntax(#[from] toml::de::Error),
    /// Empty, or too long for the 36 UTF-16 units of an entry.
    #[error("{name:?} cannot name a partition: use 1 to 36 UTF-16 units, with the slot's letter")]
    Name {
        /// The full name.
        name: String,
    },
    /// Two partitions would have one name.
    #[error("two partitions of the layout are called {name:?}")]
    Duplicate {
        /// The full name.
        name: String,
    },
}

const NAME_UNITS_MAX: usize = 36;

impl Default for Layout {
    fn default() -> Self {
        Self::standard()
    }
}

impl Layout {
    /// ESP, KERNEL-A and -B, ROOT-A and -B, optionally VERITY-A and -B, STATE.
    pub fn standard() -> Self {
        Self {
            esp: "ESP".into(),
            state: "STATE".into(),
            kernel: "KERNEL-".into(),
            root: "ROOT-".into(),
            verity: "VERITY-".into(),
        }
    }

    /// Reads a custom layout.
    ///
    /// # Errors
    /// When it is no valid TOML, has unknown keys, or names that clash or do not fit.
    pub fn from_toml(text: &str) -> Result<Self, LayoutError> {
        let layout: Self = toml::from_str(text)?;
        let mut names = vec![layout.esp.clone(), layout.state.clone()];
        for part in [SlotPart::Kernel, SlotPart::Root, SlotPart::Verity] {
            names.extend(SlotLetter::BOTH.map(|letter| layout.name_of(part, letter)));
        }
        for (index, name) in names.iter().enumerate() {
            if name.contains('\0') || !(1..=NAME_UNITS_MAX).contains(&name.encode_utf16().count()) {
                return Err(LayoutError::Name { name: name.clone() });
            }
            if names[..index].contains(name) {
                return Err(LayoutError::Duplicate { name: name.clone() });
            }
        }
        Ok(layout)
    }

    /// Name of the EFI system partition.
    pub fn esp(&self) -> &str {
        &self.esp
    }

    /// Name of the partition that is kept over updates.
    pub fn state(&self) -> &str {
        &self.state
    }

    /// Name of a slot's partition.
    pub fn name_of(&self, part: SlotPart, letter: SlotLetter) -> String {
        let stem = match part {
            SlotPart::Kernel => &self.kernel,
            SlotPart::Root => &self.root,
            SlotPart::Verity => &self.verity,
        };
        format!("{stem}{letter}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_custom_layout_keeps_standard_names_where_it_says_nothing() {
        let layout = Layout::from_toml("kernel = \"kern_\"\nstate = \"data\"").unwrap();
        assert_eq!(layout.name_of(SlotPart::Kernel, SlotLetter::B), "kern_B");
        assert_eq!((layout.state(), layout.esp()), ("data", "ESP"));
        assert_eq!(Layout::from_toml("").unwrap(), Layout::standard());
    }

    /// What docs/formats.md shows is the standard layout.
    #[test]
    fn the_documented_names_are_the_standard_ones() {
        let formats = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/formats.md");
        let formats = fs_err::read_to_string(formats).unwrap();
        let (_, toml) = formats.split_once("```toml\nesp").expect("a layout in TOML");
        let (toml, _) = toml.split_once("```").unwrap();
        assert_eq!(Layout::from_toml(&format!("esp{toml}")).unwrap(), Layout::standard());
    }

    #[test]
    fn strange_layouts_are_refused() {
        let check = |text: &str, expected: &str| {
            let error = Layout::from_toml(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        };
        check("kernels = \"x\"", "not valid");
        check("kernel = 1", "not valid");
        check("kernel = \"ROOT-\"", "two partitions of the layout are called \"ROOT-A\"");
        check("state = \"KERNEL-A\"", "\"KERNEL-A\"");
        check("esp = \"\"", "cannot name");
        check(&format!("root = {:?}", "x".repeat(36)), "cannot name");
        check("root = \"x\\u0000\"", "cannot name");
    }
}
