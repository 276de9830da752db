//! What a running instance says, as text for a terminal: its suspects, one incident, and the view of `top`.
//!
//! The words are the server's; here they are laid out. What comes from another process may hold anything, so
//! nothing of it reaches the terminal that could steer it.

use std::fmt::{self, Write};

use super::client::{
    Distributions, Entry, Impacted, Incident, IncidentDocument, Now, Operation, Suspect,
};
use super::words::{Name, duration, percent, safe};

/// Suspects of the open incidents, or why there are none.
pub struct SuspectsText<'a>(pub &'a Now);

impl fmt::Display for SuspectsText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let now = self.0;
        if now.incidents.is_empty() {
            writeln!(out, "{}", state(now))?;
            if let Some(last) = &now.last_incident {
                let (id, said) = (last.id, safe(&last.sentence));
                writeln!(out, "The last incident is over: {said} (laghound incident {id})")?;
            }
            return Ok(());
        }
        for incident in &now.incidents {
            writeln!(out, "{}", safe(&incident.sentence))?;
            write_table(out, &suspect_rows(incident))?;
            write_impacted(out, incident)?;
            writeln!(out, "  laghound incident {} shows what it rests on", incident.id)?;
        }
        Ok(())
    }
}

/// How things are while nothing is slow.
fn state(now: &Now) -> String {
    let (known, learned) = (now.operations.known, now.operations.learned);
    if now.intake.accepted_spans == 0 {
        "No span has come in yet.".to_owned()
    } else if now.learning || learned == 0 {
        format!("Learning what is normal: {learned} of {known} operations have a baseline so far.")
    } else {
        format!(
            "Nothing is slower than it should be; {learned} of {known} operations have a baseline."
        )
    }
}

/// One incident with its evidence.
pub struct IncidentText<'a>(pub &'a IncidentDocument);

impl fmt::Display for IncidentText<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let IncidentDocument { incident, evidence, links } = self.0;
        let (start, detected) = (safe(&incident.start), safe(&incident.detected));
        write!(out, "Incident {}, since {start}, ", incident.id)?;
        match &incident.end {
            Some(end) => write!(out, "over since {}", safe(end))?,
            None => out.write_str("slow now")?,
        }
        writeln!(out, ", detected {detected}\n  {}\n", safe(&incident.sentence))?;
        write_table(out, &suspect_rows(incident))?;
        write_impacted(out, incident)?;
        writeln!(out, "\nslower:")?;
        write_table(out, &incident.entries.iter().map(entry_row).collect::<Vec<_>>())?;
        if !evidence.distributions.is_empty() {
            writeln!(out, "\nself-time of a call, normal -> now:")?;
            let rows = evidence.distributions.iter().map(|one| distribution_row(incident, one));
            write_table(out, &rows.collect::<Vec<_>>())?;
        }
        if !evidence.traces.is_empty() {
            writeln!(out, "\ntraces:")?;
        }
        let rows = evidence.traces.iter().map(|kept| {
            let entry = format!("{} of {}", Name(&kept.operation), Name(&kept.service));
            let place = kept.url.as_deref().unwrap_or(&kept.trace_id);
            vec![safe(&kept.role), duration(kept.duration_seconds).to_string(), entry, safe(place)]
        });
        write_table(out, &rows.collect::<Vec<_>>())?;
        for (what, link) in [("page", &links.page), ("Prometheus", &links.prometheus)] {
            if let Some(link) = link {
                writeln!(out, "{what}: {}", safe(link))?;
            }
        }
        Ok(())
    }
}

/// Who is not to be paged.
fn write_impacted(out: &mut fmt::Formatter<'_>, incident: &Incident) -> fmt::Result {
    const MOST: usize = 5;
    if incident.impacted.is_empty() {
        return Ok(());
    }
    let said =
        |one: &Impacted| format!("{} (+{})", Name(&one.service), duration(one.excess_seconds));
    let names: Vec<String> = incident.impacted.iter().take(MOST).map(said).collect();
    write!(out, "  slow only because of it: {}", names.join(", "))?;
    match incident.impacted.len().saturating_sub(MOST) {
        0 => writeln!(out),
        more => writeln!(out, " and {more} more"),
    }
}

fn entry_row(entry: &Entry) -> Vec<String> {
    vec![
        format!("{} of {}", Name(&entry.operation), Name(&entry.service)),
        format!("{} -> {}", duration(entry.baseline_seconds), duration(entry.recent_seconds)),
        format!("{} in all", duration(entry.excess_seconds)),
    ]
}

fn distribution_row(incident: &Incident, one: &Distributions) -> Vec<String> {
    let suspect = incident.suspects.iter().find(|suspect| suspect.service == one.service);
    let operation = suspect.map_or("", |suspect| &suspect.operation);
    let pair = |what: &str, of: fn(&super::client::Quantiles) -> f64| {
        let said = |quantiles: &Option<_>| match quantiles {
            Some(quantiles) => duration(of(quantiles)).to_string(),
            None => "none".to_owned(),
        };
        format!("{what} {} -> {}", said(&one.baseline.quantiles), said(&one.recent.quantiles))
    };
    vec![
        format!("{} of {}", Name(operation), Name(&one.service)),
        pair("median", |quantiles| quantiles.median),
        pair("p99", |quantiles| quantiles.percentile),
        one.threshold_seconds
            .map(|slow| format!("slow above {}", duration(slow)))
            .unwrap_or_default(),
    ]
}

fn suspect_rows(incident: &Incident) -> Vec<Vec<String>> {
    let mut rows: Vec<Vec<String>> = incident.suspects.iter().map(suspect_row).collect();
    if let Some(notes) = rows.first_mut().and_then(|first| first.last_mut()) {
        let _ = write!(notes, ", confidence {}", percent(incident.confidence));
    }
    rows.push(vec![percent(incident.unexplained_share), "put on nobody".to_owned()]);
    rows
}

fn suspect_row(suspect: &Suspect) -> Vec<String> {
    let place = suspect.place.as_ref().map(|place| {
        let share = percent(place.share);
        format!("on {}={} ({share})", Name(&place.attribute), Name(&place.value))
    });
    let calls = format!("{} calls", suspect.calls);
    let notes = [Some(calls), place].into_iter().flatten().collect::<Vec<_>>().join(", ");
    vec![
        percent(suspect.score),
        Name(&suspect.service).to_string(),
        safe(&suspect.kind),
        Name(&suspect.operation).to_string(),
        format!("{}, {}", safe(&suspect.reason), safe(&suspect.pattern)),
        format!("{} -> {}", duration(suspect.baseline_seconds), duration(suspect.recent_seconds)),
        notes,
    ]
}

/// The live view: what is slow, then the operations whose time rose most.
pub struct TopText<'a> {
    /// The state of things.
    pub now: &'a Now,
    /// Operations by rise.
    pub operations: &'a [Operation],
    /// Columns of the terminal.
    pub width: usize,
    /// Its lines.
    pub height: usize,
}

impl TopText<'_> {
    /// The lines from the top, none wider than the terminal, no more than it has.
    pub fn lines(&self) -> Vec<String> {
        let now = self.now;
        let mut text = String::new();
        let judged = now.at.as_deref().map_or_else(|| "nothing judged yet".to_owned(), safe);
        let _ = writeln!(
            text,
            "laghound  judged up to {judged}  {} spans in, {} dropped, {} refused  {} of {} MiB{}",
            now.intake.accepted_spans,
            now.intake.dropped_spans,
            now.intake.refused_spans,
            now.memory.used_bytes >> 20,
            now.memory.limit_bytes >> 20,
            if now.ready { "" } else { "  NOT READY" },
        );
        let _ = writeln!(text, "\n{}", SuspectsText(now));
        let head = ["operation", "service", "normal", "now", "rise", "slow calls"];
        let mut rows = vec![head.map(str::to_owned).to_vec()];
        rows.extend(self.operations.iter().map(operation_row));
        let _ = Table(&rows).write(&mut text);
        let cut = |line: &str| match line.char_indices().nth(self.width) {
            Some((at, _)) => line[..at].to_owned(),
            None => line.to_owned(),
        };
        text.lines().take(self.height).map(cut).collect()
    }
}

fn operation_row(one: &Operation) -> Vec<String> {
    let said = |seconds: Option<f64>| match seconds {
        Some(seconds) => duration(seconds).to_string(),
        None => "-".to_owned(),
    };
    let normal = one.baseline_seconds.map(|quantiles| quantiles.median);
    let recent = one.recent_seconds.map(|quantiles| quantiles.median);
    let rise = normal.zip(recent).map_or_else(
        || "-".to_owned(),
        |(normal, recent)| {
            let sign = if recent < normal { '-' } else { '+' };
            format!("{sign}{}", duration((recent - normal).abs()))
        },
    );
    vec![
        Name(&one.operation).to_string(),
        Name(&one.service).to_string(),
        said(normal),
        said(recent),
        rise,
        format!("{} of {}", one.flagged, one.spans),
    ]
}

fn write_table(out: &mut fmt::Formatter<'_>, rows: &[Vec<String>]) -> fmt::Result {
    Table(rows).write(out)
}

/// Columns as wide as their widest cell, but for the last one of a row; no blanks at the end.
struct Table<'a>(&'a [Vec<String>]);

impl Table<'_> {
    fn write(&self, out: &mut impl Write) -> fmt::Result {
        let mut widths: Vec<usize> = Vec::new();
        for row in self.0 {
            let inner = row.len().saturating_sub(1);
            widths.resize(widths.len().max(inner), 0);
            for (width, cell) in widths.iter_mut().zip(&row[..inner]) {
                *width = (*width).max(cell.chars().count());
            }
        }
        for row in self.0 {
            let mut line = String::new();
            for (at, cell) in row.iter().enumerate() {
                let width = widths.get(at).copied().unwrap_or(0);
                let _ = write!(line, "  {cell:<width$}");
            }
            writeln!(out, "{}", line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::api::tests::answer;

    fn now() -> Now {
        serde_json::from_str(&answer("/api/v1/now")).expect("the API says what is read")
    }

    #[test]
    fn suspects_come_with_the_sentence_and_how_they_were_found() {
        let text = SuspectsText(&now()).to_string();
        let mut lines = text.lines();
        assert!(lines.next().is_some_and(|line| line.starts_with("`cart` makes `GET /cart`")));
        let first = lines.next().expect("a suspect");
        assert!(first.starts_with("  93 %  cart") && first.contains("4.00 ms -> 31.00 ms"));
        let notes = "812 calls, on k8s.pod.name=cart-2 (97 %), confidence 90 %";
        assert!(first.ends_with(notes), "{first}");
        assert_eq!(lines.next(), Some("  7 %   put on nobody"));
        assert_eq!(lines.next(), Some("  slow only because of it: storefront (+12.400 s)"));
        assert_eq!(lines.next(), Some("  laghound incident 1 shows what it rests on"));
    }

    #[test]
    fn without_suspects_the_state_is_said() {
        let mut now = Now { incidents: vec![], last_incident: None, ..now() };
        now.intake.accepted_spans = 1;
        now.learning = false;
        let calm = SuspectsText(&now).to_string();
        assert!(calm.starts_with("Nothing is slower than it should be;"), "{calm}");
        now.operations.learned = 0;
        assert!(SuspectsText(&now).to_string().starts_with("Learning what is normal: 0 of"));
        now.learning = true;
        assert!(SuspectsText(&now).to_string().starts_with("Learning what is normal:"));
        now.intake.accepted_spans = 0;
        assert_eq!(SuspectsText(&now).to_string(), "No span has come in yet.\n");
    }

    #[test]
    fn an_incident_comes_with_all_it_rests_on() {
        let document: IncidentDocument =
            serde_json::from_str(&answer("/api/v1/incidents/1")).expect("is what is read");
        let text = IncidentText(&document).to_string();
        for said in ["Incident 1, since 2026-09-21T", "slow now", "slower:", "self-time", "traces:"]
        {
            assert!(text.contains(said), "{said}\n{text}");
        }
        assert!(text.contains("GET /cart of storefront") && text.contains("slow above 12.00 ms"));
    }

    #[test]
    fn top_keeps_to_the_terminal() {
        let now = now();
        let operations: super::super::client::Operations =
            serde_json::from_str(&answer("/api/v1/operations?sort=rise")).expect("is what is read");
        let view = |width, height| {
            TopText { now: &now, operations: &operations.operations, width, height }.lines()
        };
        let whole = view(500, 500);
        assert!(whole.iter().any(|line| line.trim_start().starts_with("operation")));
        for (width, height) in [(0, 0), (20, 3), (80, 24)] {
            let lines = view(width, height);
            assert!(lines.len() <= height);
            assert!(lines.iter().all(|line| line.chars().count() <= width));
        }
    }

    #[test]
    fn what_another_process_says_cannot_steer_the_terminal() {
        let mut now = now();
        now.incidents[0].sentence = "\u{1b}[2J\u{202e}".to_owned();
        now.incidents[0].suspects[0].reason = "\u{7}".to_owned();
        now.incidents[0].suspects[0].service = "a\u{1b}b".to_owned();
        let text = SuspectsText(&now).to_string();
        let steers = |c: char| (c.is_control() && c != '\n') || c == '\u{202e}';
        assert!(!text.contains(steers), "{text:?}");
    }
}
