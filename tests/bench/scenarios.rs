//! What is sent in which way: the rows of the tables.

use crate::client::{Compression, Protocol};
use crate::load::Way;
use crate::payload::Shape;
use crate::servers::Kind;

/// A row, or several with one name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
    pub(crate) way: Way,
    /// Who is measured.
    pub(crate) kinds: &'static [Kind],
    /// Lines of laghound's configuration.
    pub(crate) settings: &'static str,
}

const GRPC: Way = Way {
    protocol: Protocol::Grpc,
    compression: Compression::Plain,
    connections: 4,
    in_flight: 4,
    rate: None,
};
/// HTTP/1.1 has one request under way on a connection.
const HTTP: Way = Way { protocol: Protocol::Http, connections: 16, in_flight: 1, ..GRPC };
const GZIP: Way = Way { compression: Compression::Gzip, ..GRPC };
/// A busy sidecar: a tenth of what one core decodes.
const PACE: Option<f64> = Some(100_000.0);

const OURS: &[Kind] = &[Kind::Floor, Kind::Decode, Kind::Laghound];
const OVER_HTTP: &[Kind] = &[Kind::Decode, Kind::Laghound];
const MANY_KEYS: &str = "names:\n  max_operations: 150000\n  max_operations_per_service: 5000\npublish:\n  max_series: 1200000\n";

const fn usual(batch: usize) -> Shape {
    Shape { batch, ..Shape::USUAL }
}

const fn row(name: &'static str, shape: Shape, way: Way, kinds: &'static [Kind]) -> Scenario {
    Scenario { name, shape, way, kinds, settings: "" }
}

/// The rows that the figures to be shown are taken from.
pub(crate) const PLAIN: &str = "512 plain";
pub(crate) const GZIPPED: &str = "512 gzip";
pub(crate) const SMALL: &str = "32 plain";
pub(crate) const PACED: &str = "512 plain, paced";

/// Every row.
pub(crate) fn all() -> Vec<Scenario> {
    let connections = |connections| Way { connections, ..GRPC };
    vec![
        row(PLAIN, usual(512), GRPC, &Kind::ALL),
        row(GZIPPED, usual(512), GZIP, &Kind::ALL),
        row(PACED, usual(512), Way { rate: PACE, ..GRPC }, &Kind::ALL),
        row(SMALL, usual(32), GRPC, OURS),
        row("32 gzip", usual(32), GZIP, OURS),
        row("8192 plain", usual(8192), Way { in_flight: 1, ..GRPC }, OURS),
        row("8192 gzip", usual(8192), Way { in_flight: 1, ..GZIP }, OURS),
        row("512 zstd", usual(512), Way { compression: Compression::Zstd, ..GRPC }, OURS),
        row("512 plain, HTTP", usual(512), HTTP, OVER_HTTP),
        row(
            "512 gzip, HTTP",
            usual(512),
            Way { compression: Compression::Gzip, ..HTTP },
            OVER_HTTP,
        ),
        row("512 plain, 1 connection", usual(512), connections(1), OURS),
        row("512 plain, 16 connections", usual(512), connections(16), OURS),
        row("512 plain, 10 keys", Shape { keys: 10, ..Shape::USUAL }, GRPC, OURS),
        Scenario {
            settings: MANY_KEYS,
            ..row("512 plain, 100,000 keys", Shape { keys: 100_000, ..Shape::USUAL }, GRPC, OURS)
        },
    ]
}

/// One short row over each transport: that the bench itself works.
pub(crate) fn smoke() -> Vec<Scenario> {
    let shape = Shape { keys: 1_000, open: 2_000, ..Shape::USUAL };
    let way = Way { rate: Some(20_000.0), ..GRPC };
    vec![
        row(PLAIN, shape, way, &Kind::ALL),
        row(GZIPPED, shape, Way { compression: Compression::Gzip, ..way }, OURS),
        row("512 plain, HTTP", shape, Way { rate: way.rate, ..HTTP }, OVER_HTTP),
    ]
}
