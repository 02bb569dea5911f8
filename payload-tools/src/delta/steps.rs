//! The steps that make a segment of its source: file by file where files continue, by content
//! elsewhere.

use std::ops::Range;

use super::matcher::Matcher;
use crate::format::delta::Step;

/// A file of the source, or what of it is wanted there, and what continues it in the segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Part {
    /// Blocks in the source.
    pub old: Range<usize>,
    /// Blocks of the segment.
    pub new: Range<usize>,
}

/// The steps that make `segment`. The parts are in the order of the segment.
pub(super) fn steps(source: &[u8], segment: &[u8], parts: &[Part]) -> Vec<Step> {
    let mut whole = None;
    let mut steps = Vec::new();
    let mut at = 0;
    let mut elsewhere = |segment: &[u8]| {
        if segment.iter().all(|byte| *byte == 0) {
            return vec![Step { old: 0, same: 0, fresh: segment.len() }];
        }
        whole.get_or_insert_with(|| Matcher::new(source)).steps(segment)
    };
    for Part { old, new } in parts {
        steps.extend(elsewhere(&segment[at..new.start]));
        let (was, is) = (&source[old.clone()], &segment[new.clone()]);
        if was == is {
            steps.push(Step { old: old.start, same: is.len(), fresh: 0 });
        } else {
            let found = Matcher::new(was).steps(is);
            steps.extend(found.into_iter().map(|step| Step { old: step.old + old.start, ..step }));
        }
        at = new.end;
    }
    steps.extend(elsewhere(&segment[at..]));
    steps.retain(|step| step.same + step.fresh > 0);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::noise;

    /// The same content twice, so that only the parts say which of them it is made of.
    #[test]
    fn a_file_is_made_of_the_one_that_it_continues() {
        let file = noise(1, 4000);
        let source = [&noise(2, 100)[..], &file, &noise(3, 100), &file].concat();
        let segment = [&file[..], &[0; 80], &file].concat();
        let [first, second] = [100..4100, 4200..8200];
        let parts = [Part { old: second, new: 0..4000 }, Part { old: first, new: 4080..8080 }];
        let mut at = 0;
        let mut made = Vec::new();
        for Step { old, same, fresh } in steps(&source, &segment, &parts) {
            if same > 0 {
                assert!(source[old..old + same] == segment[at..at + same]);
                made.push((old, same));
            }
            at += same + fresh;
        }
        assert_eq!(at, segment.len());
        assert_eq!(made, [(4200, 4000), (100, 4000)]);
    }
}
