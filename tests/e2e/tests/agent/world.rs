//! A server with releases, and a device that is an image file.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use fs_err as fs;
use partition_layout::{
    Access, DiskFile, Layout, Nibble, SlotLetter, SlotState, SlotTable, boot_decision, commit,
};
use payload_tools::testing::{osrel, uki};
use seesaw_harness::programs::{Programs, programs};
use serde_json::Value;

pub const COMPATIBLE: &str = "demo-x86_64";
/// Exit status of the agent where an image file would reboot.
pub const REBOOT: i32 = 10;

/// What the kernel of a release does when it is started.
#[derive(Clone, Copy, PartialEq)]
pub enum Kernel {
    Runs,
    Panics,
}

pub struct World {
    folder: tempfile::TempDir,
    programs: Programs,
    server: Child,
    url: String,
    pub booted: SlotLetter,
}

impl Drop for World {
    fn drop(&mut self) {
        // Ended or not, it is gone afterwards.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

impl World {
    /// A device that runs release 1, a server that offers it.
    pub fn new() -> Self {
        let programs = programs().unwrap();
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name).display().to_string();
        let (data, token, publisher) = (at("server"), at("token"), at("publisher"));
        let made = run(Command::new(&programs.update_server).args([
            "init",
            "--json",
            "--data",
            &data,
            "--token-file",
            &token,
        ]));
        let made: Value = serde_json::from_slice(&made.stdout).unwrap();
        let key = made["timestamp_key"].as_str().expect("init prints the timestamp key").to_owned();
        let payload = |args: &[&str]| {
            run(Command::new(&programs.payload).args(args).args(["--publisher", &publisher]))
        };
        payload(&["keygen", "--compatible", COMPATIBLE]);
        payload(&["init", "--compatible", COMPATIBLE, "--timestamp-key", &key]);
        let (server, url) = serve(&programs, folder.path());
        let mut world = Self { folder, programs, server, url, booted: SlotLetter::A };
        world.publish(1);
        world.make_device();
        world
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn text(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Builds a release whose counter is its name.
    pub fn build(&self, counter: u64) -> PathBuf {
        let out = self.path(&format!("release-{counter}"));
        if out.exists() {
            return out;
        }
        let text = osrel(COMPATIBLE, &counter.to_string(), counter);
        let body: Vec<u8> = pseudo_random(counter).take(256 << 10).collect();
        let kernel =
            uki(&[(".osrel", text.as_bytes()), (".cmdline", b"panic=10"), (".linux", &body)]);
        let root: Vec<u8> =
            pseudo_random(99).take(1 << 20).chain(pseudo_random(counter).take(1 << 20)).collect();
        fs::write(self.path("kernel"), kernel).unwrap();
        fs::write(self.path("root"), root).unwrap();
        run(Command::new(&self.programs.payload)
            .args(["build", "--compatible", COMPATIBLE, "--level", "1"])
            .args(["--release", &counter.to_string(), "--counter", &counter.to_string()])
            .args(["--kernel", &self.text("kernel"), "--root", &self.text("root")])
            .arg("--out")
            .arg(&out));
        out
    }

    /// Publishes a release and promotes it in `stable`.
    pub fn publish(&self, counter: u64) {
        let release = self.build(counter);
        run(Command::new(&self.programs.payload)
            .args(["publish", "--channel", "stable", "--server", &self.url])
            .args(["--publisher", &self.text("publisher"), "--token-file", &self.text("token")])
            .arg(release));
    }

    /// Signs a release into a bundle that needs no server.
    pub fn bundle(&self, counter: u64) -> PathBuf {
        let release = self.build(counter);
        run(Command::new(&self.programs.payload)
            .args(["sign", "--publisher", &self.text("publisher")])
            .arg(&release));
        release
    }

    fn make_device(&mut self) {
        fs::write(self.path("selector.efi"), "no selector: nothing boots here").unwrap();
        run(Command::new(&self.programs.payload)
            .args(["disk", "create", "--size", "120M", "--kernel-size", "8M", "--root-size", "16M"])
            .args(["--release", &self.text("release-1"), "--esp", &self.text("selector.efi")])
            .args(["--out", &self.text("disk")]));
        fs::create_dir(self.path("config")).unwrap();
        let config = format!(
            "[server]\nurl = \"{}\"\n[health]\ndeadline_seconds = 1\n[health.checks.demo]\n\
             kind = \"command\"\ncommand = [\"test\", \"!\", \"-e\", \"{}\"]\n",
            self.url,
            self.text("sick"),
        );
        fs::write(self.path("config/10-server.toml"), config).unwrap();
    }

    fn device(&self, program: &Path) -> Command {
        let mut command = Command::new(program);
        command
            .arg("--disk")
            .arg(self.path("disk"))
            .arg("--state")
            .arg(self.path("state"))
            .arg("--config")
            .arg(self.path("config"))
            .arg("--first-root")
            .arg(self.path("publisher/metadata/1.root.json"))
            .args(["--booted", &self.booted.to_string()]);
        command
    }

    /// Runs the agent until it has nothing more to do; its exit status.
    pub fn agent(&self) -> i32 {
        let mut agent = self.device(&self.programs.update_agent);
        let output = agent.arg("--once").output().unwrap();
        let code = output.status.code().unwrap();
        assert!(code == 0 || code == REBOOT, "{}", String::from_utf8_lossy(&output.stderr));
        code
    }

    /// Starts the agent for good, with a socket.
    pub fn daemon(&self) -> Child {
        let mut agent = self.device(&self.programs.update_agent);
        let agent = agent.arg("--run").arg(self.path("run")).stderr(Stdio::piped());
        let mut agent = agent.spawn().unwrap();
        let lines = BufReader::new(agent.stderr.take().unwrap()).lines();
        let mut lines = lines.map_while(Result::ok);
        assert!(lines.any(|line| line.contains("watching")), "the agent does not start");
        // Its talk goes on; who does not read it would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        agent
    }

    /// Runs updatectl without a daemon: exit status and JSON.
    pub fn updatectl(&self, args: &[&str]) -> (i32, Value) {
        answer(self.device(&self.programs.updatectl).arg("--json").args(args))
    }

    /// Runs updatectl with the daemon.
    pub fn ask_daemon(&self, args: &[&str]) -> (i32, Value) {
        let mut command = self.device(&self.programs.updatectl);
        answer(command.arg("--run").arg(self.path("run")).arg("--json").args(args))
    }

    /// What updatectl prints for people.
    pub fn told(&self, args: &[&str]) -> String {
        let output = self.device(&self.programs.updatectl).args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    /// Runs updatectl on nothing but the disk.
    pub fn bare_updatectl(&self, args: &[&str]) -> (i32, Value) {
        let mut command = Command::new(&self.programs.updatectl);
        answer(command.arg("--disk").arg(self.path("disk")).arg("--json").args(args))
    }

    /// The selector and the kernel, until an agent could start.
    pub fn boot(&mut self, kernel: impl Fn(&str) -> Kernel) {
        for _ in 0..10 {
            let disk = DiskFile::open(self.path("disk"), Access::ReadWrite).unwrap();
            let table = SlotTable::read(&disk, &Layout::standard()).unwrap();
            let attributes = [table.slots[0].attributes, table.slots[1].attributes];
            let first = boot_decision(&attributes).attempts[0];
            let slot = &table.slots[first.index];
            if let Some(tries) = first.tries_after {
                let less = slot.attributes.with_boot(slot.attributes.priority(), tries, false);
                drop(commit(&disk, &[(slot.kernel.number, less)]).unwrap());
            }
            let release = self.release_in(slot.letter);
            if kernel(&release) == Kernel::Runs {
                self.booted = slot.letter;
                return;
            }
        }
        panic!("no slot comes up");
    }

    /// Makes the health checks fail, or pass again.
    pub fn sick(&self, sick: bool) {
        let flag = self.path("sick");
        if sick {
            fs::write(flag, "").unwrap();
        } else if flag.exists() {
            fs::remove_file(flag).unwrap();
        }
    }

    pub fn release_in(&self, letter: SlotLetter) -> String {
        let (_, status) = self.bare_updatectl(&["status"]);
        let slots = status["slots"].as_array().unwrap();
        let slot = slots.iter().find(|slot| slot["slot"] == letter.to_string()).unwrap();
        slot["release"].as_str().unwrap_or("none").to_owned()
    }

    pub fn running(&self) -> String {
        self.release_in(self.booted)
    }

    pub fn state_of(&self, letter: SlotLetter) -> SlotState {
        let disk = DiskFile::open(self.path("disk"), Access::ReadOnly).unwrap();
        SlotTable::read(&disk, &Layout::standard()).unwrap().slot(letter).attributes.state()
    }

    pub fn tries_of(&self, letter: SlotLetter) -> Nibble {
        let disk = DiskFile::open(self.path("disk"), Access::ReadOnly).unwrap();
        SlotTable::read(&disk, &Layout::standard()).unwrap().slot(letter).attributes.tries()
    }

    /// The server as if its machine were gone.
    pub fn stop_server(&mut self) {
        self.server.kill().unwrap();
        self.server.wait().unwrap();
    }

    /// What the server knows of the only device.
    pub fn device_on_server(&self) -> Value {
        let listed = run(Command::new(&self.programs.update_server)
            .args(["device", "list", "--json", "--server", &self.url])
            .args(["--token-file", &self.text("token")]));
        serde_json::from_slice(&listed.stdout).unwrap()
    }
}

fn serve(programs: &Programs, folder: &Path) -> (Child, String) {
    let announced = folder.join("announced");
    let server = Command::new(&programs.update_server)
        .args(["serve", "--listen", "127.0.0.1:0", "--poll-seconds", "60"])
        .arg("--data")
        .arg(folder.join("server"))
        .arg("--announce")
        .arg(&announced)
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    loop {
        // The file comes when the server answers; there is nothing else to wait on.
        match fs::read_to_string(&announced) {
            Ok(address) if !address.trim().is_empty() => {
                return (server, format!("http://{}", address.trim()));
            }
            _ => std::thread::yield_now(),
        }
    }
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {error}");
    output
}

fn answer(command: &mut Command) -> (i32, Value) {
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let json = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{command:?}: {text}{error}"));
    (output.status.code().unwrap(), json)
}

/// Bytes that do not compress (xorshift64*).
fn pseudo_random(seed: u64) -> impl Iterator<Item = u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    std::iter::repeat_with(move || {
        state ^= state >> 12;
        state ^= state << 25;
        state ^= state >> 27;
        (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 56) as u8
    })
}
