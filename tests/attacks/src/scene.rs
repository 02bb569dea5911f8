//! One device, its server, and who stands between them, for the steps of one attack.

use std::collections::BTreeMap;
use std::process::{Command, Output};

use fs_err as fs;
use partition_layout::SlotState;
use payload_tools::format::Hash;
use seesaw_e2e::command::{Failure, expect, output};
use seesaw_e2e::image_file::{Kernel, World};
use seesaw_e2e::liar::{self, Liar, Served};
use seesaw_e2e::words;
use serde_json::{Value, json};

use crate::fixture::{Attack, Lie, Run, State, Step, Target, Told};
use crate::repository::Repository;

/// `server.timeout_seconds` of the device here.
const TIMEOUT_SECONDS: u64 = 3;
/// More than any step takes on the slowest machine, beside the time-outs that it waits out: who needs
/// longer hangs.
const HANGS_SECONDS: u64 = 60;

/// A device that trusts a repository of two of three keys, and does not trust the publisher's own.
struct Scene {
    world: World,
    liar: Liar,
    repository: Repository,
}

/// What a step came to.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    exit: i32,
    shown: String,
    served: Served,
}

/// Runs the attack, each step on what the one before left.
///
/// # Errors
/// At the first step that does not come to what it must, or whose programs fail.
pub fn run(attack: &Attack) -> Result<(), Failure> {
    let mut scene = Scene::set(attack)?;
    for step in &attack.steps {
        scene.act(step)?;
    }
    Ok(())
}

impl Scene {
    fn set(attack: &Attack) -> Result<Self, Failure> {
        let mut world = World::new()?;
        let mut known = BTreeMap::from([(1, listed(&world, 1)?)]);
        for counter in &attack.payloads {
            world.publish(*counter)?;
            known.insert(*counter, listed(&world, *counter)?);
        }
        let repository = Repository::of(known);
        world.first_root = world.path("first-root.json");
        fs::write(&world.first_root, repository.first_root())?;
        let liar = Liar::before(world.server.url())?;
        world.ask_at(liar.url())?;
        if let Some(channel) = &attack.follows {
            let config = format!("[updates]\nchannel = \"{channel}\"\n");
            fs::write(world.path("config/20-channel.toml"), config)?;
        }
        Ok(Self { world, liar, repository })
    }

    fn act(&mut self, step: &Step) -> Result<(), Failure> {
        step.people.iter().for_each(|act| self.repository.act(act));
        let mut stolen = self.repository.clone();
        step.signed.iter().for_each(|act| stolen.act(act));
        self.liar.repent();
        self.liar.show(stolen.files().clone());
        for lie in &step.lies {
            self.liar.lie_after(lie.after, &lie.about, self.told(lie, &stolen)?);
        }
        self.liar.lie("v1/check", offer(step.offer, &step.channel));
        if step.state == State::Wiped {
            fs::remove_dir_all(self.world.path("state"))?;
        }
        self.world.clock.clone_from(&step.clock);
        self.judge(step)?;
        if step.reboots { self.reboot() } else { Ok(()) }
    }

    fn told(&self, lie: &Lie, repository: &Repository) -> Result<liar::Lie, Failure> {
        Ok(match &lie.with {
            Told::Silence => liar::Lie::Silence,
            Told::Endless => liar::Lie::Endless,
            Told::Drip => liar::Lie::Drip,
            Told::Flipped => liar::Lie::Flipped,
            Told::Forged => liar::Lie::Forged,
            Told::Status(status) => liar::Lie::Status(*status),
            Told::Page => liar::Lie::Page,
            Told::File(name) => liar::Lie::Bytes(repository.files()[name].clone()),
            Told::Manifest(counter) => liar::Lie::Bytes(manifest(&self.world, *counter)?),
            Told::Image(counter) => {
                let [from, to] = [root_image(&self.world, 2)?, root_image(&self.world, *counter)?];
                liar::Lie::Instead { from, to }
            }
        })
    }

    /// Runs what the step says and compares what comes of it.
    fn judge(&self, step: &Step) -> Result<(), Failure> {
        let what = step.attack.as_deref().unwrap_or("what leads up to an attack, or follows it");
        let (booted, target) = (self.world.booted, self.world.booted.other());
        let slot = |letter| Ok::<_, Failure>(self.world.slot(letter)?.attributes);
        let before = (slot(booted)?, slot(target)?, self.world.fingerprint(target)?);
        self.liar.served();
        let found = self.run(step)?;
        println!("{what}: {found:?}");
        let after = (slot(booted)?, slot(target)?, self.world.fingerprint(target)?);

        let told = |met: bool| if met { step.shows.clone() } else { found.shown.clone() };
        let shown = told(found.shown.contains(&step.shows));
        let told = |exit, shown| format!("{what}: exit {exit}, {shown}");
        expect("an attack", told(found.exit, shown), told(step.exit, step.shows.clone()))?;
        expect("the booted slot", after.0, before.0)?;
        match step.target {
            Target::Untouched => expect("the slots, before and after", after, before)?,
            Target::Unbootable => expect("the target", after.1.state(), SlotState::Empty)?,
            Target::Activated => expect("the target", after.1.state(), SlotState::Trial)?,
        }
        let Served { requests, bytes } = found.served;
        let within = requests <= step.requests && bytes <= step.bytes;
        let bound = format!("{} requests and {} bytes", step.requests, step.bytes);
        let spent = format!("{requests} requests and {bytes} bytes");
        expect("requests and bytes at most", if within { &bound } else { &spent }, &bound)
    }

    fn run(&self, step: &Step) -> Result<Outcome, Failure> {
        let mut command = match step.run {
            Run::Update => self.world.line(&["update"]),
            Run::Check => self.world.line(&["check"]),
            Run::Rollback => self.world.line(&["rollback"]),
            Run::Install => {
                let release = self.world.build(step.offer.unwrap_or(1))?;
                self.world.publisher.sign(&release)?;
                self.world.line(&["install", &release.display().to_string()])
            }
            Run::Agent => self.world.agent_line(),
        };
        let seconds = HANGS_SECONDS + step.timeouts * TIMEOUT_SECONDS;
        // A log would be words too.
        let quiet = if step.run == Run::Agent { "info" } else { "off" };
        let mut bounded = within(seconds, command.env("RUST_LOG", quiet));
        let output = self.world.judged(|| output(&mut bounded))?;
        let exit = output.status.code().unwrap_or(-1);
        Ok(Outcome { exit, shown: self.shown(step.run, &output), served: self.liar.served() })
    }

    fn shown(&self, run: Run, output: &Output) -> String {
        match run {
            Run::Agent => {
                words::constant(&String::from_utf8_lossy(&output.stderr), &self.world.path(""))
            }
            _ => words::of_updatectl(output, &self.world.path("")),
        }
    }

    /// Into what is activated, which confirms itself while everybody tells the truth.
    fn reboot(&mut self) -> Result<(), Failure> {
        self.liar.repent();
        self.liar.show(self.repository.files().clone());
        self.liar.lie("v1/check", offer(None, ""));
        self.world.clock = None;
        self.world.boot(|_| Kernel::Runs)?;
        expect("the agent on its trial", self.world.agent()?, 0)?;
        let state = self.world.slot(self.world.booted)?.attributes.state();
        expect("the slot that was on trial", state, SlotState::Confirmed)
    }
}

/// The same command, ended where it hangs: with status 124.
fn within(seconds: u64, command: &Command) -> Command {
    let mut bounded = Command::new("timeout");
    bounded.arg(seconds.to_string()).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => bounded.env(name, value),
            None => bounded.env_remove(name),
        };
    }
    bounded
}

/// What a server says to a device that asks.
fn offer(release: Option<u64>, channel: &str) -> liar::Lie {
    let answer = match release {
        Some(counter) => json!({
            "action": "update", "release": counter.to_string(), "counter": counter,
            "reason": "channel", "channel": channel, "detail": format!("{channel} is at {counter}"),
        }),
        None => {
            json!({ "action": "none", "reason": "up_to_date", "detail": "it runs what is wanted" })
        }
    };
    liar::Lie::Bytes(answer.to_string().into_bytes())
}

fn manifest(world: &World, counter: u64) -> Result<Vec<u8>, Failure> {
    Ok(fs::read(world.build(counter)?.join("manifest.json"))?)
}

/// By what its root file system is asked for.
fn root_image(world: &World, counter: u64) -> Result<String, Failure> {
    let manifest: Value =
        serde_json::from_slice(&manifest(world, counter)?).map_err(std::io::Error::from)?;
    let images = manifest["images"].as_array().map(Vec::as_slice).unwrap_or_default();
    let root = images.iter().find(|image| image["role"] == "root");
    Ok(root.and_then(|image| image["root"].as_str()).unwrap_or_default().to_owned())
}

/// What a publisher would sign of a release for `stable`.
fn listed(world: &World, counter: u64) -> Result<Value, Failure> {
    let manifest = manifest(world, counter)?;
    let facts = fs::read(world.build(counter)?.join("facts.json"))?;
    let mut facts: Value = serde_json::from_slice(&facts).map_err(std::io::Error::from)?;
    facts["channels"] = json!(["stable"]);
    let hashes = json!({ "sha256": Hash::of(&manifest).to_string() });
    Ok(json!({ "length": manifest.len(), "hashes": hashes, "custom": facts }))
}
