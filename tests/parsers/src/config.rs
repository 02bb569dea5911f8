use agent::config::{ConfigError, Folders, Fragment, Settings};

use crate::{Outcomes, Parser};

const OUTCOMES: &[&str] = &[
    "settings",
    "not text",
    "fragment",
    "health.deadline_seconds",
    "hooks.deadline_seconds",
    "reboot.windows",
    "reboot.windows.minutes",
    "reboot.time_zone",
];

pub(crate) const PARSER: Parser =
    Parser { name: "config", run, outcomes: &[OUTCOMES], never: &[], seeds };

/// Two fragments with a line between them: the second is laid over the first.
const BETWEEN: &str = "\n# over\n";

fn run(data: &[u8]) -> Outcomes {
    let Ok(text) = std::str::from_utf8(data) else { return vec!["not text".to_owned()] };
    let mut merged = Fragment::default();
    for text in text.split(BETWEEN) {
        match Fragment::parse(text) {
            Ok(fragment) => merged.merge(fragment),
            Err(message) => {
                assert!(!message.is_empty());
                return vec!["fragment".to_owned()];
            }
        }
    }
    vec![match Settings::of(merged, &Folders(Vec::new())) {
        Ok(settings) => {
            assert!(settings.health.deadline.as_secs() <= 600);
            assert!(settings.hooks.deadline.as_secs() <= 60);
            "settings".to_owned()
        }
        Err(ConfigError::Together { key, .. }) => key.to_owned(),
        Err(error) => panic!("merged settings fail otherwise: {error:?}"),
    }]
}

const WHOLE: &str = r#"
[server]
url = "https://updates.example.com/"
timeout_seconds = 5
[updates]
channel = "beta"
poll_seconds = 60
[health]
deadline_seconds = 60
update_server = false
[health.checks.web]
kind = "http"
url = "http://127.0.0.1/"
[health.checks.unit]
kind = "systemd"
unit = "x.service"
timeout_seconds = 5
[reboot]
strategy = "window"
time_zone = "UTC"
windows = [{ days = ["mon"], start = "03:00", minutes = 60 }]
[hooks]
deadline_seconds = 10
"#;

fn seeds() -> Vec<Vec<u8>> {
    let texts = [
        WHOLE,
        "[health.checks]\noff = false\n",
        "[health]\ndeadline_seconds = 601\n",
        "[hooks]\ndeadline_seconds = 61\n",
        "[reboot]\nstrategy = \"window\"\n",
        "[reboot]\nstrategy = \"window\"\nwindows = [{ start = \"03:00\", minutes = 0 }]\n",
        "[reboot]\nstrategy = \"window\"\ntime_zone = \"Mars\"\n\
         windows = [{ days = [], start = \"03:00\", minutes = 9 }]\n",
        "unknown = 1\n",
        "[updates]\npoll_seconds = -1\n",
        "[server]\nurl = \"ftp://x\"\n",
    ];
    let mut all: Vec<_> = texts.iter().map(|text| text.as_bytes().to_vec()).collect();
    all.push([texts[1], BETWEEN, WHOLE].concat().into_bytes());
    all.push(b"\xff".to_vec());
    all
}
