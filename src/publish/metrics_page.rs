//! The whole of `/metrics`: verdict series, then the process's own, then the end.
//!
//! The process's series come second because they say how many of the first there are. Rendering
//! takes milliseconds for thousands of operations: keep it off the threads that serve requests.

use bytes::Bytes;

use super::exposition::{self, Limits};
use super::kafka_metrics;
use super::ledger::Ledger;
use super::process_metrics::ProcessMetrics;
use super::text_format::Format;
use crate::engine::verdict::Board;

/// Renders `/metrics`. One for the life of the process, as histograms add up in it.
pub struct MetricsPage {
    limits: Limits,
    process: ProcessMetrics,
}

impl MetricsPage {
    /// A page with at most so many verdict series.
    pub fn new(limits: Limits) -> MetricsPage {
        MetricsPage { limits, process: ProcessMetrics::new() }
    }

    /// The document at this moment.
    pub fn render(&self, board: &Board, ledger: &Ledger, format: Format) -> Bytes {
        debug_assert!(ledger.is_balanced(), "spans are missing: {ledger:?}");
        let mut out = String::new();
        let counts = exposition::write(board, &self.limits, format, &mut out);
        self.process.write(ledger, &board.detection_delays, &counts, format, &mut out);
        if let Some(kafka) = &ledger.kafka {
            kafka_metrics::write(kafka, format, &mut out);
        }
        if format == Format::OpenMetrics {
            out.push_str("# EOF\n");
        }
        Bytes::from(out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::ledger::KafkaLedger;
    use crate::publish::testing::{board, read};

    fn render(format: Format) -> String {
        let page = MetricsPage::new(Limits::default());
        let bytes = page.render(&board(), &Ledger::default(), format);
        String::from_utf8(bytes.to_vec()).unwrap()
    }

    #[test]
    fn only_open_metrics_says_where_it_ends() {
        let open = render(Format::OpenMetrics);
        assert!(open.ends_with("\n# EOF\n"));
        read(&open);
        let text = render(Format::Text);
        assert!(!text.contains("EOF"));
        read(&text);
    }

    #[test]
    fn there_is_no_blank_line() {
        assert!(!render(Format::OpenMetrics).contains("\n\n"));
    }

    #[test]
    fn the_page_counts_its_own_series() {
        let read = read(&render(Format::Text));
        let of = |family| read.value("laghound_series", &[("family", family)]);
        assert_eq!(of("laghound_operation_spans_total"), 2.0);
        assert_eq!(of("laghound_self_time_baseline_seconds"), 3.0);
        assert_eq!(of("laghound_suspect_score"), 1.0);
        let limit =
            read.value("laghound_series_limit", &[("family", "laghound_operation_spans_total")]);
        assert_eq!(limit, 10_000.0);
    }

    #[test]
    fn both_formats_show_the_same_samples() {
        let samples = |format| {
            let samples = read(&render(format)).samples;
            let own = |name: &str| !name.starts_with("process_");
            samples
                .into_iter()
                .filter(|sample| own(&sample.name))
                .map(|sample| (sample.name, sample.labels, sample.value))
                .collect::<Vec<_>>()
        };
        assert_eq!(samples(Format::Text), samples(Format::OpenMetrics));
    }

    #[test]
    fn the_names_a_dashboard_relies_on_are_all_there() {
        let ledger = Ledger { kafka: Some(KafkaLedger::default()), ..Ledger::default() };
        let page = MetricsPage::new(Limits::default());
        let bytes = page.render(&board(), &ledger, Format::Text);
        let read = read(std::str::from_utf8(&bytes).unwrap());
        for name in include_str!("metric_names.txt").lines() {
            assert!(read.types.contains_key(name), "{name} is gone: a change of the contract");
        }
        assert_eq!(read.types.len(), include_str!("metric_names.txt").lines().count());
    }
}
