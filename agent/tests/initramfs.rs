//! The scripts of the initramfs, on image files: what they do when a disk cannot be read.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

use partition_layout::testing::small_plan;
use partition_layout::{
    BlockDevice, BootAttributes, DiskFile, Layout, Nibble, SlotLetter, SlotTable, commit,
    create_disk,
};

const SCRIPTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/dist/initramfs");
const SIZE: u64 = 64 << 20;

/// A `dd` that cannot read the sectors that `BROKEN` lists, and takes files that
/// O_DIRECT does not.
const DD: &str = r#"#!/bin/sh
for word in "$@"; do
	shift
	case "$word" in
	iflag=direct) continue ;;
	skip=*) case " $BROKEN " in *" ${word#skip=} "*) exit 1 ;; esac ;;
	esac
	set -- "$@" "$word"
done
[ "$BROKEN" != all ] || exit 1
PATH=${PATH#*:} exec dd "$@"
"#;

struct Bench(tempfile::TempDir);

impl Bench {
    fn new() -> Self {
        let bench = Self(tempfile::tempdir().unwrap());
        bench.program("dd", DD);
        bench.program("blockdev", "#!/bin/sh\nstat -c %s \"$2\"\n");
        bench
    }

    fn program(&self, name: &str, text: &str) {
        let path = self.0.path().join("bin").join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn run(&self, broken: &str, arguments: &[&str]) -> Output {
        let usual = std::env::var("PATH").unwrap();
        let path = format!("{}:{usual}", self.0.path().join("bin").display());
        let mut shell = Command::new("sh");
        shell.args(arguments).env("PATH", path).env("BROKEN", broken).env("SEESAW_DRY_RUN", "1");
        shell.output().unwrap()
    }
}

/// Slot A, confirmed or on trial.
fn disk(path: &Path, confirmed: bool) -> DiskFile {
    let disk = DiskFile::create(path, SIZE, 512).unwrap();
    create_disk(&disk, &small_plan()).unwrap();
    let one = Nibble::ZERO.checked_increment().unwrap();
    let attributes = BootAttributes::default().with_boot(one, Nibble::ZERO, confirmed);
    let number = table(&disk).slot(SlotLetter::A).kernel.number;
    drop(commit(&disk, &[(number, attributes)]).unwrap());
    disk
}

fn table(disk: &DiskFile) -> SlotTable {
    SlotTable::read(disk, &Layout::standard()).unwrap()
}

#[test]
fn only_a_slot_that_is_surely_on_trial_is_restarted() {
    let bench = Bench::new();
    let path = bench.0.path().join("disk");
    let boot = bench.0.path().join("boot");
    let script = format!("{SCRIPTS}/trial-deadline");
    let last = SIZE / 512 - 1;
    let at = |place: u64, bytes: &'static [u8]| Some((place, bytes));
    for (confirmed, broken, damage, status) in [
        (true, String::new(), None, 0),
        (false, String::new(), None, 2),
        // The primary is gone: the backup says it.
        (true, "1".to_owned(), None, 0),
        (false, "1".to_owned(), None, 2),
        (true, String::new(), at(512 + 84, &[0; 4]), 0),
        (true, String::new(), at(512 + 72, &[0; 8]), 0),
        (true, String::new(), at(512 + 24, &[9]), 0),
        // Nothing says that the slot is on trial, confirmed or not.
        (true, format!("1 {last}"), None, 1),
        (true, format!("2 {}", last - 32), None, 1),
        (false, format!("2 {}", last - 32), None, 1),
        (true, "all".to_owned(), None, 1),
        // Its entries are gone: the backup says it.
        (true, "2".to_owned(), None, 0),
        (false, "2".to_owned(), None, 2),
    ] {
        let device = disk(&path, confirmed);
        let number = table(&device).slot(SlotLetter::A).kernel.number;
        if let Some((place, bytes)) = damage {
            let mut block = [0; 4096];
            device.read_at(0, &mut block).unwrap();
            let place = usize::try_from(place).unwrap();
            block[place..place + bytes.len()].copy_from_slice(bytes);
            device.write_at(0, &block).unwrap();
        }
        drop(device);
        let facts = format!("SLOT=A\nDISK={}\nKERNEL_NUMBER={number}\n", path.display());
        std::fs::write(&boot, facts).unwrap();
        let output = bench.run(&broken, &[&script, boot.to_str().unwrap()]);
        let case = format!("{confirmed}, broken `{broken}`, damage {damage:?}: {output:?}");
        assert_eq!(output.status.code(), Some(status), "{case}");
    }
}

/// Of the two blocks that a confirm writes in each copy, any may be missing.
#[test]
fn a_slot_whose_confirm_was_cut_is_not_restarted_for_ever() {
    let bench = Bench::new();
    let path = bench.0.path().join("disk");
    let boot = bench.0.path().join("boot");
    let script = format!("{SCRIPTS}/trial-deadline");
    let last = SIZE / 512 - 1;
    let blocks = [last - 32, last, 2, 1];
    for written in 0..=blocks.len() {
        let before = disk(&path, false);
        let old = blocks.map(|lba| block(&before, lba));
        let number = table(&before).slot(SlotLetter::A).kernel.number;
        let after = disk(&path, true);
        for (lba, old) in blocks.into_iter().zip(&old).skip(written) {
            after.write_at(lba * 512, old).unwrap();
        }
        let confirmed = table(&after).slot(SlotLetter::A).attributes.successful();
        let facts = format!("SLOT=A\nDISK={}\nKERNEL_NUMBER={number}\n", path.display());
        std::fs::write(&boot, facts).unwrap();
        let output = bench.run("", &[&script, boot.to_str().unwrap()]);
        let restarts = output.status.code() == Some(2);
        assert!(!(restarts && confirmed), "{written} of the blocks: {output:?}");
        assert_eq!(restarts, written == 0, "{written} of the blocks: {output:?}");
    }
}

fn block(disk: &DiskFile, lba: u64) -> [u8; 512] {
    let mut block = [0; 512];
    disk.read_at(lba * 512, &mut block).unwrap();
    block
}

/// A function as one of the scripts has it.
fn function(script: &str, name: &str) -> String {
    let script = std::fs::read_to_string(format!("{SCRIPTS}/scripts/{script}")).unwrap();
    let from = script.find(&format!("\n{name}() {{\n")).unwrap() + 1;
    let to = from + script[from..].find("\n}\n").unwrap() + 3;
    script[from..to].to_owned()
}

#[test]
fn only_a_state_that_was_read_and_is_zero_is_formatted() {
    let bench = Bench::new();
    let state = bench.0.path().join("STATE");
    let is_blank = function("local-bottom/seesaw", "is_blank");
    let is_blank = is_blank.replace("/run/seesaw", bench.0.path().to_str().unwrap());
    let script = format!("{is_blank}\nis_blank {}", state.display());
    let zero = vec![0u8; 1 << 20];
    let with = |at: usize| {
        let mut bytes = zero.clone();
        bytes[at] = 0x53;
        bytes
    };
    for (content, broken, blank) in [
        (Some(zero.clone()), "", true),
        (Some(with(1080)), "", false),
        (Some(with(65535)), "", false),
        (Some(zero.clone()), "all", false),
        (Some(vec![0; 65535]), "", false),
        (Some(Vec::new()), "", false),
        (None, "", false),
    ] {
        // What an earlier look left must not count.
        match &content {
            Some(bytes) => std::fs::write(&state, bytes).unwrap(),
            None => std::fs::remove_file(&state).unwrap(),
        }
        let output = bench.run(broken, &["-c", &script]);
        let size = content.map(|bytes| bytes.len());
        assert_eq!(output.status.success(), blank, "{size:?} `{broken}`: {output:?}");
    }
}

/// As the agent has it: a stored variable is a leftover or a forgery, and hides what the other says.
#[test]
fn only_a_variable_of_this_boot_names_the_kernels_partition() {
    const GUID: &str = "C12A7328-F81F-11D2-BA4B-00A0C93EC93B";
    const OTHER: &str = "4F68BCE3-E8CD-4DB1-96E7-FBCAF984B709";
    const VOLATILE: [u8; 4] = [6, 0, 0, 0];
    const STORED: [u8; 4] = [7, 0, 0, 0];
    let bench = Bench::new();
    let [stop, kernel_partuuid] =
        ["stop", "kernel_partuuid"].map(|name| function("local-top/seesaw", name));
    let script = format!(
        "panic() {{ echo \"$*\"; }}\nEFIVARS={}\nLOADER_GUID=loader\n\
         {stop}{kernel_partuuid}kernel_partuuid",
        bench.0.path().display()
    );
    let some = |attributes, guid| Some((attributes, guid));
    for (stub, loader, named) in [
        (some(VOLATILE, GUID), some(VOLATILE, OTHER), Ok(GUID)),
        (some(VOLATILE, GUID), some(STORED, OTHER), Ok(GUID)),
        (None, some(VOLATILE, GUID), Ok(GUID)),
        (some(STORED, OTHER), some(VOLATILE, GUID), Err("StubDevicePartUUID is stored")),
        (some(STORED, OTHER), None, Err("StubDevicePartUUID is stored")),
        (None, some(STORED, OTHER), Err("LoaderDevicePartUUID is stored")),
        (None, None, Err("is set")),
    ] {
        for (name, value) in [("StubDevicePartUUID", stub), ("LoaderDevicePartUUID", loader)] {
            let path = bench.0.path().join(format!("{name}-loader"));
            // What an earlier look left must not count.
            let _absent = std::fs::remove_file(&path);
            if let Some((attributes, guid)) = value {
                let text = guid.encode_utf16().chain([0]).flat_map(u16::to_le_bytes);
                std::fs::write(path, attributes.into_iter().chain(text).collect::<Vec<_>>())
                    .unwrap();
            }
        }
        let output = bench.run("", &["-c", &script]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let case = format!("{stub:?} {loader:?}: {output:?}");
        match named {
            Ok(guid) => {
                assert!(output.status.success(), "{case}");
                assert_eq!(said, format!("{}\n", guid.to_lowercase()), "{case}");
            }
            Err(why) => {
                assert!(!output.status.success() && said.is_empty(), "{case}");
                let told = String::from_utf8_lossy(&output.stderr);
                assert!(told.contains(why), "{case}");
            }
        }
    }
}

#[test]
fn every_script_parses() {
    for script in [
        "trial-deadline",
        "hooks/seesaw",
        "scripts/local-top/seesaw",
        "scripts/local-bottom/seesaw",
    ] {
        let checked = Command::new("sh").arg("-n").arg(format!("{SCRIPTS}/{script}")).output();
        assert!(checked.unwrap().status.success(), "{script}");
    }
}

/// The machine that builds images may have the package too, and boots no slots.
#[test]
fn the_initrd_of_another_system_gets_no_boot_scripts() {
    let initrd = tempfile::tempdir().unwrap();
    let scripts = ["local-top", "local-bottom"].map(|moment| {
        let script = initrd.path().join("scripts").join(moment).join("seesaw");
        std::fs::create_dir_all(script.parent().unwrap()).unwrap();
        std::fs::write(&script, "").unwrap();
        script
    });
    let mut hook = Command::new("sh");
    hook.arg(format!("{SCRIPTS}/hooks/seesaw")).env("DESTDIR", initrd.path());
    let output = hook.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(scripts.iter().all(|script| !script.exists()));
}
