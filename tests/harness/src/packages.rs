//! The Debian packages that the demo and the tests need: looked for by the file that is used,
//! installed when that is allowed, named when it is not.

use std::path::Path;
use std::process::{Command, Stdio};

use thiserror::Error;

/// A package, and the file of it whose presence says that it is installed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Package {
    /// What apt calls it.
    pub name: &'static str,
    /// A file that it brings.
    pub file: &'static str,
}

const fn package(name: &'static str, file: &'static str) -> Package {
    Package { name, file }
}

/// What building OS images takes.
pub const IMAGES: &[Package] = &[
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    package("erofs-utils", "/usr/bin/mkfs.erofs"),
    package("e2fsprogs", "/usr/sbin/mke2fs"),
    package("binutils", "/usr/bin/objcopy"),
    package("sbsigntool", "/usr/bin/sbsign"),
    package("openssl", "/usr/bin/openssl"),
    package("faketime", "/usr/bin/faketime"),
    // Also the certificate and key that images are signed with.
    package("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
];

/// What making Debian packages takes.
pub const DEB: &[Package] = &[
    package("dpkg", "/usr/bin/dpkg-deb"),
    package("binutils", "/usr/bin/objdump"),
    package("gzip", "/usr/bin/gzip"),
];

/// What booting OS images takes.
pub const QEMU: &[Package] = &[
    package("qemu-system-x86", "/usr/bin/qemu-system-x86_64"),
    package("ovmf", "/usr/share/OVMF/OVMF_CODE_4M.secboot.fd"),
];

/// A compiler for UEFI programs, where rustup cannot bring its own.
pub const UEFI_COMPILER: &[Package] = &[
    package("rustc-web", "/usr/bin/rustc"),
    package("rust-web-src", "/usr/lib/rustlib/src/rust/library/core/Cargo.toml"),
];

/// Programs that tests compare ours with, or watch them by.
pub const FOREIGN_READERS: &[Package] = &[
    package("cgpt", "/usr/bin/cgpt"),
    package("gdisk", "/usr/sbin/sgdisk"),
    package("fdisk", "/usr/sbin/sfdisk"),
    package("cryptsetup-bin", "/usr/sbin/veritysetup"),
    package("zstd", "/usr/bin/zstd"),
    package("curl", "/usr/bin/curl"),
    package("strace", "/usr/bin/strace"),
    package("softhsm2", "/usr/lib/softhsm/libsofthsm2.so"),
    package("squashfs-tools", "/usr/bin/mksquashfs"),
    package("python3-venv", "/usr/share/doc/python3-venv"),
];

/// What the benchmark measures ours beside, and makes a kernel image with.
pub const BENCH: &[Package] = &[
    package("curl", "/usr/bin/curl"),
    package("zstd", "/usr/bin/zstd"),
    package("systemd-boot-efi", "/usr/lib/systemd/boot/efi/systemd-bootx64.efi"),
    package("binutils", "/usr/bin/objcopy"),
    // RAUC and SWUpdate come from a newer Debian, in a tree of their own.
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    package("openssl", "/usr/bin/openssl"),
];

/// What making deltas of real images takes, and deltas of others.
pub const DELTAS: &[Package] = &[
    package("mmdebstrap", "/usr/bin/mmdebstrap"),
    package("debian-archive-keyring", "/usr/share/keyrings/debian-archive-keyring.gpg"),
    package("e2fsprogs", "/usr/sbin/mke2fs"),
    package("faketime", "/usr/bin/faketime"),
    package("erofs-utils", "/usr/bin/mkfs.erofs"),
    package("squashfs-tools", "/usr/bin/mksquashfs"),
    package("zstd", "/usr/bin/zstd"),
    package("python3-venv", "/usr/share/doc/python3-venv"),
];

/// Why needed packages are not there.
#[derive(Debug, Error)]
pub enum PackagesError {
    /// Only root may install them.
    #[error("these Debian packages are missing: {names}; run `apt-get install {names}` as root")]
    Missing {
        /// Their names.
        names: String,
    },
    /// apt-get is not there.
    #[error("{names}: missing, and `apt-get` could not be started to install them")]
    Start {
        /// Their names.
        names: String,
        /// Why not.
        source: std::io::Error,
    },
    /// apt-get did not install one.
    #[error("`apt-get {arguments}` failed:\n{output}")]
    Install {
        /// What it was asked.
        arguments: String,
        /// What it said.
        output: String,
    },
}

/// What of `needed` is not installed, each once.
pub fn missing(needed: &[&[Package]]) -> Vec<Package> {
    let mut missing = Vec::new();
    for package in needed.iter().copied().flatten() {
        if !Path::new(package.file).exists() && !missing.contains(package) {
            missing.push(*package);
        }
    }
    missing
}

/// Installs what is missing of `needed`, telling `progress` each package's name first.
pub fn ensure(needed: &[&[Package]], mut progress: impl FnMut(&str)) -> Result<(), PackagesError> {
    let missing = missing(needed);
    if missing.is_empty() {
        return Ok(());
    }
    let names = missing.iter().map(|package| package.name).collect::<Vec<_>>().join(" ");
    if !rustix::process::geteuid().is_root() {
        return Err(PackagesError::Missing { names });
    }
    progress("apt-get update");
    apt_get(&["update", "--quiet"], &names)?;
    for package in missing {
        progress(package.name);
        // One at a time: where a package of another origin conflicts with one of these, apt finds
        // the way out for that one alone, and refuses the list.
        let install = ["install", "--yes", "--quiet", "--no-install-recommends", package.name];
        apt_get(&install, &names)?;
    }
    Ok(())
}

fn apt_get(arguments: &[&str], names: &str) -> Result<(), PackagesError> {
    let output = Command::new("apt-get")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .args(arguments)
        .stdin(Stdio::null())
        .output()
        .map_err(|source| PackagesError::Start { names: names.to_owned(), source })?;
    if output.status.success() {
        return Ok(());
    }
    let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(PackagesError::Install { arguments: arguments.join(" "), output: text })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_package_is_named_once_and_an_installed_one_not_at_all() {
        let absent = package("absent", "/nonexistent/file");
        let present = package("present", "/");
        assert_eq!(missing(&[&[absent, present], &[absent]]), [absent]);
    }
}
