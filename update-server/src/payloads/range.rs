//! The `Range` header (RFC 9110, 14.2), single ranges only.

use std::ops::Range;

/// What a client asked for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RangeRequest {
    /// The whole file: no header, or one to be ignored (another unit, several
    /// ranges, or no valid syntax), which the RFC allows.
    Whole,
    /// One range.
    Part(ByteRange),
}

/// One requested range, not yet held against a file's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ByteRange {
    /// `first-` or `first-last`, both inclusive.
    From(u64, Option<u64>),
    /// `-count`: the last bytes.
    Last(u64),
}

impl RangeRequest {
    /// Reads the header's value.
    pub fn parse(header: Option<&str>) -> Self {
        let range = header.and_then(|text| text.trim().strip_prefix("bytes=")).and_then(parse_one);
        range.map_or(RangeRequest::Whole, RangeRequest::Part)
    }
}

fn parse_one(text: &str) -> Option<ByteRange> {
    let (first, last) = text.trim().split_once('-')?;
    match (first, last) {
        ("", count) => Some(ByteRange::Last(digits(count)?)),
        (first, "") => Some(ByteRange::From(digits(first)?, None)),
        (first, last) => {
            let (first, last) = (digits(first)?, digits(last)?);
            (first <= last).then_some(ByteRange::From(first, Some(last)))
        }
    }
}

/// `u64::from_str` would also take a plus sign.
fn digits(text: &str) -> Option<u64> {
    text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

impl ByteRange {
    /// The bytes it means in a file of `size` bytes; `None`: none of it exists.
    pub fn within(self, size: u64) -> Option<Range<u64>> {
        let range = match self {
            ByteRange::From(first, last) => {
                first..last.map_or(size, |last| last.saturating_add(1).min(size))
            }
            ByteRange::Last(count) => size.saturating_sub(count)..size,
        };
        (range.start < range.end).then_some(range)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(header: &str, size: u64, expected: Option<Option<Range<u64>>>) {
        let found = match RangeRequest::parse(Some(header)) {
            RangeRequest::Whole => None,
            RangeRequest::Part(range) => Some(range.within(size)),
        };
        assert_eq!(found, expected, "{header} of {size}");
    }

    #[test]
    fn single_ranges_are_cut_to_the_file() {
        check("bytes=0-9", 100, Some(Some(0..10)));
        check("bytes=90-", 100, Some(Some(90..100)));
        check("bytes=90-500", 100, Some(Some(90..100)));
        check("bytes=-10", 100, Some(Some(90..100)));
        check("bytes=-500", 100, Some(Some(0..100)));
        check("bytes=99-99", 100, Some(Some(99..100)));
        check("bytes=0-18446744073709551615", 100, Some(Some(0..100)));
    }

    #[test]
    fn ranges_outside_the_file_are_unsatisfiable() {
        check("bytes=100-", 100, Some(None));
        check("bytes=18446744073709551615-", 100, Some(None));
        check("bytes=-0", 100, Some(None));
        check("bytes=0-", 0, Some(None));
    }

    #[test]
    fn what_is_no_single_range_means_the_whole_file() {
        for header in [
            "bytes=0-1,5-6",
            "bytes=9-3",
            "bytes=",
            "bytes=-",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-1",
            "bytes=99999999999999999999-",
            "0-1",
        ] {
            check(header, 100, None);
        }
        assert_eq!(RangeRequest::parse(None), RangeRequest::Whole);
    }
}
