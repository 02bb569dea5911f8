//! Which targets a delegation covers by its path patterns (4.5, `PATHPATTERN`).

/// Whether a shell pattern (glob(7)) covers a path: `*`, `?`, `[a-z]` and `[!a-z]`, none of which
/// covers a `/`. As in the reference implementation a leading dot is nothing special, `\` is a
/// character like others, and a `[` without its end stands for itself.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    let pattern: Vec<_> = pattern.chars().collect();
    let parts = parts(&pattern);
    let path: Vec<_> = path.chars().collect();
    let (mut next, mut at) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: that star covers one more. A
    // star before it need not: the time is the product of the lengths, whoever wrote the pattern.
    let mut star: Option<(usize, usize)> = None;
    while at < path.len() {
        let part = parts.get(next);
        if let Some(Part::Star) = part {
            star = Some((next, at));
            next += 1;
        } else if part.is_some_and(|part| part.covers(path[at])) {
            (next, at) = (next + 1, at + 1);
        } else if let Some((from, covered)) = star.filter(|(_, covered)| path[*covered] != '/') {
            star = Some((from, covered + 1));
            (next, at) = (from + 1, covered + 1);
        } else {
            return false;
        }
    }
    parts[next..].iter().all(|rest| matches!(rest, Part::Star))
}

enum Part<'a> {
    Star,
    AnyOne,
    Literal(char),
    Of(&'a [char]),
    AllBut(&'a [char]),
}

fn parts(pattern: &[char]) -> Vec<Part<'_>> {
    let (ends, slashes) = (next_of(pattern, ']'), next_of(pattern, '/'));
    let mut parts = Vec::new();
    let mut at = 0;
    while let Some(&found) = pattern.get(at) {
        at += 1;
        parts.push(match found {
            '*' => Part::Star,
            '?' => Part::AnyOne,
            '[' => {
                let is_negated = pattern.get(at) == Some(&'!');
                let first = at + usize::from(is_negated);
                // Its first member may be a `]` too.
                match ends.get(first + 1) {
                    Some(&end) if end < pattern.len() && end < slashes[first] => {
                        at = end + 1;
                        let members = &pattern[first..end];
                        if is_negated { Part::AllBut(members) } else { Part::Of(members) }
                    }
                    _ => Part::Literal('['),
                }
            }
            literal => Part::Literal(literal),
        });
    }
    parts
}

/// For each place, its end included, where the next such character is; the length if there is none.
fn next_of(pattern: &[char], wanted: char) -> Vec<usize> {
    let mut next = vec![pattern.len(); pattern.len() + 1];
    for at in (0..pattern.len()).rev() {
        next[at] = if pattern[at] == wanted { at } else { next[at + 1] };
    }
    next
}

impl Part<'_> {
    /// Whether it is one character, and this one.
    fn covers(&self, found: char) -> bool {
        match self {
            Self::Star => false,
            Self::Literal(literal) => found == *literal,
            _ if found == '/' => false,
            Self::AnyOne => true,
            Self::Of(members) => among(members, found),
            Self::AllBut(members) => !among(members, found),
        }
    }
}

fn among(mut members: &[char], found: char) -> bool {
    loop {
        members = match members {
            [low, '-', high, ..] if (*low..=*high).contains(&found) => return true,
            [_, '-', _, rest @ ..] => rest,
            [member, ..] if *member == found => return true,
            [_, rest @ ..] => rest,
            [] => return false,
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_cover_what_the_specification_says() {
        for (pattern, covered, not_covered) in [
            ("targets/*.tgz", &["targets/foo.tgz", "targets/.tgz"][..], &["targets/foo.txt"][..]),
            ("foo-version-?.tgz", &["foo-version-2.tgz"], &["foo-version-alpha.tgz"]),
            ("*.tgz", &["foo.tgz"], &["targets/foo.tgz", "foo.TGZ"]),
            ("foo.tgz", &["foo.tgz"], &["foo.tgz/", "foo", "afoo.tgz"]),
            ("*", &["", "a", "a.b"], &["/", "a/b", "a/"]),
            ("**", &["a"], &["a/b"]),
            ("*/*", &["a/b", "/"], &["a", "a/b/c"]),
            ("a*b*c", &["abc", "aXbYc", "abbc"], &["ab", "a/bc", "abcX", "ab/c"]),
            ("a?", &["ab", "aü"], &["a", "a/", "abc"]),
            ("[a-c]x", &["ax", "cx"], &["dx", "-x", "/x"]),
            ("[!a-c]x", &["dx"], &["ax", "/x", "x"]),
            ("[]a]", &["]", "a"], &["[]a]", "b"]),
            ("[!]]", &["a"], &["]"]),
            ("[a-]", &["a", "-"], &["b"]),
            ("[c-a]", &[], &["a", "b", "c"]),
            ("[a", &["[a"], &["a"]),
            ("[a/b]", &["[a/b]"], &["a", "/"]),
            ("\\*", &["\\", "\\x"], &["*"]),
            ("", &[], &["a"]),
        ] {
            for path in covered {
                assert!(covers(pattern, path), "{pattern:?} covers {path:?}");
            }
            for path in not_covered {
                assert!(!covers(pattern, path), "{pattern:?} does not cover {path:?}");
            }
        }
    }

    #[test]
    fn no_pattern_takes_more_than_the_product_of_the_lengths() {
        let stars = "*a".repeat(2_000) + "b";
        assert!(!covers(&stars, &"a".repeat(20_000)));
        let open = "[".repeat(200_000);
        for (pattern, path) in [
            (format!("*{open}"), "[".repeat(400)),
            (format!("*{open}/]"), "[".repeat(400)),
            (format!("*[{}]", "x".repeat(200_000)), "a".repeat(400)),
        ] {
            assert!(!covers(&pattern, &path));
        }
    }
}
