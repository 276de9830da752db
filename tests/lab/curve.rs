//! The share of faults that were found and named against how much they slow an entry down: a plot.

use std::fmt::Write;

use crate::score::Score;

/// A line of the plot: what it is, its colour, and its points as (rise, share, low, high).
struct Line {
    name: String,
    colour: &'static str,
    points: Vec<(f64, f64, f64, f64)>,
}

/// Borders of the bins, as shares of the entry's mean.
const BINS: [f64; 9] = [0.01, 0.03, 0.07, 0.14, 0.28, 0.56, 1.1, 2.2, 6.0];
/// Fewer cases than this in a bin are no share of anything.
const LEAST_CASES: usize = 4;
const COLOURS: [&str; 8] =
    ["#1b6ca8", "#7fb3d9", "#b5451b", "#e0a386", "#5b7f2b", "#a9c47f", "#6b4a8a", "#b39bc8"];
const WIDTH: f64 = 1040.0;
const HEIGHT: f64 = 420.0;
const MARGIN: (f64, f64) = (56.0, 44.0);
/// Room for the longest name of a contestant.
const COLUMN: f64 = 258.0;

/// Of each contestant the share detected and the share named first, with 95 % intervals.
pub(crate) fn svg(contestants: &[(String, Vec<&Score>)]) -> String {
    let mut lines = Vec::new();
    for (at, (name, scores)) in contestants.iter().enumerate() {
        let detected = binned(scores, |score| score.delay.is_some());
        let named = binned(scores, |score| score.end == Some(1));
        let colour = |n: usize| COLOURS[(2 * at + n) % COLOURS.len()];
        lines.push(Line { name: format!("{name}: right"), colour: colour(0), points: named });
        lines.push(Line { name: format!("{name}: detected"), colour: colour(1), points: detected });
    }
    let mut text = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n<rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    axes(&mut text);
    for (at, line) in lines.iter().enumerate() {
        draw(&mut text, line, at);
    }
    text += "</svg>\n";
    text
}

fn binned(scores: &[&Score], is: fn(&Score) -> bool) -> Vec<(f64, f64, f64, f64)> {
    let bin = |edges: &[f64]| {
        let within = scores.iter().filter(|score| (edges[0]..edges[1]).contains(&score.rise));
        let all: Vec<bool> = within.map(|score| is(score)).collect();
        let hits = all.iter().filter(|hit| **hit).count();
        let (low, high) = wilson(hits as f64, all.len() as f64);
        let middle = (edges[0] * edges[1]).sqrt();
        (all.len() >= LEAST_CASES).then(|| (middle, hits as f64 / all.len() as f64, low, high))
    };
    BINS.windows(2).filter_map(bin).collect()
}

/// The 95 % interval of a share (E. B. Wilson, 1927).
fn wilson(hits: f64, of: f64) -> (f64, f64) {
    const Z: f64 = 1.96;
    if of == 0.0 {
        return (0.0, 1.0);
    }
    let share = hits / of;
    let centre = share + Z * Z / (2.0 * of);
    let spread = Z * (share * (1.0 - share) / of + Z * Z / (4.0 * of * of)).sqrt();
    let scale = 1.0 + Z * Z / of;
    ((centre - spread) / scale, (centre + spread) / scale)
}

fn x(rise: f64) -> f64 {
    let (from, to) = (BINS[0].ln(), BINS[BINS.len() - 1].ln());
    MARGIN.0 + (rise.ln() - from) / (to - from) * (WIDTH - 2.0 * MARGIN.0)
}

fn y(share: f64) -> f64 {
    HEIGHT - MARGIN.1 - share * (HEIGHT - 2.0 * MARGIN.1)
}

fn axes(text: &mut String) {
    for tenth in [0, 25, 50, 75, 90, 100] {
        let at = y(f64::from(tenth) / 100.0);
        let _ = writeln!(
            text,
            "<line x1=\"{}\" x2=\"{}\" y1=\"{at:.1}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
             <text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{tenth} %</text>",
            MARGIN.0,
            WIDTH - MARGIN.0,
            MARGIN.0 - 6.0,
            at + 4.0
        );
    }
    for percent in [1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0] {
        let at = x(percent / 100.0);
        let _ = writeln!(
            text,
            "<line x1=\"{at:.1}\" x2=\"{at:.1}\" y1=\"{}\" y2=\"{}\" stroke=\"#eee\"/>\
             <text x=\"{at:.1}\" y=\"{}\" text-anchor=\"middle\">+{percent:.0} %</text>",
            MARGIN.1,
            HEIGHT - MARGIN.1,
            HEIGHT - MARGIN.1 + 18.0
        );
    }
    let _ = writeln!(
        text,
        "<text x=\"{}\" y=\"{}\" text-anchor=\"middle\">rise of the mean of the entry that suffers most</text>",
        WIDTH / 2.0,
        HEIGHT - 8.0
    );
}

fn draw(text: &mut String, line: &Line, at: usize) {
    let points: Vec<String> =
        line.points.iter().map(|p| format!("{:.1},{:.1}", x(p.0), y(p.1))).collect();
    let colour = line.colour;
    let _ = writeln!(
        text,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        points.join(" ")
    );
    for (rise, share, low, high) in &line.points {
        let (px, py) = (x(*rise), y(*share));
        let _ = writeln!(
            text,
            "<circle cx=\"{px:.1}\" cy=\"{py:.1}\" r=\"3\" fill=\"{colour}\"/>\
             <line x1=\"{px:.1}\" x2=\"{px:.1}\" y1=\"{:.1}\" y2=\"{:.1}\" stroke=\"{colour}\" opacity=\"0.5\"/>",
            y(*low),
            y(*high)
        );
    }
    // Two lines of a contestant, one above the other, side by side with the next one's.
    let (left, top) = (12.0 + COLUMN * (at / 2) as f64, 14.0 + 15.0 * (at % 2) as f64);
    let _ = writeln!(
        text,
        "<rect x=\"{left}\" y=\"{}\" width=\"14\" height=\"3\" fill=\"{colour}\"/>\
         <text x=\"{}\" y=\"{top}\">{}</text>",
        top - 5.0,
        left + 20.0,
        line.name
    );
}
