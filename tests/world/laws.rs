//! What must hold in every world after every step.

use std::collections::BTreeSet;
use std::sync::Arc;

use laghound::engine::Engine;
use laghound::engine::account::{CloseReason, DropReason};
use laghound::engine::verdict::{Board, Incident};
use laghound::live::snapshot::image::Image;
use laghound::live::snapshot::store::Found;
use laghound::model::Interner;
use laghound::publish::ledger::{Ledger, Transport};
use laghound::publish::metrics_page::MetricsPage;
use laghound::publish::{Format, exposition};

use super::World;

/// Looks at the books and at the board.
pub fn check(world: &mut World) {
    account(world);
    let board = world.life.engine.board();
    self::board(&board);
    follows(&world.life.board, &board);
    world.life.board = board;
}

/// Every span is somewhere, counters only grow, limits hold.
fn account(world: &mut World) {
    let after = world.life.engine.account();
    let before = &world.life.before;
    assert!(after.balances(), "{after:?}");
    assert_eq!(after.accepted, world.life.handed_in);
    assert!(after.analyzed >= before.analyzed);
    for reason in DropReason::ALL {
        assert!(after.dropped.get(&reason) >= before.dropped.get(&reason), "{reason:?}");
    }
    for reason in CloseReason::ALL {
        assert!(after.closed.get(&reason) >= before.closed.get(&reason), "{reason:?}");
    }
    let assembly = &world.setup.params.assembly;
    // Each of at most three shards rounds its part of the limits up.
    assert!(after.pending_spans <= assembly.max_spans as u64 + 3);
    assert!(after.pending_traces <= assembly.max_traces as u64 + 3);
    assert_eq!(after.pending_traces == 0, after.pending_spans == 0);
    world.life.before = after;
}

/// What is published at one moment makes sense in itself.
fn board(board: &Board) {
    assert!(board.open.len() <= 1);
    for incident in board.open.iter().chain(&board.closed) {
        self::incident(incident);
    }
    assert!(board.open.iter().all(|incident| incident.end.is_none()));
    assert!(board.closed.iter().all(|incident| incident.end.is_some()));
    let ids: Vec<u64> =
        board.open.iter().chain(&board.closed).map(|incident| incident.id).collect();
    assert!(ids.is_sorted_by(|newer, older| newer > older), "{ids:?}");
    let operations = &board.operations;
    let key = |at: usize| (&operations[at].service, &operations[at].name, operations[at].kind);
    assert!((1..operations.len()).all(|at| key(at - 1) < key(at)), "sorted, each once");
    for operation in operations {
        assert!(operation.flagged <= operation.spans, "{operation:?}");
        assert_eq!(operation.threshold.is_some(), operation.baseline.is_some());
        let quantiles = operation.baseline.into_iter().chain(operation.recent);
        for quantiles in quantiles {
            assert!(quantiles.iter().all(|q| q.is_finite() && *q >= 0.0) && quantiles.is_sorted());
        }
        assert!(operation.threshold.is_none_or(|threshold| threshold.is_finite()));
    }
    let seconds = board.excess.iter().map(|row| row.seconds);
    let seconds = seconds.chain(board.entry_excess.iter().map(|row| row.seconds));
    assert!(
        seconds.chain(board.detection_delays.iter().copied()).all(|s| s.is_finite() && s >= 0.0)
    );
    let of_suspects: f64 = board.excess.iter().map(|row| row.seconds).sum();
    let of_entries: f64 = board.entry_excess.iter().map(|row| row.seconds).sum();
    // Rows are rounded to the nanosecond one by one.
    assert!(of_suspects <= of_entries * (1.0 + 1e-9) + 1e-6, "{of_suspects} of {of_entries}");
}

fn incident(incident: &Incident) {
    assert!(incident.id > 0 && incident.start <= incident.detected, "{incident:?}");
    assert!(incident.end.is_none_or(|end| end >= incident.start), "{incident:?}");
    assert!(incident.excess_seconds.is_finite() && incident.excess_seconds >= 0.0);
    assert!((0.0..=1.0).contains(&incident.unexplained_share), "{incident:?}");
    assert!(!incident.suspects.is_empty());
    let mut shares = incident.unexplained_share;
    for (rank, suspect) in (1..).zip(&incident.suspects) {
        assert!(suspect.rank == rank && suspect.score > 0.0 && suspect.score <= 1.0 + 1e-9);
        assert!(suspect.baseline_seconds.is_finite() && suspect.recent_seconds.is_finite());
        assert!(suspect.baseline_seconds >= 0.0 && suspect.recent_seconds >= 0.0);
        shares += suspect.score;
    }
    assert!(shares <= 1.0 + 1e-6, "{incident:?}");
    let scores: Vec<f64> = incident.suspects.iter().map(|suspect| suspect.score).collect();
    assert!(scores.is_sorted_by(|more, less| more >= less), "{scores:?}");
}

/// What is published later in the same life goes on from before.
fn follows(before: &Board, after: &Board) {
    let newest = |board: &Board| {
        board.open.iter().chain(&board.closed).map(|incident| incident.id).max().unwrap_or(0)
    };
    assert!(newest(after) >= newest(before));
    for was in &before.open {
        let ids = after.open.iter().chain(&after.closed);
        let is = ids.into_iter().find(|incident| incident.id == was.id);
        // Closed ones are forgotten by number only once there are too many of them.
        if let Some(is) = is {
            assert_eq!((is.start, is.detected), (was.start, was.detected));
        }
    }
    for was in &before.operations {
        let key = (&was.service, &was.name, was.kind);
        if let Some(now) =
            after.operations.iter().find(|now| (&now.service, &now.name, now.kind) == key)
        {
            assert!(now.spans >= was.spans && now.flagged >= was.flagged, "{was:?} {now:?}");
        }
    }
}

/// A scrape: the law of the books, the limit of series, the same page twice.
pub fn scrape(world: &mut World) {
    world.tally.scrapes += 1;
    let board = world.life.engine.board();
    let account = world.life.engine.account();
    let ledger = Ledger {
        accepted: [(Transport::Grpc, account.accepted)].into(),
        analyzed: account.analyzed,
        dropped: account.dropped.iter().map(|(reason, count)| (reason.as_str(), *count)).collect(),
        pending_spans: account.pending_spans,
        pending_traces: account.pending_traces,
        ..Ledger::default()
    };
    const MAX_SERIES: usize = 200;
    for format in [Format::Text, Format::OpenMetrics] {
        let mut text = String::new();
        let counts =
            exposition::write(&board, &exposition::Limits::new(MAX_SERIES), format, &mut text);
        let lines = || text.lines().filter(|line| !line.starts_with('#'));
        let series = lines().map(|line| line.split(" # ").next().and_then(|l| l.rsplit_once(' ')));
        let distinct: BTreeSet<&str> =
            series.map(|series| series.expect("a series and its value").0).collect();
        assert_eq!(distinct.len(), lines().count(), "no series twice");
        assert!(counts.iter().all(|count| count.series <= count.limit));
    }
    // The process's own figures differ from look to look; that it can be written at all is what counts.
    let page = MetricsPage::new(exposition::Limits::new(MAX_SERIES));
    assert!(!page.render(&board, &ledger, Format::Text).is_empty());
}

/// What a starting process found is the last snapshot acknowledged or one tried since, whole; and what
/// is restored from it is what was saved.
pub fn check_found(world: &World, found: &Found) {
    let image = match found {
        Found::Nothing => return assert!(!world.acknowledged, "an acknowledged snapshot is gone"),
        Found::Image(image) => image,
        other => panic!("{other:?}"),
    };
    let saved = world.saved.iter().find(|saved| saved.image == *image);
    let saved = saved.expect("it is one of those that were saved since the last acknowledged one");
    let (engine, again) = restored(world, image);
    let board = engine.board();
    assert_eq!(bare(&board.open), bare(&saved.board.open));
    assert_eq!(bare(&board.closed), bare(&saved.board.closed));
    assert_eq!(board.at, saved.board.at);
    assert!(again == *image, "saving what was restored gives the same bytes");
}

/// Incidents as they are saved: without what they rest on.
pub fn bare(incidents: &[Incident]) -> Vec<Incident> {
    let bare = |incident: &Incident| Incident { evidence: Arc::default(), ..incident.clone() };
    incidents.iter().map(bare).collect()
}

/// A process on this image at the very moment it was taken, and what it would save.
fn restored(world: &World, image: &Image) -> (Engine, Image) {
    let names = Arc::new(Interner::new(world.setup.names));
    let mut content = image.content().expect("the decoder has memory");
    let at = image.saved_at();
    let restored = Engine::restore(world.setup.params, names, 2, &mut content, at, at);
    let engine = restored.expect("what was saved can be restored").engine;
    let again = Image::take(at, |out| engine.save(out)).expect("memory takes it all");
    (engine, again)
}
