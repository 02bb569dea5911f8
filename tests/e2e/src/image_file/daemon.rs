//! The agent that runs for good, and what is said to it.

use std::io::{BufRead, BufReader};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::World;
use crate::Running;
use crate::command::{Failure, ended, expect, json};

impl World {
    /// Starts the agent for good, with a socket.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn daemon(&self) -> Result<Running, Failure> {
        let mut agent = self.daemon_line();
        let mut daemon = Running::start(agent.stderr(Stdio::piped()))?;
        let stderr = daemon.stderr.take().into_iter().flat_map(|s| BufReader::new(s).lines());
        let mut lines = stderr.map_while(Result::ok);
        if !lines.any(|line| line.contains("watching")) {
            let status = daemon.wait()?;
            return Err(ended(&agent, &Output { status, stdout: Vec::new(), stderr: Vec::new() }));
        }
        // Its talk goes on; who does not read it would stop it.
        std::thread::spawn(move || lines.for_each(drop));
        Ok(daemon)
    }

    /// Starts the agent for good and waits for nothing.
    ///
    /// # Errors
    /// When it does not start.
    pub fn spawn_agent(&self) -> Result<Running, Failure> {
        Ok(Running::start(self.daemon_line().stderr(Stdio::null()))?)
    }

    /// A command line of the agent on this device, with a socket.
    pub fn daemon_line(&self) -> Command {
        let mut agent = self.on_device(&self.programs.update_agent);
        agent.arg("--run").arg(self.path("run"));
        agent
    }

    /// Runs updatectl with the daemon.
    ///
    /// # Errors
    /// When it prints no JSON.
    pub fn ask_daemon(&self, args: &[&str]) -> Result<(i32, Value), Failure> {
        json(self.line_to_daemon(args).arg("--json"))
    }

    /// A command line of updatectl on this device, with the daemon.
    pub fn line_to_daemon(&self, args: &[&str]) -> Command {
        let mut command = self.line(args);
        command.arg("--run").arg(self.path("run"));
        command
    }

    /// Waits until the daemon is in a phase; its status then.
    ///
    /// # Errors
    /// When it does not get there in two minutes.
    pub fn daemon_in(&self, phase: &str) -> Result<Value, Failure> {
        let until = Instant::now() + Duration::from_secs(120);
        loop {
            let (_, status) = self.ask_daemon(&["status"])?;
            let found = status["agent"]["phase"]["name"].clone();
            if found == phase {
                return Ok(status);
            }
            if Instant::now() > until {
                expect("the daemon's phase", found, Value::from(phase))?;
            }
        }
    }
}
