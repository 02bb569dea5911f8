//! Columns back to the types they were written from. A value that does not
//! parse stops the work: the store is ours, so it is damage, not input.

use std::str::FromStr;

use jiff::Timestamp;

use super::JobError;
use crate::rollout::{Slot, Verdict};

fn corrupt(column: &'static str, value: impl ToString) -> JobError {
    JobError::Corrupt { column, value: value.to_string() }
}

pub fn parse<T: FromStr>(column: &'static str, text: String) -> Result<T, JobError> {
    text.parse().map_err(|_| corrupt(column, text))
}

pub fn parse_opt<T: FromStr>(
    column: &'static str,
    text: Option<String>,
) -> Result<Option<T>, JobError> {
    text.map(|text| parse(column, text)).transpose()
}

pub fn time(column: &'static str, second: i64) -> Result<Timestamp, JobError> {
    Timestamp::from_second(second).map_err(|_| corrupt(column, second))
}

pub fn hash(column: &'static str, text: String) -> Result<[u8; 32], JobError> {
    let bytes = hex::decode(&text).ok().and_then(|bytes| bytes.try_into().ok());
    bytes.ok_or_else(|| corrupt(column, text))
}

pub fn slot(column: &'static str, text: String) -> Result<Slot, JobError> {
    match text.as_str() {
        "A" => Ok(Slot::A),
        "B" => Ok(Slot::B),
        _ => Err(corrupt(column, text)),
    }
}

pub fn verdict(column: &'static str, action: &str, reason: &str) -> Result<Verdict, JobError> {
    Verdict::all()
        .find(|v| v.action() == action && v.reason() == reason)
        .ok_or_else(|| corrupt(column, format!("{action} {reason}")))
}
