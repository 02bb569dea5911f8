use super::*;
use partition_layout::testing::small_plan;
use partition_layout::{BlockDevice, DiskFile, Layout, Nibble, SlotTable, commit, create_disk};
use payload_tools::testing::{osrel, uki};

use crate::update::driver::{Driver, Flow, Letter};
use crate::update::{Answer, Command, Event, Verdict};

fn options(disk: Option<PathBuf>, folder: &std::path::Path) -> DeviceOptions {
    DeviceOptions {
        disk,
        booted: None,
        state: None,
        config: Vec::new(),
        first_root: PathBuf::from(FIRST_ROOT),
        run: Some(folder.to_owned()),
    }
}

#[test]
fn a_device_that_runs_is_held_to_its_state_and_its_trust() {
    let run = tempfile::tempdir().unwrap();
    let device = |disk: Option<&str>| options(disk.map(PathBuf::from), run.path());
    let missing = Some(&NoAnchor::Compatible);
    assert!(device(None).standing(None).is_empty());
    assert_eq!(device(None).standing(missing).len(), 1);
    assert!(device(Some("image")).standing(missing).is_empty());
    std::fs::write(run.path().join("boot"), "SLOT=A\nSTATE_MOUNTED=volatile\n").unwrap();
    assert_eq!(device(None).standing(None).len(), 1);
}

/// Also one whose STATE is lost: it is confirmed and rolled back all the same.
#[test]
fn one_program_at_a_time_takes_a_device() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().unwrap();
    let run = folder.path().join("run");
    std::fs::write(folder.path().join("no-folder"), "").unwrap();
    let running =
        DeviceOptions { state: Some(folder.path().join("no-folder/state")), ..options(None, &run) };
    let image = DeviceOptions {
        state: Some(folder.path().join("state")),
        ..options(Some(folder.path().join("disk")), &run)
    };
    for device in [running, image] {
        let lock = device.lock().unwrap();
        let refused = device.lock();
        assert!(matches!(refused, Err(DeviceError::Locked { .. })), "{refused:?}");
        drop(lock);
        drop(device.lock().unwrap());
    }
    let mode = std::fs::metadata(run.join("lock")).unwrap().permissions().mode();
    assert_eq!(mode & 0o077, 0, "who may read it may lock it");
    assert!(!folder.path().join("state/lock").exists(), "nothing is written for it");
}

/// Slot A confirmed with release 2 and booted, slot B confirmed with release 1.
fn make_disk(path: &std::path::Path) {
    std::fs::File::create(path).unwrap().set_len(64 << 20).unwrap();
    let disk = DiskFile::open(path, Access::ReadWrite).unwrap();
    create_disk(&disk, &small_plan()).unwrap();
    for (letter, counter) in [(SlotLetter::A, 2), (SlotLetter::B, 1)] {
        let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
        let slot = table.slot(letter);
        let text = osrel("demo", &counter.to_string(), counter.into());
        let image = uki(&[(".osrel", text.as_bytes()), (".cmdline", b"x")]);
        disk.write_at(slot.kernel.offset, &image).unwrap();
        let priority = Nibble::try_from(counter).unwrap();
        let confirmed = slot.attributes.with_boot(priority, Nibble::ZERO, true);
        drop(commit(&disk, &[(slot.kernel.number, confirmed)]).unwrap());
    }
}

/// A device with a root of trust and a server, whose STATE holds `file`.
pub(crate) fn device_with(folder: &std::path::Path, file: &str, text: &str) -> DeviceOptions {
    make_disk(&folder.join("disk"));
    let server = "[server]\nurl = \"http://127.0.0.1:1\"\n";
    for (path, text) in
        [("state/config.d/10-server.toml", server), ("1.root.json", "{}"), (file, text)]
    {
        let path = folder.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    DeviceOptions {
        booted: Some(SlotLetter::A),
        state: Some(folder.join("state")),
        config: vec![folder.join("state/config.d")],
        first_root: folder.join("1.root.json"),
        ..options(Some(folder.join("disk")), &folder.join("run"))
    }
}

async fn say(driver: &mut Driver, command: Command) -> (Answer, Flow) {
    let (asker, mut answer) = tokio::sync::oneshot::channel();
    let flow = driver.handle(Letter::Said(command, asker)).await;
    (answer.try_recv().unwrap(), flow)
}

#[tokio::test]
async fn a_bad_file_on_state_stops_updates_and_nothing_else() {
    for (file, text, complaint) in [
        ("state/journal.json/x", "", Some("state")),
        ("state/device-id", "short", Some("device-id")),
        ("state/config.d/20-typo.toml", "[srever]\n", Some("configuration")),
        ("state/config.d/20-good.toml", "[updates]\npoll_seconds = 9\n", None),
        ("state/events.json/x", "", None),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let parts = device_with(folder.path(), file, text).open().unwrap();
        let names: Vec<String> = parts.standing.iter().map(ToString::to_string).collect();
        assert_eq!(names.len(), usize::from(complaint.is_some()), "{names:?}");
        assert!(complaint.is_none_or(|complaint| names[0].starts_with(complaint)), "{names:?}");
        let asks = !matches!(complaint, Some("device-id" | "configuration"));
        assert_eq!(parts.server.is_some(), asks, "{file}");
        assert!(parts.settings.hooks.folders.is_empty(), "this host's hooks are for this host");

        let (mut driver, _letters, status) = Driver::new(parts).unwrap();
        assert_eq!(driver.handle(Letter::Event(Event::Started)).await, Flow::Continue);
        let (answer, flow) = say(&mut driver, Command::Rollback).await;
        assert_eq!((answer, flow), (Answer::Begun, Flow::Continue), "{file}");
        assert_eq!(status.borrow().next, Some(SlotLetter::B), "{file}");
        let shown = status.borrow().agent.as_ref().unwrap().complaints.clone();
        assert_eq!(shown, names);
    }
}

#[test]
fn a_disk_that_is_not_there_is_told_once() {
    let folder = tempfile::tempdir().unwrap();
    let disk = folder.path().join("disk");
    let refused = options(Some(disk.clone()), folder.path()).open().err().unwrap();
    let told = crate::chain(&refused);
    assert_eq!(told, format!("there is no disk or image file {}", disk.display()));
}

/// Each by its own name: none of them says anything about a bundle's signer.
#[tokio::test]
async fn what_a_device_lacks_to_verify_a_bundle_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let whole = device_with(folder.path(), "state/unused", "");
    let nameless = folder.path().join("nameless");
    DiskFile::create(&nameless, 64 << 20, 512).unwrap();
    let disk = DiskFile::open(&nameless, Access::ReadWrite).unwrap();
    create_disk(&disk, &small_plan()).unwrap();
    for (device, lacking) in [
        (DeviceOptions { state: None, ..whole.clone() }, "give --state DIR"),
        (
            DeviceOptions { first_root: folder.path().join("missing"), ..whole.clone() },
            "give --first-root FILE",
        ),
        (DeviceOptions { disk: Some(nameless), ..whole }, "SEESAW_COMPATIBLE"),
    ] {
        let (mut driver, mut letters, _) = Driver::new(device.open().unwrap()).unwrap();
        for command in
            [Command::Install { path: "bundle".into(), retry_failed: false }, Command::Check]
        {
            assert_eq!(say(&mut driver, command.clone()).await.0, Answer::Begun);
            let letter = letters.recv().await.unwrap();
            driver.handle(letter).await;
            let verdict = driver.life().outcome.clone().map(|outcome| outcome.verdict);
            let Some(Verdict::Device { error }) = &verdict else {
                panic!("{command:?} {verdict:?}")
            };
            assert!(error.contains(lacking), "{error}");
        }
    }
}

#[tokio::test]
async fn a_device_without_a_server_is_told_where_to_set_one() {
    let folder = tempfile::tempdir().unwrap();
    let whole = device_with(folder.path(), "state/unused", "");
    let unset = DeviceOptions { config: Vec::new(), ..whole };
    let (mut driver, mut letters, _) = Driver::new(unset.open().unwrap()).unwrap();
    assert_eq!(say(&mut driver, Command::Check).await.0, Answer::Begun);
    let letter = letters.recv().await.unwrap();
    driver.handle(letter).await;
    let verdict = driver.life().outcome.clone().map(|outcome| outcome.verdict);
    let Some(Verdict::Network { error }) = &verdict else { panic!("{verdict:?}") };
    assert!(error.contains("/etc/seesaw/config.d"), "{error}");
}

#[tokio::test]
async fn what_a_power_cut_left_on_state_is_removed() {
    let folder = tempfile::tempdir().unwrap();
    let device = device_with(folder.path(), "state/.unfinished-1", "{");
    let left = ["state/.unfinished-1", "state/metadata/.unfinished-2"];
    let left = left.map(|name| folder.path().join(name));
    std::fs::create_dir(folder.path().join("state/metadata")).unwrap();
    std::fs::write(&left[1], "{").unwrap();
    drop(device.open().unwrap());
    assert!(left.iter().all(|path| !path.exists()));
}
