use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, params};

use super::{JobError, policy, rows};
use crate::names::{Channel, Compatible, Release};
use crate::store::{ChannelChange, ChannelChanged, Expect};

/// Creates or changes a channel. The first of a compatible becomes its default.
pub fn change(
    tx: &Connection,
    compatible: &Compatible,
    channel: &Channel,
    change: &ChannelChange,
    now: Timestamp,
) -> Result<ChannelChanged, JobError> {
    let key = (compatible.as_str(), channel.as_str());
    let standing = standing(tx, key)?;
    match (change.expect, &standing) {
        (Some(Expect::Present), None) => return Ok(ChannelChanged::Missing),
        (Some(Expect::Absent), Some(release)) => {
            return Ok(ChannelChanged::Exists(release.clone()));
        }
        _ => {}
    }
    let pin = change.pin.as_ref().and_then(|pin| pin.as_ref());
    for release in change.release.iter().chain(pin) {
        let Some(offer) = policy::offer(tx, compatible, release)? else {
            return Ok(ChannelChanged::UnknownRelease(release.clone()));
        };
        if !offer.channels.contains(channel) {
            return Ok(ChannelChanged::NotSignedFor(release.clone()));
        }
    }
    if standing.is_none() {
        let Some(release) = &change.release else { return Ok(ChannelChanged::Missing) };
        create(tx, key, release, now)?;
    }
    apply(tx, key, change, now)?;
    Ok(ChannelChanged::Done)
}

/// The release that a channel is at; nothing if there is no such channel.
fn standing(
    tx: &Connection,
    (compatible, channel): (&str, &str),
) -> Result<Option<Release>, JobError> {
    let found = tx
        .prepare_cached("SELECT release FROM channels WHERE compatible = ? AND channel = ?")?
        .query_row((compatible, channel), |row| row.get(0))
        .optional()?;
    rows::parse_opt("channels.release", found)
}

fn create(
    tx: &Connection,
    (compatible, channel): (&str, &str),
    release: &Release,
    now: Timestamp,
) -> rusqlite::Result<usize> {
    tx.execute(
        "INSERT INTO channels (compatible, channel, release, is_default, changed_at)
         VALUES (?1, ?2, ?3, NOT EXISTS (SELECT 1 FROM channels WHERE compatible = ?1), ?4)",
        params![compatible, channel, release.as_str(), now.as_second()],
    )
}

fn apply(
    tx: &Connection,
    (compatible, channel): (&str, &str),
    change: &ChannelChange,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let set = |column: &str, value: &dyn rusqlite::ToSql| {
        let sql = format!(
            "UPDATE channels SET {column} = ?, changed_at = ? WHERE compatible = ? AND channel = ?"
        );
        tx.execute(&sql, params![value, now.as_second(), compatible, channel])
    };
    if let Some(release) = &change.release {
        set("release", &release.as_str())?;
    }
    if let Some(pin) = &change.pin {
        set("pin", &pin.as_ref().map(|release| release.as_str()))?;
    }
    if let Some(paused) = change.paused {
        set("paused", &paused)?;
    }
    if change.default == Some(true) {
        tx.execute("UPDATE channels SET is_default = 0 WHERE compatible = ?", [compatible])?;
        set("is_default", &true)?;
    }
    Ok(())
}
