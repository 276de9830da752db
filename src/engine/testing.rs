//! Spans for the room's own tests, written in a few words: ids and times are small numbers.

use super::cohort::{Cohorts, SetVerdict, TraceSpans};
use crate::model::{
    AttrSetId, Interner, Key, KeyId, Span, SpanId, SpanKind, Sym, Timestamp, TraceId,
};

/// A span to be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Draft {
    id: u64,
    parent: u64,
    key: Key,
    start: u64,
    end: u64,
    failed: bool,
}

/// A span of an operation that has a name; parent 0 means none.
pub(crate) fn span(id: u64, parent: u64, key: KeyId, (start_ms, end_ms): (u64, u64)) -> Span {
    const MS: u64 = 1_000_000;
    Span {
        id: SpanId::new(id).expect("tests number spans from 1"),
        parent: SpanId::new(parent),
        start: Timestamp(start_ms * MS),
        end: Timestamp(end_ms * MS),
        key,
        peer: None,
        attrs: AttrSetId::EMPTY,
        failed: false,
    }
}

/// What is said of two sets of traces, the normal one first.
pub(crate) fn compared(names: &Interner, sides: &[Vec<(TraceId, Vec<Span>)>; 2]) -> SetVerdict {
    let [before, after] = sides.each_ref().map(|side| -> Vec<TraceSpans<'_>> {
        side.iter().map(|(trace, spans)| TraceSpans { trace: *trace, spans }).collect()
    });
    Cohorts::new(names, &before, &after).verdict()
}

/// A service by number.
pub(crate) fn service(number: u32) -> Sym {
    Sym(number)
}

impl Draft {
    /// An internal span; parent 0 means none.
    pub(crate) fn new(id: u64, parent: u64, service: Sym) -> Draft {
        let key = Key { service, name: Sym(1000), kind: SpanKind::Internal };
        Draft { id, parent, key, start: 0, end: 0, failed: false }
    }

    pub(crate) fn times(self, start: u64, end: u64) -> Draft {
        Draft { start, end, ..self }
    }

    pub(crate) fn server(self) -> Draft {
        self.kind(SpanKind::Server)
    }

    pub(crate) fn client(self) -> Draft {
        self.kind(SpanKind::Client)
    }

    pub(crate) fn producer(self) -> Draft {
        self.kind(SpanKind::Producer)
    }

    pub(crate) fn consumer(self) -> Draft {
        self.kind(SpanKind::Consumer)
    }

    pub(crate) fn failed(self) -> Draft {
        Draft { failed: true, ..self }
    }

    fn kind(self, kind: SpanKind) -> Draft {
        Draft { key: Key { kind, ..self.key }, ..self }
    }

    /// The spans, and the keys that their `KeyId`s index.
    pub(crate) fn build(drafts: &[Draft]) -> (Vec<Span>, Vec<Key>) {
        let keys: Vec<Key> = drafts.iter().map(|draft| draft.key).collect();
        let first = |draft: &Draft| keys.iter().position(|key| *key == draft.key);
        let spans = drafts.iter().map(|draft| Span {
            id: SpanId::new(draft.id).expect("tests number spans from 1"),
            parent: SpanId::new(draft.parent),
            start: Timestamp(draft.start),
            end: Timestamp(draft.end),
            key: KeyId(
                first(draft).and_then(|at| u32::try_from(at).ok()).expect("tests are small"),
            ),
            peer: None,
            attrs: AttrSetId::EMPTY,
            failed: draft.failed,
        });
        (spans.collect(), keys.clone())
    }
}
