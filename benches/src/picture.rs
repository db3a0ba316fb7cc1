//! A bar chart as SVG, readable on light and on dark.

use std::fmt::Write as _;

use crate::output::number;

/// One bar.
#[derive(Debug)]
pub struct Bar {
    /// What it says at its left.
    pub label: String,
    /// How long it is, and what it says at its right.
    pub nanos: f64,
    /// Whether it is one of ours.
    pub ours: bool,
}

const WIDTH: f64 = 860.0;
const LEFT: f64 = 270.0;
const RIGHT: f64 = 90.0;
const LINE: f64 = 26.0;
const TOP: f64 = 44.0;

/// Draws bars from zero, all by one linear scale. The text is the grey that stands out from white and from black alike.
pub fn bars(title: &str, bars: &[Bar]) -> String {
    let most = bars.iter().map(|bar| bar.nanos).fold(1.0, f64::max);
    let height = LINE.mul_add(f64::from(u16::try_from(bars.len()).unwrap_or(u16::MAX)), TOP + 12.0);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" width=\"{WIDTH}\" height=\"{height}\" \
         role=\"img\" font-family=\"system-ui, sans-serif\" font-size=\"14\" fill=\"#7d8590\">\n<title>{}</title>\n\
         <text x=\"12\" y=\"24\" font-size=\"15\" font-weight=\"600\">{}</text>\n",
        escaped(title),
        escaped(title)
    );
    let mut top = TOP;
    for bar in bars {
        let long = ((WIDTH - LEFT - RIGHT) * bar.nanos.max(0.0) / most).max(1.0);
        let (color, middle, end) = (if bar.ours { "#1a7f64" } else { "#b0803a" }, top + 13.0, LEFT + long);
        let _infallible = writeln!(
            svg,
            "<text x=\"{:.0}\" y=\"{middle:.0}\" text-anchor=\"end\">{}</text>\
             <rect x=\"{LEFT:.0}\" y=\"{top:.0}\" width=\"{long:.1}\" height=\"18\" rx=\"2\" fill=\"{color}\"/>\
             <text x=\"{:.1}\" y=\"{middle:.0}\">{} ns</text>",
            LEFT - 10.0,
            escaped(&bar.label),
            end + 8.0,
            number(bar.nanos, 0),
        );
        top += LINE;
    }
    svg.push_str("</svg>\n");
    svg
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::{Bar, bars};

    #[test]
    fn the_longest_bar_fills_its_place_and_the_others_are_in_proportion() {
        let bar = |label: &str, nanos| Bar { label: label.to_owned(), nanos, ours: true };
        let svg = bars("a < b", &[bar("one", 1_000.0), bar("four", 4_000.0)]);
        assert!(svg.contains("a &lt; b"), "{svg}");
        assert!(svg.contains("width=\"125.0\"") && svg.contains("width=\"500.0\""), "{svg}");
        assert!(svg.contains(">4,000 ns</text>"), "{svg}");
    }
}
