use serde::Serialize;

/// What sort of file bytes are of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileClass {
    /// Modules of the kernel, compressed or not.
    KernelModule,
    /// Kernels and initial RAM disks.
    PackedKernel,
    /// Programs and libraries.
    Elf,
    /// All other files.
    Data,
    /// What no file has: the structures of the file system, directories, free space.
    Metadata,
}

/// Where the header of a Linux kernel for x86 says so ("The Linux/x86 Boot Protocol").
const BOOT_MAGIC_AT: usize = 0x202;

impl FileClass {
    /// What a person is told of it.
    pub const fn in_words(self) -> &'static str {
        match self {
            FileClass::KernelModule => "kernel modules",
            FileClass::PackedKernel => "kernels and initial RAM disks",
            FileClass::Elf => "programs and libraries",
            FileClass::Data => "other files",
            FileClass::Metadata => "of no file: metadata, free space",
        }
    }

    /// That of a file, by its path and first block.
    pub(super) fn of(path: &[u8], start: &[u8]) -> Self {
        let name = path.rsplit(|byte| *byte == b'/').next().unwrap_or_default();
        let ends = |endings: &[&str]| endings.iter().any(|end| name.ends_with(end.as_bytes()));
        let begins =
            |starts: &[&str]| starts.iter().any(|start| name.starts_with(start.as_bytes()));
        let is_kernel = start.get(BOOT_MAGIC_AT..).is_some_and(|rest| rest.starts_with(b"HdrS"));
        // Tools of such names are elsewhere.
        let is_boot = path.starts_with(b"boot/") && begins(&["vmlinu", "initrd", "initramfs"]);
        if ends(&[".ko", ".ko.xz", ".ko.zst", ".ko.gz"]) {
            FileClass::KernelModule
        } else if is_kernel || is_boot || ends(&[".efi"]) {
            FileClass::PackedKernel
        } else if start.starts_with(b"\x7FELF") {
            FileClass::Elf
        } else {
            FileClass::Data
        }
    }

    /// That of a section of a kernel image.
    pub(super) fn of_section(name: &str) -> Self {
        match name {
            ".linux" | ".initrd" => FileClass::PackedKernel,
            _ => FileClass::Data,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_told_apart_by_name_and_start() {
        let elf = b"\x7FELF and so on";
        let mut kernel = vec![0; 4096];
        kernel[BOOT_MAGIC_AT..][..4].copy_from_slice(b"HdrS");
        for (path, start, class) in [
            ("usr/lib/modules/6.1/kernel/fs/ext4.ko", &elf[..], FileClass::KernelModule),
            ("lib/modules/6.1/kernel/fs/ext4.ko.xz", b"\xFD7zXZ", FileClass::KernelModule),
            ("boot/vmlinuz-6.1", b"MZ", FileClass::PackedKernel),
            ("boot/initrd.img-6.1", b"", FileClass::PackedKernel),
            ("usr/lib/linux/image", &kernel, FileClass::PackedKernel),
            ("efi/systemd-bootx64.efi", b"MZ", FileClass::PackedKernel),
            ("usr/bin/true", elf, FileClass::Elf),
            ("var/lib/dpkg/info/initramfs-tools.list", b"/.", FileClass::Data),
            ("etc/modules.ko.conf", b"", FileClass::Data),
            ("empty", b"", FileClass::Data),
        ] {
            assert_eq!(FileClass::of(path.as_bytes(), start), class, "{path}");
        }
    }
}
