//! The letters of the two metric formats: escapes, numbers, headers, exemplars.
//!
//! Text format 0.0.4 and OpenMetrics 1.0 differ in three things only: a counter's family is named
//! without `_total` in OpenMetrics, counters may carry exemplars there, and the document ends with
//! `# EOF`. The end belongs to the whole document and is not written here.

use std::fmt::Write;

use crate::engine::verdict::Exemplar;

/// In which format metrics are written.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Format {
    /// Prometheus text format 0.0.4.
    Text,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl Format {
    /// The value of the `Content-Type` header.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::Text => "text/plain; version=0.0.4; charset=utf-8",
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }
}

/// The type of a family.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    Counter,
    Gauge,
    Histogram,
    /// Quantiles. Prometheus keeps the `quantile` label for this type alone.
    Summary,
}

impl Kind {
    fn as_str(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram => "histogram",
            Kind::Summary => "summary",
        }
    }
}

/// A metric family: series of one name. Counters' names end in `_total`.
pub(super) struct Family<'a> {
    pub(super) name: &'a str,
    pub(super) kind: Kind,
    pub(super) help: &'a str,
}

impl Family<'_> {
    /// Writes `# HELP` and `# TYPE`.
    pub(super) fn header(&self, out: &mut String, format: Format) {
        let name = match (format, self.kind) {
            (Format::OpenMetrics, Kind::Counter) => {
                self.name.strip_suffix("_total").unwrap_or(self.name)
            }
            _ => self.name,
        };
        put(out, format_args!("# HELP {name} "));
        push_help(out, self.help, format);
        put(out, format_args!("\n# TYPE {name} {}\n", self.kind.as_str()));
    }
}

/// Appends formatted text.
pub(super) fn put(out: &mut String, what: std::fmt::Arguments<'_>) {
    out.write_fmt(what).expect("writing to a string cannot fail");
}

/// Appends `name="value"`.
pub(super) fn push_label(out: &mut String, name: &str, value: &str) {
    out.push_str(name);
    out.push_str("=\"");
    push_escaped(out, value);
    out.push('"');
}

/// Appends a label value: backslash, quote and newline escaped, all else as it is.
fn push_escaped(out: &mut String, value: &str) {
    let mut rest = value;
    while let Some(at) = rest.bytes().position(|b| matches!(b, b'\\' | b'"' | b'\n')) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'\\' => "\\\\",
            b'"' => "\\\"",
            _ => "\\n",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Appends a help text. OpenMetrics escapes quotes in it, the older format does not.
fn push_help(out: &mut String, help: &str, format: Format) {
    for c in help.chars() {
        match c {
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '"' if format == Format::OpenMetrics => out.push_str("\\\""),
            c => out.push(c),
        }
    }
}

/// Appends a finite number: the shortest digits that read back as the same number.
pub(super) fn push_number(out: &mut String, value: f64) {
    debug_assert!(value.is_finite());
    // Plain digits where people read them, an exponent where there would be a row of zeros.
    if value != 0.0 && !(1e-6..1e17).contains(&value.abs()) {
        put(out, format_args!("{value:e}"));
    } else {
        put(out, format_args!("{value}"));
    }
}

/// Appends ` # {trace_id="..."} value timestamp`.
pub(super) fn push_exemplar(out: &mut String, exemplar: &Exemplar) {
    if !exemplar.seconds.is_finite() {
        return;
    }
    put(out, format_args!(" # {{trace_id=\"{}\"}} ", exemplar.trace));
    push_number(out, exemplar.seconds);
    let (seconds, millis) = (exemplar.at.0 / 1_000_000_000, exemplar.at.0 / 1_000_000 % 1_000);
    put(out, format_args!(" {seconds}.{millis:03}"));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Timestamp, TraceId};

    fn number(value: f64) -> String {
        let mut out = String::new();
        push_number(&mut out, value);
        out
    }

    #[test]
    fn numbers_are_the_shortest_that_read_back() {
        assert_eq!(number(0.0), "0");
        assert_eq!(number(0.1), "0.1");
        assert_eq!(number(12_345.0), "12345");
        assert_eq!(number(1e-9), "1e-9");
        for value in [f64::MIN_POSITIVE, f64::MAX, 1.0 / 3.0, 1e-6, 9.99e16, 1e17, -2.5e-7] {
            assert_eq!(number(value).parse::<f64>().unwrap().to_bits(), value.to_bits());
        }
    }

    #[test]
    fn only_backslash_quote_and_newline_are_escaped_in_label_values() {
        let mut out = String::new();
        push_label(&mut out, "a", "\\\"\n\r\t{}\u{202e}🛒");
        assert_eq!(out, "a=\"\\\\\\\"\\n\r\t{}\u{202e}🛒\"");
    }

    #[test]
    fn a_counter_loses_its_suffix_in_open_metrics_headers_only() {
        let family = Family { name: "x_total", kind: Kind::Counter, help: "a \"b\"" };
        let mut text = String::new();
        family.header(&mut text, Format::Text);
        assert_eq!(text, "# HELP x_total a \"b\"\n# TYPE x_total counter\n");
        let mut open = String::new();
        family.header(&mut open, Format::OpenMetrics);
        assert_eq!(open, "# HELP x a \\\"b\\\"\n# TYPE x counter\n");
    }

    #[test]
    fn an_exemplar_names_its_trace_value_and_time() {
        let exemplar = Exemplar {
            trace: TraceId::new(255).unwrap(),
            seconds: 0.25,
            at: Timestamp(1_500_000_000_012_999_999),
        };
        let mut out = String::new();
        push_exemplar(&mut out, &exemplar);
        let id = format!("{}ff", "0".repeat(30));
        assert_eq!(out, format!(" # {{trace_id=\"{id}\"}} 0.25 1500000000.012"));
    }
}
