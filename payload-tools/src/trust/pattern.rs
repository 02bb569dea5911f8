//! Which targets a delegation covers by its path patterns (4.5, `PATHPATTERN`).

/// Whether a shell pattern (glob(7)) covers a path: `*`, `?`, `[a-z]` and `[!a-z]`, none of which
/// covers a `/`. As in the reference implementation a leading dot is nothing special, `\` is a
/// character like others, and a `[` without its end stands for itself.
pub(crate) fn covers(pattern: &str, path: &str) -> bool {
    let pattern: Vec<_> = pattern.chars().collect();
    let path: Vec<_> = path.chars().collect();
    let (mut p, mut at) = (0, 0);
    // Where to go on when what follows the last `*` does not fit: that star covers one more. A
    // star before it need not: the time is the product of the lengths, whoever wrote the pattern.
    let mut star: Option<(usize, usize)> = None;
    while at < path.len() {
        if pattern.get(p) == Some(&'*') {
            star = Some((p, at));
            p += 1;
        } else if let Some(next) = step(&pattern, p, path[at]) {
            (p, at) = (next, at + 1);
        } else if let Some((from, covered)) = star.filter(|(_, covered)| path[*covered] != '/') {
            star = Some((from, covered + 1));
            (p, at) = (from + 1, covered + 1);
        } else {
            return false;
        }
    }
    pattern[p..].iter().all(|rest| *rest == '*')
}

/// Where the pattern goes on after one part, no star, that covers the character.
fn step(pattern: &[char], at: usize, found: char) -> Option<usize> {
    match *pattern.get(at)? {
        '?' => (found != '/').then_some(at + 1),
        '[' => match set(&pattern[at + 1..]) {
            Some((set, length)) => set.covers(found).then_some(at + 1 + length),
            None => (found == '[').then_some(at + 1),
        },
        literal => (found == literal).then_some(at + 1),
    }
}

enum Set<'a> {
    Of(&'a [char]),
    AllBut(&'a [char]),
}

/// The set that begins here, and how long it is with its `]`, which may also be its first member.
fn set(text: &[char]) -> Option<(Set<'_>, usize)> {
    let negated = usize::from(text.first() == Some(&'!'));
    let members = text.get(negated..)?;
    let end = members.iter().skip(1).position(|member| *member == ']')? + 1;
    let inside = &members[..end];
    if inside.contains(&'/') {
        return None;
    }
    let set = if negated == 0 { Set::Of(inside) } else { Set::AllBut(inside) };
    Some((set, negated + end + 1))
}

impl Set<'_> {
    fn covers(&self, found: char) -> bool {
        match self {
            _ if found == '/' => false,
            Self::Of(members) => among(members, found),
            Self::AllBut(members) => !among(members, found),
        }
    }
}

fn among(members: &[char], found: char) -> bool {
    match members {
        [low, '-', high, rest @ ..] => (*low..=*high).contains(&found) || among(rest, found),
        [member, rest @ ..] => *member == found || among(rest, found),
        [] => false,
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
    }
}
