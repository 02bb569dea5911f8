//! A bar chart as SVG.

use std::fmt::Write as _;

/// Bars of a chart that belong together.
#[derive(Debug, Clone, PartialEq)]
pub struct Group {
    /// What stands above them.
    pub title: String,
    /// Its bars, top down.
    pub bars: Vec<Bar>,
}

/// A bar of a chart.
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    /// What stands before it.
    pub label: String,
    /// How long it is, on the scale of all bars.
    pub amount: f64,
    /// What stands behind it.
    pub note: String,
    /// Its colour.
    pub colour: &'static str,
}

const WIDTH: f64 = 960.0;
/// Where bars begin, and how long the longest is.
const BARS_AT: f64 = 250.0;
const BAR_MAX: f64 = 400.0;
const BAR_HEIGHT: f64 = 20.0;
const ROW: f64 = 28.0;
const GROUP_HEAD: f64 = 44.0;
const HEAD: f64 = 62.0;
const FOOT: f64 = 20.0;
const FONT: &str = "font-family=\"system-ui, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif\"";

/// A picture of the groups, one above the other, under a title and a line of smaller text. It brings its
/// own background, so that it can be read on any page.
pub fn chart(title: &str, subtitle: &str, groups: &[Group]) -> String {
    let rows: usize = groups.iter().map(|group| group.bars.len()).sum();
    let height = HEAD + groups.len() as f64 * GROUP_HEAD + rows as f64 * ROW + FOOT;
    let most = groups.iter().flat_map(|group| &group.bars).map(|bar| bar.amount);
    let scale = BAR_MAX / most.fold(f64::MIN_POSITIVE, f64::max);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" role=\"img\" {FONT}>\n"
    );
    element(&mut svg, &format!("<title>{}</title>", escaped(title)));
    element(&mut svg, "<rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>");
    text(&mut svg, (24.0, 32.0), "font-size=\"18\" font-weight=\"600\"", "#1c2733", title);
    text(&mut svg, (24.0, 53.0), "font-size=\"13\"", "#5b6875", subtitle);
    let mut top = HEAD;
    for Group { title, bars } in groups {
        text(
            &mut svg,
            (24.0, top + 30.0),
            "font-size=\"14\" font-weight=\"600\"",
            "#1c2733",
            title,
        );
        top += GROUP_HEAD;
        let past = top + bars.len() as f64 * ROW - (ROW - BAR_HEIGHT);
        let axis = format!("x1=\"{BARS_AT}\" x2=\"{BARS_AT}\" y1=\"{top}\" y2=\"{past}\"");
        element(&mut svg, &format!("<line {axis} stroke=\"#b8c1ca\"/>"));
        for Bar { label, amount, note, colour } in bars {
            let (width, middle) = ((amount * scale).max(1.0), top + BAR_HEIGHT / 2.0 + 4.5);
            let place = format!("x=\"{BARS_AT}\" y=\"{top}\" width=\"{width:.1}\"");
            element(
                &mut svg,
                &format!("<rect {place} height=\"{BAR_HEIGHT}\" fill=\"{colour}\"/>"),
            );
            let before = "font-size=\"13\" text-anchor=\"end\"";
            text(&mut svg, (BARS_AT - 10.0, middle), before, "#33414e", label);
            text(&mut svg, (BARS_AT + width + 8.0, middle), "font-size=\"13\"", "#33414e", note);
            top += ROW;
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn element(svg: &mut String, element: &str) {
    svg.push_str("  ");
    svg.push_str(element);
    svg.push('\n');
}

fn text(svg: &mut String, (x, y): (f64, f64), style: &str, colour: &str, text: &str) {
    let mut place = String::new();
    // Writing to a string does not fail.
    let _ = write!(place, "x=\"{x:.1}\" y=\"{y:.1}\" {style} fill=\"{colour}\"");
    element(svg, &format!("<text {place}>{}</text>", escaped(text)));
}

/// Text as XML has it; what XML cannot have at all is left out.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{FFFE}' | '\u{FFFF}' => {}
            char if char.is_control() => {}
            char => escaped.push(char),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bar(label: &str, amount: f64) -> Bar {
        Bar { label: label.to_owned(), amount, note: format!("{amount} MiB"), colour: "#123456" }
    }

    #[test]
    fn bars_are_as_long_as_their_amounts() {
        let title = "a & <b>\u{7}".to_owned();
        let groups = [
            Group { title, bars: vec![bar("full", 200.0), bar("half", 100.0)] },
            Group { title: "next".to_owned(), bars: vec![bar("none", 0.0)] },
        ];
        insta::assert_snapshot!(chart("Bytes", "of devices", &groups));
    }

    #[test]
    fn a_chart_of_nothing_is_one() {
        assert!(chart("", "", &[]).ends_with("</svg>\n"));
        let svg = chart("", "", &[Group { title: String::new(), bars: vec![bar("", 0.0)] }]);
        assert!(svg.contains("width=\"1.0\"") && !svg.contains("NaN"), "{svg}");
    }
}
