//! The agent killed in every phase of an update, held there by what it waits for.

use std::process::{Command, Stdio};

use partition_layout::SlotState;
use seesaw_e2e::Running;
use seesaw_e2e::command::{Failure, succeed};
use seesaw_e2e::image_file::{Health, Kernel, REBOOT, World};
use seesaw_e2e::liar::{Liar, Lie};

/// Every phase but `blocked`, in which nothing is under way.
const PHASES: [&str; 13] = [
    "idle",
    "checking",
    "opening",
    "installing",
    "staged",
    "activated",
    "asking",
    "leaving",
    "rebooting",
    "trial",
    "confirming",
    "failing",
    "fallen_back",
];

const MANUAL: &str = "[reboot]\nstrategy = \"manual\"\n";
const SLOW_HEALTH: &str = "[health.checks.slow]\nkind = \"command\"\ncommand = [\"sleep\", \"100\"]\ntimeout_seconds = 100\n";

/// A device that asks a liar.
struct Scene {
    world: World,
    liar: Liar,
    /// Whoever makes the agent do it.
    person: Option<Running>,
}

impl Scene {
    fn new() -> Result<Self, Failure> {
        let world = World::new()?;
        let liar = Liar::before(world.server.url())?;
        world.ask_at(liar.url())?;
        std::fs::write(world.path("config/20-poll.toml"), "[updates]\npoll_seconds = 1\n")?;
        Ok(Self { world, liar, person: None })
    }

    fn configure(&self, text: &str) -> Result<(), Failure> {
        Ok(std::fs::write(self.world.path("config/30-hold.toml"), text)?)
    }

    fn says(&mut self, args: &[&str]) -> Result<(), Failure> {
        let mut line = self.world.line_to_daemon(args);
        self.person = Some(Running::start(line.stdout(Stdio::null()).stderr(Stdio::null()))?);
        Ok(())
    }

    /// Release 2 on trial, which is healthy or not.
    fn on_trial(&mut self, health: Health) -> Result<(), Failure> {
        self.world.publish(2)?;
        assert_eq!(self.world.agent()?, REBOOT);
        self.world.boot(|_| Kernel::Runs)?;
        self.world.turn(health)
    }

    /// The agent in this phase, for as long as it takes to see it there.
    fn agent_in(&mut self, phase: &str) -> Result<Running, Failure> {
        match phase {
            "checking" => self.liar.lie("timestamp.json", Lie::Silence),
            "installing" => self.liar.lie("range: bytes=0-", Lie::Silence),
            "staged" => self.liar.lie_after(1, "timestamp.json", Lie::Silence),
            "activated" | "asking" => self.configure(MANUAL)?,
            "leaving" => self.liar.lie_after(2, "timestamp.json", Lie::Silence),
            // The last reports are sent before the reboot.
            "rebooting" => self.liar.lie("v1/events", Lie::Silence),
            "trial" => {
                self.on_trial(Health::Well)?;
                self.configure(SLOW_HEALTH)?;
            }
            "confirming" => {
                self.on_trial(Health::Well)?;
                let agent = self.world.daemon_line();
                let mut limited = Command::new("sh");
                limited.args(["-c", "trap '' XFSZ; exec prlimit --fsize=1048576 \"$@\"", "sh"]);
                limited.arg(agent.get_program()).args(agent.get_args());
                return Ok(Running::start(limited.stderr(Stdio::null()))?);
            }
            "failing" => {
                self.on_trial(Health::Sick)?;
                self.liar.lie("v1/events", Lie::Silence);
            }
            "fallen_back" => {
                self.on_trial(Health::Sick)?;
                assert_eq!(self.world.agent()?, REBOOT);
                self.world.turn(Health::Well)?;
                self.world.boot(|_| Kernel::Runs)?;
                self.configure(SLOW_HEALTH)?;
            }
            _ => {}
        }
        if !matches!(phase, "idle" | "opening") && self.world.running()? == "1" {
            self.world.publish(2)?;
        }
        let agent = self.world.spawn_agent()?;
        match phase {
            "opening" => {
                self.world.daemon_in("idle")?;
                let bundle = self.world.path("bundle").display().to_string();
                succeed(Command::new("mkfifo").arg(&bundle))?;
                self.says(&["install", &bundle])?;
            }
            "asking" => {
                self.world.daemon_in("activated")?;
                self.liar.lie("timestamp.json", Lie::Silence);
                self.says(&["check"])?;
            }
            _ => {}
        }
        Ok(agent)
    }

    fn let_go(&mut self) -> Result<(), Failure> {
        self.liar.repent();
        self.world.turn(Health::Well)?;
        self.person = None;
        self.configure("")
    }

    /// Agents and boots until nothing is left to do.
    fn goes_on(&mut self) -> Result<(), Failure> {
        for _ in 0..6 {
            if self.world.agent()? == 0 {
                return Ok(());
            }
            self.world.boot(|_| Kernel::Runs)?;
        }
        panic!("no end in six boots");
    }
}

fn killed_in(phase: &str, with_machine: bool) -> Result<(), Failure> {
    let mut scene = Scene::new()?;
    let agent = scene.agent_in(phase)?;
    let before = scene.world.fingerprint(scene.world.booted)?;
    scene.world.daemon_in(phase)?;
    drop(agent);
    let at = format!("{phase}, with the machine: {with_machine}");
    assert_eq!(scene.world.fingerprint(scene.world.booted)?, before, "the booted slot: {at}");
    scene.let_go()?;
    if with_machine {
        scene.world.boot_unjudged(|_| Kernel::Runs)?;
    }
    if matches!(phase, "idle" | "opening") {
        scene.world.publish(2)?;
    }
    scene.goes_on()?;
    let state = scene.world.slot(scene.world.booted)?.attributes.state();
    // A trial that was marked failed, or found so, is not tried again.
    let expected = if matches!(phase, "failing" | "fallen_back") { "1" } else { "2" };
    assert_eq!((scene.world.running()?.as_str(), state), (expected, SlotState::Confirmed), "{at}");
    Ok(())
}

#[test]
fn alone() -> Result<(), Failure> {
    PHASES.iter().try_for_each(|phase| killed_in(phase, false))
}

#[test]
fn with_the_machine() -> Result<(), Failure> {
    PHASES.iter().try_for_each(|phase| killed_in(phase, true))
}
