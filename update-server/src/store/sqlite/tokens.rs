use jiff::Timestamp;
use rusqlite::Connection;

use super::{JobError, rows};
use crate::names::TokenName;
use crate::store::{TokenAdded, TokenRecord, TokenRevoked};

const INSERT: &str = "INSERT INTO admin_token (sha256, name, created_at) VALUES (?, ?, ?)
                      ON CONFLICT (name) DO NOTHING";

/// Allows a token, given by its hash.
pub fn add(
    tx: &Connection,
    name: &TokenName,
    hash: [u8; 32],
    now: Timestamp,
) -> Result<TokenAdded, JobError> {
    let row = (hex::encode(hash), name.as_str(), now.as_second());
    match tx.execute(INSERT, row)? {
        0 => Ok(TokenAdded::NameTaken),
        _ => Ok(TokenAdded::Done),
    }
}

/// Allows a token in place of all others.
pub fn set_first(tx: &Connection, hash: [u8; 32], now: Timestamp) -> Result<(), JobError> {
    tx.execute("DELETE FROM admin_token", [])?;
    add(tx, &TokenName::first(), hash, now).map(drop)
}

/// Allows it no more.
pub fn revoke(tx: &Connection, name: &TokenName) -> Result<TokenRevoked, JobError> {
    match tx.execute("DELETE FROM admin_token WHERE name = ?", [name.as_str()])? {
        0 => Ok(TokenRevoked::NoSuchName),
        _ => Ok(TokenRevoked::Done),
    }
}

/// Every token by its name, the oldest first.
pub fn list(db: &Connection) -> Result<Vec<TokenRecord>, JobError> {
    let mut statement =
        db.prepare_cached("SELECT name, created_at FROM admin_token ORDER BY rowid")?;
    let mut found = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = found.next()? {
        tokens.push(TokenRecord {
            name: rows::parse("admin_token.name", row.get(0)?)?,
            created_at: rows::time("admin_token.created_at", row.get(1)?)?,
        });
    }
    Ok(tokens)
}

/// The hashes of all tokens, by name.
pub fn hashes(db: &Connection) -> Result<Vec<(TokenName, [u8; 32])>, JobError> {
    let mut statement = db.prepare_cached("SELECT name, sha256 FROM admin_token")?;
    let mut found = statement.query([])?;
    let mut tokens = Vec::new();
    while let Some(row) = found.next()? {
        let name = rows::parse("admin_token.name", row.get(0)?)?;
        tokens.push((name, rows::hash("admin_token.sha256", row.get(1)?)?));
    }
    Ok(tokens)
}
