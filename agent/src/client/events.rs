use std::io;
use std::path::{Path, PathBuf};

use fs_err as fs;
use payload_tools::durable_file::{self, Existing, Readers};
use payload_tools::format::Compatible;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::identity::DeviceId;
use crate::update::{Kind, Report};

/// Events that wait; beyond that the oldest are lost.
pub const EVENTS_MAX: usize = 500;
/// Events of one request.
pub(super) const BATCH_MAX: usize = 50;

/// Reports that the server has not acknowledged, on STATE.
#[derive(Debug)]
pub struct EventQueue {
    /// `None`: a disk without STATE; reports are lost with the program.
    path: Option<PathBuf>,
    events: Vec<QueuedEvent>,
}

/// A report with the id by which the server knows it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueuedEvent {
    id: String,
    #[serde(flatten)]
    report: Report,
}

impl EventQueue {
    /// The queue in the folder `state`. What cannot be read of it, by damage or
    /// because a newer agent wrote it, is left out: reports are news, and the
    /// journal's history has them too.
    ///
    /// # Errors
    /// The file is there and cannot be read.
    pub fn open(state: &Path) -> io::Result<Self> {
        let path = state.join("events.json");
        let events: Vec<Value> = match fs::read(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            text => serde_json::from_slice(&text?).unwrap_or_else(|error| {
                tracing::warn!("the queue of reports is unreadable and begins anew: {error}");
                Vec::new()
            }),
        };
        let events = events.into_iter().filter_map(known).collect();
        Ok(Self { path: Some(path), events })
    }

    /// A queue that is lost with the program: of a disk without STATE.
    pub fn forgetful() -> Self {
        Self { path: None, events: Vec::new() }
    }

    /// Makes a report durable until it is acknowledged.
    ///
    /// # Errors
    /// It may then be lost.
    pub fn push(&mut self, report: Report) -> io::Result<()> {
        if report.kind == Kind::Progress {
            // How far it was before is no news any more.
            self.events.retain(|event| event.report.kind != Kind::Progress);
        }
        let mut bits = [0; 16];
        getrandom::fill(&mut bits).map_err(|error| io::Error::other(error.to_string()))?;
        self.events.push(QueuedEvent { id: hex::encode(bits), report });
        let surplus = self.events.len().saturating_sub(EVENTS_MAX);
        self.events.drain(..surplus);
        self.save()
    }

    /// The oldest events, at most `max`.
    pub(super) fn batch(&self, max: usize) -> Vec<QueuedEvent> {
        self.events.iter().take(max).cloned().collect()
    }

    pub(super) fn acknowledged(&mut self, batch: &[QueuedEvent]) -> io::Result<()> {
        self.events.retain(|event| !batch.iter().any(|sent| sent.id == event.id));
        self.save()
    }

    fn save(&self) -> io::Result<()> {
        let Some(path) = &self.path else { return Ok(()) };
        let text = serde_json::to_vec(&self.events)?;
        durable_file::write(path, &text, Readers::Everyone, Existing::Replace)
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.events.len()
    }
}

fn known(event: Value) -> Option<QueuedEvent> {
    serde_json::from_value(event)
        .map_err(|error| tracing::warn!("a report that waited is left out: {error}"))
        .ok()
}

pub(super) fn body(device: &DeviceId, compatible: &Compatible, events: &[QueuedEvent]) -> Value {
    json!({ "device": device.as_str(), "compatible": compatible, "events": events })
}
