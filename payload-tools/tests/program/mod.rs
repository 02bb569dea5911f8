//! The `payload` program in a folder of its own.

use std::path::PathBuf;
use std::process::{Command, Output};

use serde_json::Value;

/// A folder that the program works in.
pub struct Workshop {
    pub folder: tempfile::TempDir,
}

impl Workshop {
    pub fn empty() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn payload(&self, arguments: &[&str]) -> Output {
        Command::new(env!("CARGO_BIN_EXE_payload"))
            .args(arguments)
            .current_dir(self.folder.path())
            .output()
            .unwrap()
    }

    /// Runs with `--json`, expects the exit code, and parses standard output.
    pub fn json(&self, arguments: &[&str], code: i32) -> Value {
        let output = self.payload(&[arguments, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{output:?}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    pub fn words(&self, arguments: &[&str]) -> String {
        let output = self.payload(arguments);
        assert!(output.status.success(), "{output:?}");
        assert!(output.stderr.is_empty(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }
}
