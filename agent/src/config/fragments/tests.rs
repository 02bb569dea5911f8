use super::*;
use crate::config::{Settings, Strategy};
use std::path::Path;
use std::time::Duration;

struct Disk(tempfile::TempDir);

impl Disk {
    fn new(files: &[(&str, &str)]) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        for (path, text) in files {
            let path = disk.0.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            match *text {
                "/dev/null" => std::os::unix::fs::symlink("/dev/null", path).unwrap(),
                text => std::fs::write(path, text).unwrap(),
            }
        }
        disk
    }

    fn folders(&self) -> Folders {
        Folders(["usr", "run", "etc", "state"].map(|name| self.0.path().join(name)).to_vec())
    }

    fn settings(&self) -> Settings {
        Settings::read(&self.folders()).unwrap()
    }

    fn error(&self) -> String {
        Settings::read(&self.folders()).unwrap_err().to_string()
    }
}

fn poll(seconds: u32) -> String {
    format!("[updates]\npoll_seconds = {seconds}\n")
}

#[test]
fn the_later_folder_and_then_the_later_name_win() {
    let disk = Disk::new(&[
        ("usr/10.toml", &poll(1)),
        ("etc/10.toml", "[updates]\nchannel = \"beta\"\n"),
        ("usr/05.toml", &poll(5)),
        ("usr/notes.txt", "not read"),
    ]);
    let settings = disk.settings();
    assert_eq!(settings.poll, Duration::from_secs(5), "usr/10.toml is replaced, not merged");
    assert_eq!(settings.channel.unwrap().as_str(), "beta");
    assert_eq!(
        Disk::new(&[("usr/20.toml", &poll(2)), ("state/10.toml", &poll(1))]).settings().poll,
        Duration::from_secs(2)
    );
}

#[test]
fn a_budget_is_of_a_day_unless_the_hours_are_said() {
    let hours = |text: &str| {
        let text = format!("[download]\nbudget_bytes = 50_000_000\n{text}");
        Disk::new(&[("etc/50.toml", &text)]).settings().download.budget.unwrap().period.as_hours()
    };
    assert_eq!([hours(""), hours("budget_hours = 720\n")], [24, 720]);
    let disk = Disk::new(&[("etc/50.toml", "[download]\nbudget_hours = 720\n")]);
    assert_eq!(disk.settings().download.budget, None);
}

#[test]
fn the_least_of_a_link_is_enough() {
    let text = "[download]\nbudget_bytes = 33554432\nbytes_per_second = 16384\n";
    let download = Disk::new(&[("etc/50.toml", text)]).settings().download;
    assert_eq!(download.budget.map(|budget| budget.bytes), Some(32 << 20));
    assert_eq!(download.bytes_per_second, Some(16 << 10));
}

#[test]
fn a_link_to_nothing_masks() {
    let disk = Disk::new(&[("usr/10.toml", &poll(7)), ("etc/10.toml", "/dev/null")]);
    assert_eq!(disk.settings().poll, Duration::from_secs(300));
}

#[test]
fn no_file_at_all_is_a_device_without_a_server() {
    let settings = Disk::new(&[]).settings();
    assert_eq!(settings.server, None);
    assert!(!settings.health.update_server);
    assert_eq!(settings.strategy, Strategy::Immediate);
}

#[test]
fn checks_add_up_and_can_be_switched_off_by_name() {
    let disk = Disk::new(&[
        (
            "usr/10.toml",
            "[health.checks.a]\nkind = \"tcp\"\naddress = \"127.0.0.1:1\"\n[health.checks.b]\nkind = \"systemd\"\nunit = \"b.service\"\n",
        ),
        (
            "etc/20.toml",
            "[health.checks]\na = false\n[health.checks.c]\nkind = \"command\"\ncommand = [\"true\"]\n",
        ),
    ]);
    let names: Vec<String> = disk.settings().health.checks.into_keys().collect();
    assert_eq!(names, ["b", "c"]);
}

/// Every error names the file and the key.
#[test]
fn what_a_file_may_not_say_is_refused() {
    for (text, key) in [
        ("[server]\nurll = \"https://a\"\n", "urll"),
        ("[srever]\n", "srever"),
        ("[server]\nurl = \"ftp://a\"\n", "url"),
        ("[server]\nurl = \"https://a/?q=1\"\n", "url"),
        ("[server]\nurl = 1\n", "url"),
        ("[updates]\npoll_seconds = 0\n", "poll_seconds"),
        ("[updates]\npoll_seconds = -1\n", "poll_seconds"),
        ("[updates]\nchannel = \"../x\"\n", "channel"),
        ("[download]\nbudget_bytes = 0\n", "budget_bytes"),
        ("[download]\nbytes_per_second = -1\n", "bytes_per_second"),
        ("[install]\npriority = \"high\"\n", "priority"),
        ("[reboot]\nstrategy = \"sometimes\"\n", "strategy"),
        ("[reboot]\nwindows = [{ start = \"25:00\", minutes = 1 }]\n", "start"),
        ("[reboot]\nwindows = [{ start = \"02:00\", minutes = 1, zone = \"x\" }]\n", "zone"),
        ("[health.checks.a]\nkind = \"tcp\"\n", "health.checks.a"),
        ("[health.checks.a]\nkind = \"ping\"\n", "health.checks.a"),
        ("[health.checks.a]\nkind = \"tcp\"\naddress = \"a:1\"\nport = 1\n", "health.checks.a"),
        ("[health.checks]\na = true\n", "a = true"),
        ("not toml", "not toml"),
    ] {
        let error = Disk::new(&[("etc/50-mine.toml", text)]).error();
        assert!(error.contains("etc/50-mine.toml"), "{error}");
        assert!(error.contains(key), "{key}: {error}");
        assert_eq!(error.lines().count(), 1, "{error}");
    }
    let error = Disk::new(&[("etc/50-mine.toml", "[server]\n\nurll = \"x\"\n")]).error();
    assert!(
        error.ends_with(
            "etc/50-mine.toml: line 3, `urll = \"x\"`: unknown field `urll`, expected `url` or \
         `timeout_seconds`"
        ),
        "{error}"
    );
}

#[test]
fn what_files_may_not_say_together_names_the_key() {
    for (text, key) in [
        ("[reboot]\nstrategy = \"window\"\n", "reboot.windows"),
        (
            "[reboot]\nstrategy = \"window\"\nwindows = [{ start = \"02:00\", minutes = 0 }]\n",
            "reboot.windows.minutes",
        ),
        (
            "[reboot]\nstrategy = \"window\"\ntime_zone = \"Mars/Dome\"\nwindows = [{ start = \"02:00\", minutes = 1 }]\n",
            "reboot.time_zone",
        ),
        ("[download]\nbudget_hours = 9000\n", "download.budget_hours"),
        (
            "[download]\nbudget_bytes = 33554431\n",
            "download.budget_bytes: it must be at least 33554432",
        ),
        (
            "[download]\nbytes_per_second = 16383\n",
            "download.bytes_per_second: it must be at least 16384",
        ),
        ("[hooks]\ndeadline_seconds = 61\n", "hooks.deadline_seconds"),
        ("[health]\ndeadline_seconds = 601\n", "health.deadline_seconds"),
    ] {
        let error = Disk::new(&[("etc/50-mine.toml", text)]).error();
        assert!(error.starts_with(key), "{error}");
    }
}

fn dist(path: &str) -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("dist").join(path)).unwrap()
}

/// The shipped files say what the program does without them, and their
/// commented keys are keys.
#[test]
fn the_shipped_defaults_are_the_defaults() {
    let text = dist("config.d/00-defaults.toml");
    let shipped = Disk::new(&[("usr/00-defaults.toml", &text)]).settings();
    let bare = Disk::new(&[]).settings();
    assert_eq!(format!("{shipped:?}"), format!("{bare:?}"));

    let key = |line: &str| line.strip_prefix("# ").is_some_and(|rest| rest.contains(" = "));
    let uncommented: String = text
        .lines()
        .map(|line| format!("{}\n", if key(line) { &line[2..] } else { line }))
        .collect();
    Fragment::parse(&uncommented).unwrap();
    Fragment::parse(&dist("config.d/10-boot-complete.toml")).unwrap();
    assert_eq!(
        Fragment::parse(&dist("examples/20-health.toml")).unwrap().health.unwrap().checks.len(),
        4
    );
}

/// The daemon opens the bundles that people name, in their homes and in /tmp.
#[test]
fn the_service_sees_the_bundles_of_people() {
    let service = dist("update-agent.service");
    assert!(!service.contains("PrivateTmp=yes"));
    assert!(service.contains("ProtectHome=read-only"));
}
