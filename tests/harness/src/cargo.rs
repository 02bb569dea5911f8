//! cargo, started from a program that cargo started.

use std::ffi::OsStr;
use std::process::{Command, Stdio};

use crate::programs::checkout;

/// The cargo that started us, or the one in PATH, in this checkout, without the variables that it
/// gave us about our own package: build scripts of dependencies ask for them (`ring` does), find
/// others than at the last build, and everything above is built again.
pub fn cargo() -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.current_dir(checkout()).stdin(Stdio::null());
    for (name, _) in std::env::vars_os().filter(|(name, _)| is_of_a_package(name)) {
        command.env_remove(name);
    }
    command
}

fn is_of_a_package(variable: &OsStr) -> bool {
    let prefixes =
        ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_", "CARGO_PRIMARY_"];
    variable.to_str().is_some_and(|name| prefixes.iter().any(|prefix| name.starts_with(prefix)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// cargo gives this test such variables.
    #[test]
    fn nothing_of_our_own_package_reaches_a_build() {
        assert!(std::env::var_os("CARGO_PKG_NAME").is_some());
        let command = cargo();
        let removed: Vec<_> =
            command.get_envs().filter(|(_, value)| value.is_none()).map(|(name, _)| name).collect();
        for name in ["CARGO_PKG_NAME", "CARGO_PKG_VERSION_MAJOR", "CARGO_MANIFEST_DIR"] {
            assert!(removed.contains(&OsStr::new(name)), "{name} is kept");
        }
        assert!(!is_of_a_package(OsStr::new("CARGO_HOME")));
        assert!(!is_of_a_package(OsStr::new("CARGO_TARGET_DIR")));
    }
}
