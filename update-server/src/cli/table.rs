//! Columns for people.

/// Prints rows under a heading, columns as wide as they need.
pub fn print<const N: usize>(heading: [&str; N], rows: &[[String; N]]) {
    print!("{}", lay_out(heading, rows));
}

fn lay_out<const N: usize>(heading: [&str; N], rows: &[[String; N]]) -> String {
    let heading = heading.map(str::to_owned);
    let mut widths = [0; N];
    for row in std::iter::once(&heading).chain(rows) {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    let mut text = String::new();
    for row in std::iter::once(&heading).chain(rows) {
        let cells: Vec<_> =
            row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        text.push_str(cells.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A cell that may be empty.
pub fn or_dash(value: Option<impl ToString>) -> String {
    value.map_or_else(|| "-".to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let rows = [["stable".to_owned(), "2".to_owned()], ["b".to_owned(), "10".to_owned()]];
        let text = lay_out(["CHANNEL", "RELEASE"], &rows);
        assert_eq!(text, "CHANNEL  RELEASE\nstable   2\nb        10\n");
    }
}
