use payload_tools::format::ReleaseFacts;
use rusqlite::{Connection, OptionalExtension};

use super::{JobError, rows};
use crate::names::{Channel, Compatible, Release};
use crate::rollout::{ChannelPolicy, Flow, Policy};
use crate::store::ReleaseRecord;

/// Reads everything a decision needs.
pub fn policy(db: &Connection) -> Result<Policy, JobError> {
    // One read transaction: channels and releases of the same instant.
    let db = db.unchecked_transaction()?;
    let mut policy = Policy::default();
    for record in releases(&db)? {
        if record.withdrawn_at.is_none() {
            let facts = record.facts;
            let known = policy.compatibles.entry(facts.compatible.clone()).or_default();
            known.offers.insert(facts.release.clone(), facts);
        }
    }
    read_channels(&db, &mut policy)?;
    let mut pins = db.prepare_cached("SELECT device, pin FROM devices WHERE pin IS NOT NULL")?;
    let mut found = pins.query([])?;
    while let Some(row) = found.next()? {
        let device = rows::parse("devices.device", row.get(0)?)?;
        policy.pins.insert(device, rows::parse("devices.pin", row.get(1)?)?);
    }
    Ok(policy)
}

fn read_channels(db: &Connection, policy: &mut Policy) -> Result<(), JobError> {
    let mut statement = db.prepare_cached(
        "SELECT compatible, channel, release, pin, paused, is_default FROM channels",
    )?;
    let mut found = statement.query([])?;
    while let Some(row) = found.next()? {
        let compatible: Compatible = rows::parse("channels.compatible", row.get(0)?)?;
        let channel: Channel = rows::parse("channels.channel", row.get(1)?)?;
        let standing = ChannelPolicy {
            release: rows::parse("channels.release", row.get(2)?)?,
            pin: rows::parse_opt("channels.pin", row.get(3)?)?,
            flow: if row.get(4)? { Flow::Paused } else { Flow::Open },
        };
        let known = policy.compatibles.entry(compatible).or_default();
        if row.get(5)? {
            known.default_channel = Some(channel.clone());
        }
        known.channels.insert(channel, standing);
    }
    Ok(())
}

/// Every release, offered or withdrawn.
pub fn releases(db: &Connection) -> Result<Vec<ReleaseRecord>, JobError> {
    let mut statement = db.prepare_cached(
        "SELECT facts, published_at, withdrawn_at FROM releases
         ORDER BY compatible, counter DESC",
    )?;
    let mut found = statement.query([])?;
    let mut releases = Vec::new();
    while let Some(row) = found.next()? {
        let withdrawn: Option<i64> = row.get(2)?;
        releases.push(ReleaseRecord {
            facts: read_facts(row.get(0)?)?,
            published_at: rows::time("releases.published_at", row.get(1)?)?,
            withdrawn_at: withdrawn
                .map(|at| rows::time("releases.withdrawn_at", at))
                .transpose()?,
        });
    }
    Ok(releases)
}

/// What the current signed list says about a release.
pub fn offer(
    db: &Connection,
    compatible: &Compatible,
    release: &Release,
) -> Result<Option<ReleaseFacts>, JobError> {
    let facts: Option<String> = db
        .prepare_cached(
            "SELECT facts FROM releases
             WHERE compatible = ? AND release = ? AND withdrawn_at IS NULL",
        )?
        .query_row((compatible.as_str(), release.as_str()), |row| row.get(0))
        .optional()?;
    facts.map(read_facts).transpose()
}

fn read_facts(text: String) -> Result<ReleaseFacts, JobError> {
    serde_json::from_str(&text)
        .map_err(|_| JobError::Corrupt { column: "releases.facts", value: text })
}
