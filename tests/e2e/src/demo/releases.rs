//! The releases of the demo: one operating system, and what each release does to it.

use std::path::PathBuf;

use seesaw_harness::image::{File, ImageStore, Initrd, OsImage, Recipe};
use seesaw_harness::programs::target_dir;

use super::DemoError;
use crate::COMPATIBLE;

/// `panic`: a kernel that panics resets the machine, where Debian's would wait for ever.
const COMMAND_LINE: &str = "ro panic=2 console=ttyS0 quiet systemd.gpt_auto=no";

/// Where demo.service listens.
pub(super) const DEMO_PORT: u16 = 8080;

/// A release of the demo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DemoRelease {
    /// The first.
    One,
    /// A security update.
    Two,
    /// Its demo.service answers 500.
    BrokenService,
    /// Its kernel has no initrd: it finds no root and panics.
    Panics,
}

impl DemoRelease {
    /// Its counter, and its name.
    pub fn counter(self) -> u64 {
        match self {
            Self::One => 1,
            Self::Two => 2,
            Self::BrokenService => 3,
            Self::Panics => 4,
        }
    }

    /// What it is, for people.
    pub fn description(self) -> &'static str {
        match self {
            Self::One => "the first release",
            Self::Two => "a security update of a few programs",
            Self::BrokenService => "its demo.service answers 500",
            Self::Panics => "its kernel has no initrd and panics",
        }
    }

    fn status_line(self) -> &'static str {
        match self {
            Self::BrokenService => "500 Internal Server Error",
            Self::One | Self::Two | Self::Panics => "200 OK",
        }
    }

    fn rebuilt_programs(self) -> Vec<String> {
        let library = |name| format!("usr/lib/x86_64-linux-gnu/{name}");
        match self {
            Self::One => Vec::new(),
            Self::Two | Self::BrokenService | Self::Panics => vec![
                "usr/bin/busybox".to_owned(),
                "usr/lib/systemd/systemd-networkd".to_owned(),
                library("libssl.so.3"),
                library("libcrypto.so.3"),
            ],
        }
    }

    fn initrd(self) -> Initrd {
        match self {
            Self::Panics => Initrd::Missing,
            Self::One | Self::Two | Self::BrokenService => Initrd::Included,
        }
    }

    /// Builds its image, or finds it built, with the package of the agent. `first_root` is the root
    /// of trust that it carries.
    pub(super) fn image(
        self,
        agent_package: PathBuf,
        first_root: PathBuf,
    ) -> Result<OsImage, DemoError> {
        let mut files = vec![File::copy("usr/lib/seesaw/1.root.json", first_root)];
        files.extend(self.demo_service());
        let recipe = Recipe {
            compatible: COMPATIBLE.to_owned(),
            release: self.counter().to_string(),
            counter: self.counter(),
            built: format!("2026-01-0{}T00:00:00Z", self.counter()),
            command_line: COMMAND_LINE.to_owned(),
            initrd: self.initrd(),
            packages: vec![agent_package],
            files,
            enabled_units: vec!["demo.service".to_owned()],
            rebuilt_programs: self.rebuilt_programs(),
        };
        Ok(ImageStore::open(target_dir().join("images"))?.build(&recipe)?)
    }

    /// A web server of one page, and the health check that asks for it.
    fn demo_service(self) -> Vec<File> {
        let page = format!(
            "#!/bin/sh\nprintf 'Status: {}\\r\\nContent-Type: text/plain\\r\\n\\r\\n'\n\
             echo 'release {}'\n",
            self.status_line(),
            self.counter(),
        );
        let unit = format!(
            "[Unit]\nDescription=The service that this device is for\n\n\
             [Service]\nExecStart=/usr/bin/busybox httpd -f -p {DEMO_PORT} -h /usr/share/demo\n\n\
             [Install]\nWantedBy=multi-user.target\n"
        );
        let check = format!(
            "[health]\n# A slow machine: emulated.\ndeadline_seconds = 30\n\n\
             [health.checks.demo]\nkind = \"http\"\n\
             url = \"http://127.0.0.1:{DEMO_PORT}/cgi-bin/health\"\n"
        );
        vec![
            File::script("usr/share/demo/cgi-bin/health", page),
            File::text("usr/lib/systemd/system/demo.service", unit),
            File::text("usr/lib/seesaw/config.d/50-demo.toml", check),
        ]
    }
}
