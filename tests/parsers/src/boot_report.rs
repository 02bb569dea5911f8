use partition_layout::{BootReport, BootReportError, Nibble, Reason, SlotLetter, SlotState};

use crate::{Outcomes, Parser};

const OUTCOMES: &[&str] = &["read", "length", "version", "value"];

pub(crate) const PARSER: Parser =
    Parser { name: "boot_report", run, outcomes: &[OUTCOMES], never: &[], seeds };

fn run(data: &[u8]) -> Outcomes {
    let outcome = match BootReport::decode(data) {
        Ok(report) => {
            assert_eq!(report.encode(), data);
            "read"
        }
        Err(BootReportError::Length(_)) => "length",
        Err(BootReportError::Version(_)) => "version",
        Err(BootReportError::Value { .. }) => "value",
        Err(_) => "unnamed",
    };
    vec![outcome.to_owned()]
}

fn seeds() -> Vec<Vec<u8>> {
    let report = BootReport {
        started: SlotLetter::B,
        state: SlotState::Trial,
        tries: Nibble::MAX,
        reason: Reason::HighestPriority,
        refused: Vec::new(),
    };
    let whole = report.encode();
    let changed = |at: usize, to: u8| {
        let mut bytes = whole.clone();
        bytes[at] = to;
        bytes
    };
    let with_refusals = b"\x01Ac\x00\x03\x02Bt\x03\x1aBt\x01\x00".to_vec();
    vec![changed(0, 2), changed(1, b'C'), changed(5, 1), with_refusals, Vec::new(), whole]
}
