//! Which delta is made next, and which go to make room.

use std::cmp::Reverse;

use jiff::{SignedDuration, Timestamp};

use super::Pair;

/// The longest time until what failed is tried again.
const BACKOFF_MAX: SignedDuration = SignedDuration::from_hours(24);

/// What is known of a delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing: it was never made.
    Unknown,
    /// It is served, and has so many bytes.
    Made(u64),
    /// It was made and had no room; it has so many bytes.
    Unkept(u64),
    /// It has no fewer bytes than the full payload.
    NotWorth,
    /// So many tries failed, one after another, the last then.
    Failed(u32, Timestamp),
}

/// A delta that devices could use, as far as its place in the plan depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Between which images.
    pub pair: Pair,
    /// How many devices would take it now.
    pub devices: u64,
    /// Bytes of the image that it makes.
    pub image_bytes: u64,
    /// What is known of it.
    pub standing: Standing,
}

/// What is to be done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// These go: more wanted ones have their room.
    pub remove: Vec<Pair>,
    /// This one is made now.
    pub next: Option<Pair>,
    /// With nothing to be made now: when one that failed is tried again.
    pub retry_at: Option<Timestamp>,
}

/// Decides. The most wanted come first, of those that are wanted alike the largest images; they have
/// the room one after the other, and one that does not fit leaves it to the next. One whose size is not
/// known is made as long as there is room at all, and judged by its size then. Only what is made takes
/// room: what is in use stays until a more wanted one is there in its place, which may never be.
pub fn plan(candidates: &[Candidate], room_bytes: u64, now: Timestamp) -> Plan {
    let mut ranked: Vec<&Candidate> = candidates.iter().collect();
    ranked.sort_by_key(|candidate| {
        (Reverse(candidate.devices), Reverse(candidate.image_bytes), candidate.pair)
    });
    let (mut plan, mut left) = (Plan::default(), room_bytes);
    for Candidate { pair, devices, standing, .. } in ranked {
        let wanted = *devices > 0;
        match *standing {
            Standing::Made(bytes) if bytes <= left => left -= bytes,
            Standing::Made(_) => plan.remove.push(*pair),
            Standing::Unkept(bytes) if wanted && bytes <= left => {
                plan.next.get_or_insert(*pair);
            }
            Standing::Failed(attempts, at) if wanted && left > 0 => {
                let due = at + backoff(attempts);
                if due <= now {
                    plan.next.get_or_insert(*pair);
                } else {
                    plan.retry_at = Some(plan.retry_at.map_or(due, |first| first.min(due)));
                }
            }
            Standing::Unknown if wanted && left > 0 => {
                plan.next.get_or_insert(*pair);
            }
            Standing::Unknown | Standing::Unkept(_) | Standing::NotWorth | Standing::Failed(..) => {
            }
        }
    }
    if plan.next.is_some() {
        plan.retry_at = None;
    }
    plan
}

/// A second after the first failure, and each time four times as long: what was killed is begun anew
/// at once, what always fails costs little.
fn backoff(attempts: u32) -> SignedDuration {
    let seconds = 4i64.checked_pow(attempts.saturating_sub(1));
    seconds.map_or(BACKOFF_MAX, |seconds| SignedDuration::from_secs(seconds).min(BACKOFF_MAX))
}

#[cfg(test)]
mod tests;
