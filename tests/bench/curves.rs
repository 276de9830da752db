//! How the cost of a span and the memory grow with what there is: keys, open traces, spans of a trace,
//! spans of a request, threads. The complete server under load, one point at a time.

use std::fmt::Write;
use std::path::Path;
use std::time::Duration;

use crate::client::{Compression, Protocol};
use crate::load::Way;
use crate::measure::{Figures, Times, measure, median};
use crate::payload::Shape;
use crate::servers::{Kind, Programs};
use crate::svg::{Axis, Chart, Line};

/// One parameter, and the values it takes.
struct Curve {
    name: &'static str,
    file: &'static str,
    values: &'static [usize],
    /// The load, and lines of laghound's configuration.
    at: fn(usize) -> (Shape, String),
}

const BASE: Shape = Shape { keys: 1_000, trace: 8, open: 20_000, batch: 512 };

const CURVES: [Curve; 5] = [
    Curve {
        name: "operations",
        file: "keys",
        values: &[10, 100, 1_000, 10_000, 100_000],
        at: |keys| (Shape { keys, ..BASE }, limits(2_000_000)),
    },
    Curve {
        name: "open traces",
        file: "open",
        values: &[1_000, 10_000, 100_000, 300_000, 1_000_000],
        at: |open| (Shape { open, ..BASE }, limits(open + 200_000)),
    },
    Curve {
        name: "spans of a trace",
        file: "trace",
        values: &[2, 8, 32, 128, 512, 2_048],
        at: |trace| {
            (
                Shape { trace, keys: BASE.keys.max(trace), open: 40_000 / trace + trace, ..BASE },
                limits(400_000),
            )
        },
    },
    Curve {
        name: "spans of a request",
        file: "batch",
        values: &[1, 8, 32, 128, 512, 2_048, 8_192],
        at: |batch| (Shape { batch, ..BASE }, limits(200_000)),
    },
    Curve {
        name: "threads",
        file: "threads",
        values: &[1, 2, 4, 8],
        at: |threads| (BASE, format!("{}engine:\n  threads: {threads}\n", limits(200_000))),
    },
];

fn limits(traces: usize) -> String {
    format!(
        "names:\n  max_operations: 150000\n  max_operations_per_service: 20000\n\
         assembly:\n  max_traces: {traces}\n  max_spans: 20000000\n"
    )
}

/// Measures every curve whose name contains `only`; writes pictures into `pictures`, returns Markdown.
pub(crate) async fn run(programs: &Programs, only: &str, rounds: usize, pictures: &Path) -> String {
    let mut out = String::new();
    for curve in CURVES.iter().filter(|curve| curve.name.contains(only)) {
        let mut points = Vec::new();
        for &value in curve.values {
            let mut figures = Vec::new();
            for _ in 0..rounds {
                figures.push(point(programs, curve, value).await);
            }
            let of = |pick: fn(&Figures) -> f64| median(figures.iter().map(pick).collect());
            let open = median(figures.iter().filter_map(|figures| figures.open).collect());
            points.push((value, of(|f| f.cpu), of(|f| f.rss), of(|f| f.rate), open));
            eprintln!("{} {value}: {:.3} CPU s/M", curve.name, of(|f| f.cpu));
        }
        let _ = writeln!(
            out,
            "### {}\n\n![]({}.svg)\n\n| {} | CPU s per M spans | spans/s | peak RSS | open traces |\n|---|---|---|---|---|",
            curve.name, curve.file, curve.name
        );
        for (value, cpu, rss, rate, open) in &points {
            let (rate, rss) = (rate / 1e3, rss / 1e6);
            let _ = writeln!(out, "| {value} | {cpu:.3} | {rate:.0} k | {rss:.0} MB | {open:.0} |");
        }
        out.push('\n');
        let chart = Chart {
            title: "CPU seconds of the server per million spans",
            x: Axis { label: curve.name, log: true },
            y: Axis { label: "CPU s per M spans", log: false },
            lines: vec![Line {
                name: "laghound".to_owned(),
                points: points.iter().map(|point| (point.0 as f64, point.1)).collect(),
            }],
        };
        let path = pictures.join(format!("{}.svg", curve.file));
        std::fs::write(path, chart.draw()).expect("the directory of pictures can be written");
    }
    out
}

async fn point(programs: &Programs, curve: &Curve, value: usize) -> Figures {
    let (shape, settings) = (curve.at)(value);
    let way = Way {
        protocol: Protocol::Grpc,
        compression: Compression::Plain,
        connections: 4,
        in_flight: if shape.batch > 1_000 { 1 } else { 4 },
        rate: None,
    };
    // A trace is under way for as long as it takes to begin as many others.
    let times = Times { warm: Duration::from_secs(8), window: Duration::from_secs(10) };
    measure(Kind::Laghound, programs, &settings, shape, way, times).await
}
