//! Which packages a tree has, in which versions.

use std::collections::BTreeMap;

/// Versions by package.
#[derive(Debug, Default)]
pub(super) struct Packages(BTreeMap<String, String>);

impl Packages {
    /// Reads dpkg's status file.
    pub fn parse(status: &str) -> Self {
        let field = |stanza: &str, name: &str| {
            let mut lines = stanza.lines();
            lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(": ").map(str::to_owned))
        };
        let stanzas = status.split("\n\n");
        let packages = stanzas.filter_map(|stanza| {
            let installed = field(stanza, "Status")? == "install ok installed";
            installed.then_some(())?;
            Some((field(stanza, "Package")?, field(stanza, "Version")?))
        });
        Self(packages.collect())
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many are not in `old`, or in another version.
    pub fn changed_since(&self, old: &Self) -> usize {
        self.0.iter().filter(|(name, version)| old.0.get(*name) != Some(version)).count()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_new_or_of_another_version_have_changed() {
        let stanza = |name, version| {
            format!("Package: {name}\nStatus: install ok installed\nVersion: {version}\nTag: x\n\n")
        };
        let old = [stanza("bash", "5.2"), stanza("curl", "7.88"), stanza("linux", "6.1")].concat();
        let removed = "Package: gone\nStatus: deinstall ok config-files\nVersion: 1\n";
        let new =
            [stanza("bash", "5.2"), stanza("curl", "8"), stanza("zsh", "1")].concat() + removed;
        let [old, new] = [old, new].map(|text| Packages::parse(&text));
        assert_eq!((old.len(), new.len()), (3, 3));
        assert_eq!(new.changed_since(&old), 2);
        assert_eq!(old.changed_since(&old), 0);
    }
}
