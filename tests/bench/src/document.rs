//! The tables in docs/benchmarks.md: what stands between two markers is made from the figures, the
//! rest is written by hand.

use crate::tables::{Part, machine};
use crate::{BenchError, Figures};

const END: &str = "<!-- figures:end -->\n";

/// The document with the tables of `figures` between its markers, each part once. A part that was
/// not measured says so.
pub fn with_figures(document: &str, figures: &Figures) -> Result<String, BenchError> {
    let mut text = replaced(document, "machine", &machine(figures)?)?;
    for part in Part::ALL {
        let made = match part.is_in(figures) {
            true => part.table(figures)?,
            false => "Not measured yet.\n".to_owned(),
        };
        text = replaced(&text, part.name(), &made)?;
    }
    Ok(text)
}

fn replaced(text: &str, name: &'static str, made: &str) -> Result<String, BenchError> {
    let begin = format!("<!-- figures:{name} -->\n");
    let parts = text.split_once(&begin).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        (!after.contains(&begin)).then_some((before, after))
    });
    let (before, after) = parts.ok_or(BenchError::NoMarkers { name })?;
    Ok(format!("{before}{begin}\n{made}\n{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_markers_changes() {
        let text = "a\n<!-- figures:x -->\nold\n<!-- figures:end -->\nb\n";
        let new = "a\n<!-- figures:x -->\n\nnew\n\n<!-- figures:end -->\nb\n";
        assert_eq!(replaced(text, "x", "new\n").unwrap(), new);
        assert_eq!(replaced(new, "x", "new\n").unwrap(), new);
    }

    #[test]
    fn a_marker_that_is_missing_or_there_twice_is_named() {
        let once = "<!-- figures:x -->\nold\n<!-- figures:end -->\n";
        for text in ["no markers\n", "<!-- figures:x -->\nno end\n", &once.repeat(2)] {
            let error = replaced(text, "x", "new\n").unwrap_err();
            assert!(error.to_string().contains("figures:x"), "{error}");
        }
    }
}
