//! The figures as a picture: for each, our bar, its peer's, and a line at the target, if it has one.

use std::fmt::Write as _;

use crate::figure::Figure;
use crate::table::number;

const WIDTH: f64 = 760.0;
const MARGIN: f64 = 16.0;
/// A figure's height: a title and two bars.
const PANEL: f64 = 76.0;
const BAR: f64 = 18.0;
/// Where bars start: behind their labels.
const BARS_FROM: f64 = MARGIN + 60.0;
/// Where they end at most: before their values.
const BARS_TO: f64 = WIDTH - MARGIN - 70.0;

const OURS: &str = "#1f77b4";
const OURS_FAILED: &str = "#d62728";
const PEER: &str = "#b0b0b0";

/// Draws the figures below one another, each on a scale of its own.
pub(crate) fn svg(figures: &[Figure]) -> String {
    #[expect(clippy::cast_precision_loss, reason = "a few figures")]
    let height = 2.0 * MARGIN + PANEL * figures.len() as f64;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    let mut top = MARGIN;
    for figure in figures {
        panel(&mut svg, figure, top);
        top += PANEL;
    }
    svg + "</svg>\n"
}

fn panel(svg: &mut String, figure: &Figure, top: f64) {
    let title = format!("{}: {}; peer: {}", figure.name, figure.unit, figure.peer);
    text(svg, MARGIN, top + 13.0, "start", &title);
    let largest = figure
        .ours
        .median
        .max(figure.peer_value)
        .max(figure.target.limit().unwrap_or(0.0));
    let reach = |value: f64| (BARS_TO - BARS_FROM) * (value / largest).clamp(0.0, 1.0);
    let ours = match figure.met() {
        Some(false) => OURS_FAILED,
        Some(true) | None => OURS,
    };
    let bars = [
        ("ours", figure.ours.median, ours),
        ("peer", figure.peer_value, PEER),
    ];
    let mut bar_top = top + 20.0;
    for (label, value, color) in bars {
        let width = reach(value);
        let baseline = bar_top + BAR - 5.0;
        text(svg, BARS_FROM - 8.0, baseline, "end", label);
        shape(
            svg,
            &format!(
                "<rect x=\"{BARS_FROM}\" y=\"{bar_top}\" width=\"{width:.1}\" height=\"{BAR}\" \
                 fill=\"{color}\"/>"
            ),
        );
        text(
            svg,
            BARS_FROM + width + 6.0,
            baseline,
            "start",
            &number(value),
        );
        bar_top += BAR + 3.0;
    }
    let Some(limit) = figure.target.limit() else {
        return;
    };
    let target = BARS_FROM + reach(limit);
    let (from, to) = (top + 18.0, top + 22.0 + BAR);
    shape(
        svg,
        &format!(
            "<line x1=\"{target:.1}\" x2=\"{target:.1}\" y1=\"{from}\" y2=\"{to}\" \
             stroke=\"black\" stroke-dasharray=\"3 2\"><title>target</title></line>"
        ),
    );
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, words: &str) {
    let words = words.replace('&', "&amp;").replace('<', "&lt;");
    shape(
        svg,
        &format!("<text x=\"{x:.1}\" y=\"{y}\" text-anchor=\"{anchor}\">{words}</text>"),
    );
}

fn shape(svg: &mut String, element: &str) {
    // Writing to a string does not fail.
    let _ = writeln!(svg, "{element}");
}
