//! A line chart as SVG: what the bench's page shows of scaling. Text that a browser draws, nothing more.

use std::fmt::Write;

/// An axis.
pub(crate) struct Axis {
    pub(crate) label: &'static str,
    pub(crate) log: bool,
}

/// A line through points.
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) points: Vec<(f64, f64)>,
}

/// A picture. The y axis begins at zero unless it is logarithmic.
pub(crate) struct Chart {
    pub(crate) title: &'static str,
    pub(crate) x: Axis,
    pub(crate) y: Axis,
    pub(crate) lines: Vec<Line>,
}

const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 320.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 20.0;
const TOP: f64 = 36.0;
const BOTTOM: f64 = 48.0;
const COLOURS: [&str; 4] = ["#1f6feb", "#d1242f", "#1a7f37", "#8250df"];

/// From values to places.
struct Scale {
    from: f64,
    to: f64,
    log: bool,
}

impl Scale {
    fn of(values: impl Iterator<Item = f64>, log: bool) -> Scale {
        let (mut from, mut to) = if log { (f64::MAX, f64::MIN) } else { (0.0, f64::MIN) };
        for value in values {
            from = from.min(value);
            to = to.max(value);
        }
        Scale { from, to: if to > from { to } else { from + 1.0 }, log }
    }

    /// 0 to 1.
    fn place(&self, value: f64) -> f64 {
        let f = |value: f64| if self.log { value.ln() } else { value };
        (f(value) - f(self.from)) / (f(self.to) - f(self.from))
    }

    fn ticks(&self) -> Vec<f64> {
        if self.log {
            let mut tick = 10f64.powf(self.from.log10().floor());
            let mut ticks = Vec::new();
            while tick <= self.to * 1.001 {
                ticks.extend((tick >= self.from * 0.999).then_some(tick));
                tick *= 10.0;
            }
            return ticks;
        }
        let rough = (self.to - self.from) / 5.0;
        let unit = 10f64.powf(rough.log10().floor());
        let nice = [1.0, 2.0, 5.0, 10.0].map(|step| step * unit);
        let step = nice.into_iter().find(|step| *step >= rough).unwrap_or(rough);
        let count = (self.to / step).floor() as usize;
        (0..=count).map(|tick| tick as f64 * step).collect()
    }
}

impl Chart {
    /// The picture as SVG.
    pub(crate) fn draw(&self) -> String {
        let points = || self.lines.iter().flat_map(|line| &line.points);
        let x = Scale::of(points().map(|point| point.0), self.x.log);
        let y = Scale::of(points().map(|point| point.1), self.y.log);
        let at_x = |value| LEFT + x.place(value) * (WIDTH - LEFT - RIGHT);
        let at_y = |value| HEIGHT - BOTTOM - y.place(value) * (HEIGHT - TOP - BOTTOM);
        let mut out = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
             font-family=\"sans-serif\" font-size=\"12\">\n\
             <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n\
             <text x=\"{LEFT}\" y=\"20\" font-size=\"14\">{}</text>\n",
            self.title
        );
        for tick in x.ticks() {
            let (at, bottom) = (at_x(tick), HEIGHT - BOTTOM);
            let _ = writeln!(
                out,
                "<line x1=\"{at:.1}\" y1=\"{TOP}\" x2=\"{at:.1}\" y2=\"{bottom}\" stroke=\"#ddd\"/>\
                 <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>",
                bottom + 16.0,
                number(tick)
            );
        }
        for tick in y.ticks() {
            let (at, right) = (at_y(tick), WIDTH - RIGHT);
            let _ = writeln!(
                out,
                "<line x1=\"{LEFT}\" y1=\"{at:.1}\" x2=\"{right}\" y2=\"{at:.1}\" stroke=\"#ddd\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{}</text>",
                LEFT - 6.0,
                at + 4.0,
                number(tick)
            );
        }
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let places: Vec<String> = line
                .points
                .iter()
                .map(|point| format!("{:.1},{:.1}", at_x(point.0), at_y(point.1)))
                .collect();
            let _ = writeln!(
                out,
                "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>\
                 <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\" fill=\"{colour}\">{}</text>",
                places.join(" "),
                WIDTH - RIGHT - 4.0,
                TOP + 14.0 + 16.0 * index as f64,
                line.name
            );
        }
        let _ = writeln!(
            out,
            "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{}</text>\n\
             <text transform=\"translate(16 {:.1}) rotate(-90)\" text-anchor=\"middle\">{}</text>\n</svg>",
            (LEFT + WIDTH - RIGHT) / 2.0,
            HEIGHT - 10.0,
            self.x.label,
            (TOP + HEIGHT - BOTTOM) / 2.0,
            self.y.label
        );
        out
    }
}

/// As people write it.
fn number(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{} M", v / 1e6),
        v if v >= 1e4 => format!("{} k", v / 1e3),
        v => format!("{}", (v * 1000.0).round() / 1000.0),
    }
}
