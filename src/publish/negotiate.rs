//! Which format and encoding a scraper asks for: `Accept` and `Accept-Encoding`.
//!
//! Whatever it asks for, it gets something: metrics in the older format are better than an error
//! that nobody reads.

use super::Format;

/// The format that `accept` prefers. Plain text unless OpenMetrics 1.0 is named, and no less
/// preferred than text.
pub(super) fn format(accept: &str) -> Format {
    let (mut text, mut open) = (0, 0);
    for range in ranges(accept) {
        match range.name.as_str() {
            "application/openmetrics-text" if range.version_is("1.0.0") => {
                open = open.max(range.quality);
            }
            "text/plain" | "text/*" | "*/*" => text = text.max(range.quality),
            _ => {}
        }
    }
    if open > 0 && open >= text { Format::OpenMetrics } else { Format::Text }
}

/// Whether `accept_encoding` allows gzip.
pub(super) fn gzip(accept_encoding: &str) -> bool {
    let quality = |name: &str| {
        ranges(accept_encoding).find(|range| range.name == name).map(|range| range.quality)
    };
    quality("gzip").or_else(|| quality("*")).is_some_and(|quality| quality > 0)
}

/// One alternative of a header.
struct Range<'a> {
    name: String,
    /// In thousandths.
    quality: u32,
    version: Option<&'a str>,
}

impl Range<'_> {
    fn version_is(&self, wanted: &str) -> bool {
        self.version.is_none_or(|version| version == wanted)
    }
}

fn ranges(header: &str) -> impl Iterator<Item = Range<'_>> {
    header.split(',').map(|alternative| {
        let mut parts = alternative.split(';').map(str::trim);
        let name = parts.next().unwrap_or_default().to_ascii_lowercase();
        let mut range = Range { name, quality: 1_000, version: None };
        for (key, value) in parts.filter_map(|part| part.split_once('=')) {
            match key.trim().to_ascii_lowercase().as_str() {
                "q" => range.quality = thousandths(value.trim()),
                "version" => range.version = Some(value.trim().trim_matches('"')),
                _ => {}
            }
        }
        range
    })
}

/// `0.75` is 750; what is no quality is none.
fn thousandths(value: &str) -> u32 {
    let quality: f64 = value.parse().unwrap_or(0.0);
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // clamped; NaN becomes 0
    let thousandths = (quality.clamp(0.0, 1.0) * 1e3).round() as u32;
    thousandths
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prometheus_gets_open_metrics() {
        let prometheus_2_42 = "application/openmetrics-text;version=1.0.0,\
             application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(format(prometheus_2_42), Format::OpenMetrics);
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
             application/openmetrics-text;version=0.0.1;q=0.5,\
             text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        assert_eq!(format(prometheus_3), Format::OpenMetrics);
    }

    #[test]
    fn others_get_text() {
        for accept in [
            "",
            "*/*",
            "text/html,application/xhtml+xml,*/*;q=0.8",
            "text/plain;version=0.0.4",
            "application/openmetrics-text;version=0.0.1,text/plain;q=0.5",
            "application/openmetrics-text;q=0.3, text/plain;q=0.9",
            "application/openmetrics-text;version=1.0.0;q=0",
            "application/openmetrics-text;q=many",
            ",;=,;;q",
        ] {
            assert_eq!(format(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn names_are_read_in_any_case_and_spacing() {
        let accept = " Application/OpenMetrics-Text ; Version=\"1.0.0\" ; Q=1.0 , text/plain";
        assert_eq!(format(accept), Format::OpenMetrics);
    }

    #[test]
    fn gzip_only_where_it_is_allowed() {
        assert!(gzip("gzip"));
        assert!(gzip("deflate, GZIP;q=0.5"));
        assert!(gzip("*"));
        assert!(!gzip(""));
        assert!(!gzip("gzip;q=0, *"));
        assert!(!gzip("identity, zstd"));
        assert!(!gzip("*;q=0"));
    }
}
