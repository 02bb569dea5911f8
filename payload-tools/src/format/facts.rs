use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::{Channel, Compatible, Release};

/// What the publisher signs about a release beside its manifest's hash, and the
/// device enforces whatever the server says: the target's `custom` object
/// (docs/protocol.md, Metadata). Unknown keys are refused: one that this version
/// does not know may be a restriction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFacts {
    /// The release's name.
    pub release: Release,
    /// The only order of releases.
    pub counter: u64,
    /// The devices it is for.
    pub compatible: Compatible,
    /// The lowest counter from which a device may go to this release directly.
    pub min_from: u64,
    /// The channels that may offer it; the server moves within them.
    pub channels: Vec<Channel>,
    /// A release that a device of its channels may not skip on its way up.
    pub floor: bool,
    /// Which newer releases may go back to this one, and until when.
    pub downgrade_from: Option<DowngradeRange>,
}

/// The one signed way to install something older.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DowngradeRange {
    /// Lowest counter that may go back.
    pub lo: u64,
    /// Highest counter that may go back, inclusive.
    pub hi: u64,
    /// The end of the permission.
    pub expires: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"{"release":"2","counter":2,"compatible":"demo-x86_64","min_from":0,"channels":["stable"],"floor":false,"downgrade_from":{"lo":3,"hi":5,"expires":"2026-12-01T00:00:00Z"}}"#;

    #[test]
    fn facts_are_read_and_written_alike() {
        let facts: ReleaseFacts = serde_json::from_str(EXAMPLE).unwrap();
        assert_eq!(facts.channels[0].as_str(), "stable");
        assert_eq!(serde_json::to_string(&facts).unwrap(), EXAMPLE);
    }

    #[test]
    fn an_unknown_restriction_or_a_missing_one_is_refused() {
        let extra = EXAMPLE.replace(r#""floor":false"#, r#""floor":false,"only_at_night":true"#);
        assert!(serde_json::from_str::<ReleaseFacts>(&extra).is_err());
        let missing = EXAMPLE.replace(r#""min_from":0,"#, "");
        assert!(serde_json::from_str::<ReleaseFacts>(&missing).is_err());
    }
}
