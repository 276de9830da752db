//! Figures as Markdown: one table of everything measured, one of what was to be shown.
//!
//! A figure is the median over the rounds; a ratio is the median of the ratios of the rounds, so that what
//! the machine did meanwhile to one round it did to both sides.

use std::collections::BTreeMap;
use std::fmt::Write;

use crate::measure::{Figures, median};
use crate::scenarios::{GZIPPED, PACED, PLAIN, SMALL};
use crate::servers::Kind;

/// Everything measured: figures by row and server, one for each round.
#[derive(Default)]
pub(crate) struct Results {
    rows: Vec<(&'static str, BTreeMap<Kind, Vec<Figures>>)>,
}

impl Results {
    /// One more round of a row.
    pub(crate) fn add(&mut self, row: &'static str, kind: Kind, figures: Figures) {
        let at = self.rows.iter().position(|(name, _)| *name == row).unwrap_or_else(|| {
            self.rows.push((row, BTreeMap::new()));
            self.rows.len() - 1
        });
        self.rows[at].1.entry(kind).or_default().push(figures);
    }

    /// The ratio of two servers' CPU in a row.
    fn ratio(&self, row: &str, kind: Kind, to: Kind) -> Option<f64> {
        let (_, kinds) = self.rows.iter().find(|(name, _)| *name == row)?;
        let (ours, theirs) = (kinds.get(&kind)?, kinds.get(&to)?);
        Some(median(ours.iter().zip(theirs).map(|(ours, theirs)| ours.cpu / theirs.cpu).collect()))
    }

    /// The share of a row's CPU that detection and publishing add to the rest.
    fn on_top(&self, row: &str) -> Option<f64> {
        let (_, kinds) = self.rows.iter().find(|(name, _)| *name == row)?;
        let share = |figures: &Figures| {
            let top: f64 =
                figures.by_thread.iter().filter(|(name, _)| name == "judge").map(|t| t.1).sum();
            top / (figures.cpu - top)
        };
        Some(median(kinds.get(&Kind::Laghound)?.iter().map(share).collect()))
    }

    /// Everything, by row and server.
    pub(crate) fn table(&self) -> String {
        let mut out = String::from(
            "| load | server | CPU s per M spans | of decode-and-drop | spans/s | peak RSS | canary p50 / p99 | refused |\n\
             |---|---|---|---|---|---|---|---|\n",
        );
        for (row, kinds) in &self.rows {
            for (&kind, rounds) in kinds {
                let of = |pick: fn(&Figures) -> f64| median(rounds.iter().map(pick).collect());
                let ratio = self.ratio(row, kind, Kind::Decode);
                let ratio = ratio.map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
                let failed: u64 = rounds.iter().map(|figures| figures.failed).sum();
                let failed = if failed > 0 { format!(", {failed} failed") } else { String::new() };
                let _ = writeln!(
                    out,
                    "| {row} | {} | {:.3} | {ratio} | {:.0} k | {:.0} MB | {:.1} / {:.0} ms | {:.1} %{failed} |",
                    kind.name(),
                    of(|figures| figures.cpu),
                    of(|figures| figures.rate) / 1e3,
                    of(|figures| figures.rss) / 1e6,
                    of(|figures| figures.p50) * 1e3,
                    of(|figures| figures.p99) * 1e3,
                    of(|figures| figures.refused) * 100.0,
                );
            }
        }
        out
    }

    /// Where laghound's own CPU time goes, by thread.
    pub(crate) fn threads(&self) -> String {
        let mut out =
            String::from("| load | open traces | CPU s per M spans by thread |\n|---|---|---|\n");
        for (row, kinds) in &self.rows {
            let Some(rounds) = kinds.get(&Kind::Laghound) else { continue };
            let Some(last) = rounds.last() else { continue };
            let mut threads = last.by_thread.clone();
            threads.sort_by(|one, two| two.1.total_cmp(&one.1));
            let threads: Vec<String> = threads
                .iter()
                .filter(|(_, cpu)| *cpu >= 0.0005)
                .map(|(name, cpu)| format!("{name} {cpu:.3}"))
                .collect();
            let open = median(rounds.iter().filter_map(|figures| figures.open).collect());
            let _ = writeln!(out, "| {row} | {open:.0} | {} |", threads.join(", "));
        }
        out
    }

    /// What was to be shown, and whether it is.
    pub(crate) fn goals(&self) -> String {
        let laghound = |row, to| self.ratio(row, Kind::Laghound, to);
        let spanmetrics = laghound(PLAIN, Kind::CollectorSpanMetrics);
        let goals = [
            ("CPU of decode-and-drop, 512 plain", laghound(PLAIN, Kind::Decode), 0.33, 0.22),
            ("CPU of decode-and-drop, 512 gzip", laghound(GZIPPED, Kind::Decode), 0.36, 0.25),
            ("CPU of the Collector with spanmetrics", spanmetrics, 0.1, 0.04),
            ("CPU of decode-and-drop, 32 plain", laghound(SMALL, Kind::Decode), 0.5, 0.35),
            ("detection and publishing on top, saturating", self.on_top(PLAIN), 0.25, 0.1),
            ("detection and publishing on top, paced", self.on_top(PACED), 0.25, 0.1),
        ];
        let mut out =
            String::from("| figure | measured | hold | stretch | |\n|---|---|---|---|---|\n");
        for (name, measured, hold, stretch) in goals {
            let Some(measured) = measured else { continue };
            let _ = writeln!(
                out,
                "| {name} | {measured:.3} | {hold} | {stretch} | {} |",
                judged(measured, hold, stretch)
            );
        }
        out
    }
}

/// In a word.
pub(crate) fn judged(measured: f64, hold: f64, stretch: f64) -> &'static str {
    match measured {
        m if m <= stretch => "stretch reached",
        m if m <= hold => "holds",
        _ => "missed",
    }
}
