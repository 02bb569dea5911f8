//! An error and its causes in words. An error's own message never repeats its
//! cause, so whoever shows one joins them here.

use std::error::Error;

/// The messages of an error and its causes, outermost first.
pub fn messages(error: &dyn Error) -> impl Iterator<Item = String> {
    std::iter::successors(Some(error), |error| (*error).source()).map(ToString::to_string)
}

/// `what failed: why: why that`, for logs and reports.
pub fn one_line(error: &dyn Error) -> String {
    messages(error).collect::<Vec<_>>().join(": ")
}

/// A line for the error and one for each cause, for people at a terminal.
pub fn lines(error: &dyn Error) -> String {
    messages(error).collect::<Vec<_>>().join("\n  because: ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("cannot {0}")]
    struct Cannot(&'static str, #[source] Option<Box<Cannot>>);

    #[test]
    fn every_cause_is_told_once_outermost_first() {
        let disk = Cannot("read the disk", None);
        assert_eq!((one_line(&disk), lines(&disk)), (disk.to_string(), disk.to_string()));
        let open = Cannot("open", Some(Box::new(disk)));
        let error = Cannot("install", Some(Box::new(open)));
        assert_eq!(one_line(&error), "cannot install: cannot open: cannot read the disk");
        let expected = "cannot install\n  because: cannot open\n  because: cannot read the disk";
        assert_eq!(lines(&error), expected);
    }
}
