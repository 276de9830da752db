//! What every target does with what it read: it must make sense, and the engine must bear it.

use std::sync::Arc;

use laghound::engine::EngineParams;
use laghound::live::replay::Replay;
use laghound::model::{InternLimits, Interner, SpanRecord};
use laghound::otlp::file::{ReadLimits, Reader};
use laghound::otlp::{AttributeRules, CostLimits, Interest};

/// Names and rules for one run.
pub fn names() -> (Arc<Interner>, Arc<AttributeRules>) {
    let names = Arc::new(Interner::new(InternLimits::default()));
    let rules = Arc::new(AttributeRules::new(&Interest::default(), &names));
    (names, rules)
}

/// Small enough that a run stays fast.
pub fn limits() -> CostLimits {
    CostLimits { spans: 1_000, elements: 10_000 }
}

/// A span that exists is valid, and every span given to the engine is accounted for.
pub fn judge(records: &[SpanRecord], names: Arc<Interner>) {
    assert!(records.iter().all(|record| record.span.end >= record.span.start));
    let mut replay = Replay::new(EngineParams::default(), names, 2);
    replay.message(records);
    replay.finish();
    let account = replay.account();
    assert!(account.balances(), "{account:?}");
    assert_eq!((account.accepted, account.pending_spans), (records.len() as u64, 0));
}

/// Reads bytes as a file of whatever format they look like.
#[allow(dead_code)] // not every target reads files
pub fn read(bytes: &[u8]) {
    let (names, rules) = names();
    let limits = ReadLimits { message_bytes: 1 << 20, cost: limits(), total_bytes: 1 << 26 };
    let input = std::io::Cursor::new(bytes.to_vec());
    let Ok(reader) = Reader::new("input", input, Arc::clone(&names), rules, limits) else { return };
    let mut records = Vec::new();
    for message in reader {
        let Ok(message) = message else { break };
        records.extend(message.batch.spans);
    }
    judge(&records, names);
}
