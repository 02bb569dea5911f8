/// What a number counts: numbers of one domain move alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Domain {
    /// Ids of types.
    Type,
    /// Places in the names of types.
    TypeName,
    /// Places in the names of symbols.
    SymbolName,
    /// Indices of symbols.
    Symbol,
    /// Addresses of a program.
    Address,
    /// Places in the section of this index.
    Section(u16),
}

impl Domain {
    /// Its number in an adjustment.
    pub(super) fn number(self) -> u64 {
        match self {
            Self::Type => 0,
            Self::TypeName => 1,
            Self::SymbolName => 2,
            Self::Symbol => 3,
            Self::Address => 4,
            Self::Section(index) => 5 + u64::from(index),
        }
    }

    pub(super) fn of_number(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Type,
            1 => Self::TypeName,
            2 => Self::SymbolName,
            3 => Self::Symbol,
            4 => Self::Address,
            _ => Self::Section(u16::try_from(number - 5).ok()?),
        })
    }

    /// Which of the kernel's maps counts the same, if one does.
    pub fn of_kernel(self) -> Option<usize> {
        match self {
            Self::Type => Some(0),
            Self::TypeName => Some(1),
            _ => None,
        }
    }
}

/// A number that may move.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site {
    /// Where in its region, in bytes.
    pub at: usize,
    /// Its bytes, 4 or 8, the lowest first; none where it is what the site before counts from.
    pub len: usize,
    /// What it counts.
    pub domain: Domain,
    /// The address that it is counted from, 0 if none: it is stored less this.
    pub from: u64,
}
