//! Which part of a file a request is to get (RFC 9110, 13.2.2), without I/O.

use std::ops::Range;

use super::range::RangeRequest;

/// What is known of a file before it is read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileFacts {
    /// Its bytes.
    pub size: u64,
    /// A strong entity tag, with its quotes.
    pub etag: String,
}

/// The headers that matter.
#[derive(Debug, Clone, Copy, Default)]
pub struct Conditions<'a> {
    /// `If-None-Match`.
    pub if_none_match: Option<&'a str>,
    /// `If-Range`.
    pub if_range: Option<&'a str>,
    /// `Range`.
    pub range: Option<&'a str>,
}

/// What to answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reply {
    /// 200 with everything.
    Whole,
    /// 206 with these bytes.
    Part(Range<u64>),
    /// 304.
    NotModified,
    /// 416.
    Unsatisfiable,
}

/// Decides the answer to a GET or HEAD.
pub fn plan(file: &FileFacts, conditions: Conditions<'_>) -> Reply {
    if conditions.if_none_match.is_some_and(|tags| names(tags, &file.etag)) {
        return Reply::NotModified;
    }
    // A part of another version must not be glued to what the client has. A
    // date would be a weak validator: it never matches.
    let same = conditions.if_range.is_none_or(|tag| tag.trim() == file.etag);
    match RangeRequest::parse(conditions.range.filter(|_| same)) {
        RangeRequest::Whole => Reply::Whole,
        RangeRequest::Part(range) => {
            range.within(file.size).map_or(Reply::Unsatisfiable, Reply::Part)
        }
    }
}

/// Weak comparison, as the RFC asks for `If-None-Match`.
fn names(tags: &str, etag: &str) -> bool {
    tags.split(',').map(str::trim).any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conditions_come_before_ranges() {
        let file = FileFacts { size: 100, etag: "\"a\"".into() };
        let part = Some("bytes=10-19");
        for (if_none_match, if_range, range, expected) in [
            (None, None, None, Reply::Whole),
            (None, None, part, Reply::Part(10..20)),
            (None, None, Some("bytes=100-"), Reply::Unsatisfiable),
            (None, Some("\"a\""), part, Reply::Part(10..20)),
            (None, Some("\"b\""), part, Reply::Whole),
            (None, Some("W/\"a\""), part, Reply::Whole),
            (None, Some("Tue, 24 Nov 2026 00:00:00 GMT"), part, Reply::Whole),
            (Some("\"a\""), None, part, Reply::NotModified),
            (Some("\"b\", W/\"a\""), None, None, Reply::NotModified),
            (Some("*"), None, None, Reply::NotModified),
            (Some("\"b\""), None, part, Reply::Part(10..20)),
        ] {
            let conditions = Conditions { if_none_match, if_range, range };
            assert_eq!(plan(&file, conditions), expected, "{conditions:?}");
        }
    }
}
