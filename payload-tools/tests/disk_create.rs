//! `payload disk create` makes disks that other programs understand: sgdisk and
//! cgpt read the table, fsck and debugfs the file system of STATE.

use std::path::PathBuf;
use std::process::{Command, Output};

use partition_layout::{Access, BlockDevice as _, DiskFile, Layout, SlotLetter, SlotTable};
use payload_tools::testing::{osrel, uki};

const GUID: &str = "--disk-guid=5EE5A300-0000-4000-8000-000000000001";

struct Workshop {
    folder: tempfile::TempDir,
    kernel: Vec<u8>,
    root: Vec<u8>,
}

impl Workshop {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = osrel("demo-x86_64", "1", 1);
        let sections: [(&str, &[u8]); 2] =
            [(".osrel", text.as_bytes()), (".cmdline", b"quiet panic=10")];
        let kernel = uki(&sections);
        let mut root: Vec<u8> = (0..3 << 20u32).map(|n| (n / 61) as u8).collect();
        root[1 << 20..2 << 20].fill(0);
        let workshop = Self { folder, kernel, root };
        fs_err::write(workshop.path("os.efi"), &workshop.kernel).unwrap();
        fs_err::write(workshop.path("root.img"), &workshop.root).unwrap();
        fs_err::write(workshop.path("selector.efi"), uki(&[])).unwrap();
        fs_err::create_dir_all(workshop.path("state/etc/seesaw")).unwrap();
        fs_err::write(workshop.path("state/etc/seesaw/url"), b"https://updates").unwrap();
        workshop.build("os.efi", "release-1");
        workshop
    }

    fn build(&self, kernel: &str, out: &str) {
        let fixed =
            ["build", "--compatible=demo-x86_64", "--release=1", "--counter=1", "--root=root.img"];
        let files = [format!("--kernel={kernel}"), format!("--out={out}")];
        let built = self.payload(&[&fixed[..], &[&files[0], &files[1]]].concat());
        assert!(built.status.success(), "{built:?}");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn payload(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_payload"));
        command.args(arguments).current_dir(self.folder.path()).output().unwrap()
    }

    fn create(&self, out: &str, more: &[&str]) -> Output {
        self.create_from("release-1", out, more)
    }

    fn create_from(&self, release: &str, out: &str, more: &[&str]) -> Output {
        let out = format!("--out={out}");
        let release = format!("--release={release}");
        let fixed = ["disk", "create", &release, "--esp=selector.efi", GUID, &out];
        self.payload(&[&fixed[..], more].concat())
    }

    fn created(&self, out: &str, more: &[&str]) -> DiskFile {
        let output = self.create(out, more);
        assert!(output.status.success(), "{output:?}");
        DiskFile::open(self.path(out), Access::ReadOnly).unwrap()
    }

    /// What another program prints about a file.
    fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let output = Command::new(program)
            .args(arguments)
            .current_dir(self.folder.path())
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .output()
            .unwrap_or_else(|error| panic!("{program} is needed: {error}"));
        assert!(output.status.success(), "{program}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}

fn read(disk: &DiskFile, offset: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    disk.read_at(offset, &mut bytes).unwrap();
    bytes
}

#[test]
fn slot_a_holds_the_release_and_is_the_only_one_that_boots() {
    let workshop = Workshop::new();
    let disk = workshop.created("disk.img", &["--size=300M", "--root-size=8M"]);
    let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
    assert!(table.copies.agree());
    assert_eq!(table.next(), Some(SlotLetter::A));
    assert_eq!(table.order().attempts.len(), 1, "slot B is empty");
    let [a, b] = &table.slots;
    assert_eq!(read(&disk, a.kernel.offset, workshop.kernel.len()), workshop.kernel);
    assert!(read(&disk, a.root.offset, workshop.root.len()) == workshop.root);
    assert!(read(&disk, b.kernel.offset, 4096).iter().all(|&byte| byte == 0));
    assert_eq!(a.root.size, 8 << 20);
    assert_eq!(disk.size(), 300 << 20);
    let cgpt = workshop.tool("cgpt", &["show", "disk.img"]);
    assert!(cgpt.contains("priority=1 tries=0 successful=1"), "{cgpt}");
    let sgdisk = workshop.tool("sgdisk", &["--verify", "disk.img"]);
    assert!(sgdisk.contains("No problems found"), "{sgdisk}");
}

#[test]
fn state_is_a_file_system_with_the_folders_content() {
    let workshop = Workshop::new();
    let disk = workshop.created("disk.img", &["--state=state", "--size=300M"]);
    let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
    let state = table.state.unwrap();
    let bytes = read(&disk, state.offset, state.size as usize);
    fs_err::write(workshop.path("state.ext4"), bytes).unwrap();
    workshop.tool("e2fsck", &["-f", "-n", "state.ext4"]);
    let url = workshop.tool("debugfs", &["-R", "cat /etc/seesaw/url", "state.ext4"]);
    assert_eq!(url, "https://updates");
}

#[test]
fn the_same_disk_guid_gives_the_same_sparse_file() {
    use std::os::unix::fs::MetadataExt as _;
    let workshop = Workshop::new();
    for out in ["a.img", "b.img"] {
        workshop.created(out, &[]);
    }
    let bytes = |name| fs_err::read(workshop.path(name)).unwrap();
    assert!(bytes("a.img") == bytes("b.img"));
    let metadata = fs_err::metadata(workshop.path("a.img")).unwrap();
    let allocated = metadata.blocks() * 512;
    assert!(allocated < metadata.len() / 4, "{allocated} of {} bytes", metadata.len());
}

#[test]
fn nothing_is_left_of_a_disk_that_could_not_be_made() {
    let workshop = Workshop::new();
    for (more, code, wanted) in [
        (["--size=10M", "--root-size=4M"], 2, "hint: give a larger --size"),
        (["--size=300M", "--root-size=2M"], 2, "the release does not fit: "),
        (["--size=300M", "--state=absent"], 1, "absent is no folder"),
    ] {
        let output = workshop.create("disk.img", &more);
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(wanted), "{message}");
    }
    let names = fs_err::read_dir(workshop.folder.path()).unwrap();
    let names: Vec<_> = names.map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 5, "{names:?}");
}

#[test]
fn what_firmware_could_not_start_makes_no_disk() {
    let workshop = Workshop::new();
    for wrong in [&b"a token, by mistake"[..], &[0; 8192], &uki(&[])[..1000]] {
        fs_err::write(workshop.path("selector.efi"), wrong).unwrap();
        let output = workshop.create("disk.img", &["--size=300M", "--root-size=8M"]);
        assert_eq!(output.status.code(), Some(3), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains("selector.efi is no boot selector"), "{message}");
        assert!(!workshop.path("disk.img").exists());
    }
}

/// A device node must not become a file, nor must a link, or a disk that someone made before.
#[test]
fn nothing_is_replaced_by_a_disk() {
    let workshop = Workshop::new();
    std::os::unix::fs::symlink("nowhere", workshop.path("link")).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(workshop.path("node")).unwrap();
    for out in ["os.efi", "link", "node"] {
        let output = workshop.create(out, &["--size=300M", "--root-size=8M"]);
        assert_eq!(output.status.code(), Some(2), "{output:?}");
        let message = String::from_utf8(output.stderr).unwrap();
        assert!(message.contains(&format!("{out} is there already")), "{message}");
    }
    assert_eq!(fs_err::read(workshop.path("os.efi")).unwrap(), workshop.kernel);
    let link = fs_err::read_link(workshop.path("link")).unwrap();
    assert_eq!(link, std::path::Path::new("nowhere"));
    assert!(!fs_err::metadata(workshop.path("node")).unwrap().is_file());
}

#[test]
fn a_kernel_that_would_stand_still_is_told_of() {
    let workshop = Workshop::new();
    let text = osrel("demo-x86_64", "1", 1);
    let sections: [(&str, &[u8]); 2] = [(".osrel", text.as_bytes()), (".cmdline", b"quiet")];
    fs_err::write(workshop.path("quiet.efi"), uki(&sections)).unwrap();
    workshop.build("quiet.efi", "release-quiet");
    let small = ["--size=300M", "--root-size=8M", "--json"];
    let output = workshop.create("disk.img", &small);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    let output = workshop.create_from("release-quiet", "quiet.img", &small);
    assert!(output.status.success(), "{output:?}");
    let warning = String::from_utf8(output.stderr).unwrap();
    assert!(warning.starts_with("warning: ") && warning.contains("panic=SECONDS"), "{warning}");
    let report = String::from_utf8(output.stdout).unwrap();
    assert!(report.contains("no_panic_reboot"), "{report}");
}

#[test]
fn a_damaged_release_makes_no_disk() {
    let workshop = Workshop::new();
    let images = fs_err::read_dir(workshop.path("release-1/images")).unwrap();
    for image in images {
        let full = image.unwrap().path().join("full");
        let mut bytes = fs_err::read(&full).unwrap();
        bytes[200] ^= 1;
        fs_err::write(&full, bytes).unwrap();
    }
    let output = workshop.create("disk.img", &[]);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(!workshop.path("disk.img").exists());
}
