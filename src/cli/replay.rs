//! `laghound replay FILE...`: what would have been said about recorded traffic?
//!
//! Reads the files side by side, in the order of their messages' times, so that the parts of a
//! recording, or the recordings of several senders, are one stream whatever their order on the command
//! line. The analysis is the engine's; the words are those of `publish`.

use std::collections::BTreeMap;
use std::sync::Arc;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::args::{Format, ReplayArgs};
use super::{CliError, load, print};
use crate::config::{Config, Environment};
use crate::engine::EngineParams;
use crate::live::replay::Replay;
use crate::model::{Interner, Timestamp};
use crate::otlp::file::{FileError, Message, ReadLimits, Reader};
use crate::otlp::{AttributeRules, Defects};
use crate::publish::report::{Accounting, ReplayReport};

/// Reads the files, judges them, prints what was found.
///
/// # Errors
/// [`CliError::Usage`] if a file cannot be read or understood.
pub fn run(args: &ReplayArgs, environment: Environment) -> Result<(), CliError> {
    let loaded = load(&args.config, environment)?;
    for warning in &loaded.warnings {
        eprintln!("warning: {warning}");
    }
    let report = replay(args, &loaded.config).map_err(CliError::usage)?;
    match args.format {
        Format::Json => print(&report.to_json()),
        Format::Text => print(&report.to_string()),
    }
}

fn replay(args: &ReplayArgs, config: &Config) -> Result<ReplayReport, FileError> {
    let names = Arc::new(Interner::new(config.intern_limits()));
    let rules = Arc::new(AttributeRules::new(&config.interest(), &names));
    let mut streams = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let limits = ReadLimits::default();
        let reader = Reader::open(path, Arc::clone(&names), Arc::clone(&rules), limits)?;
        streams.push(Stream::new(reader)?);
    }
    let progress = progress_bar(&streams);
    // A recording may be long, and what it says is the result: nothing is forgotten.
    let params = EngineParams { max_incidents: 100_000, ..config.engine_params() };
    let mut replay = Replay::new(params, names, 1);
    let mut defects: BTreeMap<&'static str, u64> = BTreeMap::new();
    while let Some(message) = next(&mut streams)? {
        count(&message.batch.defects, &mut defects);
        replay.message(&message.batch.spans);
        progress.set_position(streams.iter().map(|stream| stream.reader.bytes_read()).sum());
    }
    replay.finish();
    progress.finish_and_clear();
    Ok(report(&replay, &defects))
}

/// A file and its next message.
struct Stream {
    reader: Reader,
    next: Option<Message>,
    /// When the next message was complete; that of the one before if it has no span.
    at: Timestamp,
}

impl Stream {
    fn new(reader: Reader) -> Result<Stream, FileError> {
        let mut stream = Stream { reader, next: None, at: Timestamp::default() };
        stream.advance()?;
        Ok(stream)
    }

    fn advance(&mut self) -> Result<Option<Message>, FileError> {
        let message = std::mem::replace(&mut self.next, self.reader.next().transpose()?);
        let spans = self.next.iter().flat_map(|message| &message.batch.spans);
        self.at = spans.map(|record| record.span.end).max().unwrap_or(self.at);
        Ok(message)
    }
}

/// The earliest of the streams' next messages.
fn next(streams: &mut [Stream]) -> Result<Option<Message>, FileError> {
    let open = streams.iter_mut().filter(|stream| stream.next.is_some());
    match open.min_by_key(|stream| stream.at) {
        Some(earliest) => earliest.advance(),
        None => Ok(None),
    }
}

fn count(defects: &Defects, into: &mut BTreeMap<&'static str, u64>) {
    for (defect, count) in defects.iter() {
        *into.entry(defect.reason()).or_default() += count;
    }
}

fn report(replay: &Replay, defects: &BTreeMap<&'static str, u64>) -> ReplayReport {
    let account = replay.account();
    let mut dropped = defects.clone();
    for (reason, count) in &account.dropped {
        *dropped.entry(reason.as_str()).or_default() += count;
    }
    let accepted = account.accepted + defects.values().sum::<u64>();
    let range = replay.range();
    ReplayReport {
        spans: accepted,
        traces: account.closed.values().sum(),
        from: range.map(|(from, _)| from),
        to: range.map(|(_, to)| to),
        accounting: Accounting { accepted, analyzed: account.analyzed, dropped },
        incidents: replay.incidents(),
        learning: replay.engine().board().learning,
    }
}

/// On a terminal, how far reading has come; elsewhere nothing.
fn progress_bar(streams: &[Stream]) -> ProgressBar {
    let sizes: Option<Vec<u64>> =
        streams.iter().map(|stream| stream.reader.total_bytes()).collect();
    let bar = match sizes {
        Some(sizes) => ProgressBar::new(sizes.iter().sum()),
        None => ProgressBar::no_length(),
    };
    let template = "{bar:40} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(10));
    bar
}
