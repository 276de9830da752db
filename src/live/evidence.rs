//! What the API shows beyond verdicts, from the running pipeline: kept traces, what is normal for an
//! operation, comparisons.
//!
//! Everything here may wait for a moment and is asked for on threads that may. Recordings that are sent in
//! come from strangers: they have tables of names of their own and limits of their own.

use std::io::Cursor;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;

use super::pipeline::Pipeline;
use super::sides::ReadSide;
use crate::compare::verdict::Comparison;
use crate::compare::{Side, compare};
use crate::engine::dissect::dissect;
use crate::engine::evidence::{KeptTrace, OperationDetail, TraceDetail};
use crate::engine::sampler::Sample;
use crate::model::{InternLimits, Interner, SpanRecord, Timestamp, TraceId};
use crate::otlp::file::{ReadLimits, Reader};
use crate::otlp::{AttributeRules, CostLimits, Interest};
use crate::publish::api::{Beat, Busy, CompareError, Evidence, OperationName, Room, Upload};

/// The evidence of a running server.
pub struct LiveEvidence {
    pipeline: Arc<Pipeline>,
    interest: Interest,
    /// Bytes of kept traces.
    room: usize,
    /// Bytes of two recordings together.
    max_upload: usize,
}

/// The judge answers between two slices; one slice of a large system takes it some hundred milliseconds.
const PATIENCE: Duration = Duration::from_secs(3);
/// By how much a recording may grow when it is unpacked: traces as JSON shrink to a twentieth.
pub(super) const UNPACKED: usize = 8;
/// Spans of one recording that is sent in: one comparison of so many takes a second or two.
const MAX_SPANS: usize = 500_000;

impl LiveEvidence {
    /// The evidence of `pipeline`.
    pub fn new(
        pipeline: Arc<Pipeline>,
        interest: Interest,
        room: usize,
        max_upload: usize,
    ) -> LiveEvidence {
        LiveEvidence { pipeline, interest, room, max_upload }
    }

    fn sample(&self, trace: TraceId) -> Result<Arc<Sample>, CompareError> {
        self.pipeline.kept().find(trace).ok_or(CompareError::NotKept(trace))
    }

    fn read(
        &self,
        upload: Upload,
        names: &Arc<Interner>,
        rules: &Arc<AttributeRules>,
    ) -> Result<ReadSide, CompareError> {
        let unpacked = self.max_upload.saturating_mul(UNPACKED);
        let limits = ReadLimits {
            message_bytes: unpacked,
            cost: CostLimits { spans: MAX_SPANS, ..CostLimits::default() },
            total_bytes: unpacked as u64,
        };
        let (names, rules) = (Arc::clone(names), Arc::clone(rules));
        Reader::new(&upload.name, Cursor::new(upload.content), names, rules, limits)
            .and_then(ReadSide::read)
            .map_err(|error| CompareError::Unreadable(error.to_string()))
    }
}

impl Evidence for LiveEvidence {
    fn now(&self) -> Timestamp {
        self.pipeline.now()
    }

    fn beats(&self) -> watch::Receiver<Beat> {
        self.pipeline.beats()
    }

    fn operation(&self, operation: &OperationName) -> Result<Option<OperationDetail>, Busy> {
        self.pipeline.ask(operation.clone(), PATIENCE)
    }

    fn kept(&self, incident: Option<u64>) -> Vec<KeptTrace> {
        let (kept, names) = (self.pipeline.kept(), self.pipeline.names());
        match incident {
            Some(id) => kept.of_incident(id, names),
            None => kept.all(names),
        }
    }

    fn trace(&self, trace: TraceId) -> Option<TraceDetail> {
        let sample = self.sample(trace).ok()?;
        dissect(trace, &sample.spans, self.pipeline.names())
    }

    fn normal_for(&self, trace: TraceId) -> Option<TraceId> {
        let kept = self.pipeline.kept();
        let sample = kept.find(trace)?;
        let normal = kept.typical_for(&sample)?.trace;
        (normal != trace).then_some(normal)
    }

    fn compare_kept(&self, baseline: TraceId, spiked: TraceId) -> Result<Comparison, CompareError> {
        let sides = [self.sample(baseline)?, self.sample(spiked)?].map(|sample| side(&sample));
        compare(self.pipeline.names(), &sides[0], &sides[1])
            .map_err(|error| CompareError::Unreadable(error.to_string()))
    }

    fn compare_uploads(
        &self,
        baseline: Upload,
        spiked: Upload,
    ) -> Result<Comparison, CompareError> {
        // The names of strangers' files do not enter the table that lives as long as the process.
        let names = Arc::new(Interner::new(InternLimits {
            operations: MAX_SPANS,
            operations_per_service: MAX_SPANS,
            ..InternLimits::default()
        }));
        let rules = Arc::new(AttributeRules::new(&self.interest, &names));
        let of = [baseline.name.clone(), spiked.name.clone()];
        let baseline = self.read(baseline, &names, &rules)?;
        let spiked = self.read(spiked, &names, &rules)?;
        let mut comparison = compare(&names, &baseline.side, &spiked.side).map_err(|error| {
            let empty = if baseline.side.traces() == 0 { &of[0] } else { &of[1] };
            CompareError::Unreadable(format!("{empty}: {error}"))
        })?;
        comparison.warnings.extend(baseline.complaints("baseline"));
        comparison.warnings.extend(spiked.complaints("spiked"));
        Ok(comparison)
    }

    fn room(&self) -> Room {
        let kept = self.pipeline.kept();
        Room {
            bytes: kept.bytes() as u64,
            limit_bytes: self.room as u64,
            turned_away: kept.turned_away(),
        }
    }
}

fn side(sample: &Sample) -> Side {
    let mut side = Side::default();
    for &span in &sample.spans {
        side.span(SpanRecord { trace: sample.trace, span });
    }
    side
}
