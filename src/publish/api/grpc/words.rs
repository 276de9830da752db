//! Kinds, times, counts and distributions as messages say them.
//!
//! One table for each kind of thing, read in both directions.

use prost_types::Timestamp as WireTime;

use super::super::answer::Problem;
use super::v1;
use crate::engine::evidence::{Buckets, Role, Stretch};
use crate::engine::verdict::{Board, Pattern, Quantiles, Reason, SuspectKind, Where};
use crate::model::{SpanKind, Timestamp, TraceId};
use crate::publish::words::{nanos, rounded};

const NANOS_PER_SECOND: u64 = 1_000_000_000;

const SUSPECT_KINDS: [(SuspectKind, v1::SuspectKind); 3] = [
    (SuspectKind::Service, v1::SuspectKind::Service),
    (SuspectKind::Dependency, v1::SuspectKind::Dependency),
    (SuspectKind::Edge, v1::SuspectKind::Edge),
];

pub(super) const TRACE_ROLES: [(Role, v1::TraceRole); 4] = [
    (Role::Typical, v1::TraceRole::Typical),
    (Role::Slowest, v1::TraceRole::Slowest),
    (Role::Newest, v1::TraceRole::Newest),
    (Role::Recent, v1::TraceRole::Recent),
];

/// How many of something; what does not fit is as many as there can be.
pub(super) fn count(number: usize) -> u32 {
    u32::try_from(number).unwrap_or(u32::MAX)
}

pub(super) fn time(at: Timestamp) -> Option<WireTime> {
    let (seconds, nanos) = (at.0 / NANOS_PER_SECOND, at.0 % NANOS_PER_SECOND);
    let (seconds, nanos) = (i64::try_from(seconds).ok()?, i32::try_from(nanos).ok()?);
    Some(WireTime { seconds, nanos })
}

pub(super) fn instant(name: &str, at: Option<WireTime>) -> Result<Option<Timestamp>, Problem> {
    let Some(at) = at else { return Ok(None) };
    let found = || {
        let nanos = u64::try_from(at.nanos).ok().filter(|nanos| *nanos < NANOS_PER_SECOND)?;
        let seconds = u64::try_from(at.seconds).ok()?.checked_mul(NANOS_PER_SECOND)?;
        Some(Timestamp(seconds.checked_add(nanos)?))
    };
    let complain = || Problem::bad_request(format!("{name} is no time between 1970 and 2554"));
    found().map(Some).ok_or_else(complain)
}

pub(super) fn suspect_kind(number: i32) -> Result<Option<SuspectKind>, Problem> {
    if number == 0 {
        return Ok(None);
    }
    let found = SUSPECT_KINDS.into_iter().find(|(_, said)| *said as i32 == number);
    let complain = || Problem::bad_request(format!("kind {number} is unknown here"));
    found.map(|(kind, _)| Some(kind)).ok_or_else(complain)
}

/// Numbered as OTLP numbers them.
pub(super) fn span_kind(number: i32) -> Result<Option<SpanKind>, Problem> {
    if number == 0 {
        return Ok(None);
    }
    let found = SpanKind::ALL.into_iter().find(|kind| said_span_kind(*kind) == number);
    let complain = || Problem::bad_request(format!("span_kind {number} is unknown here"));
    found.map(Some).ok_or_else(complain)
}

pub(super) fn said_suspect_kind(kind: SuspectKind) -> i32 {
    SUSPECT_KINDS.into_iter().find(|(known, _)| *known == kind).map_or(0, |(_, said)| said as i32)
}

pub(super) fn said_span_kind(kind: SpanKind) -> i32 {
    v1::SpanKind::from_str_name(kind.as_str()).map_or(0, |said| said as i32)
}

pub(super) fn said_role(role: Role) -> i32 {
    TRACE_ROLES.into_iter().find(|(known, _)| *known == role).map_or(0, |(_, said)| said as i32)
}

pub(super) fn said_reason(reason: Reason) -> v1::Reason {
    match reason {
        Reason::SelfTime => v1::Reason::SelfTime,
        Reason::CallGap => v1::Reason::CallGap,
        Reason::CallCount => v1::Reason::CallCount,
        Reason::LostParallelism => v1::Reason::LostParallelism,
        Reason::NewOperation => v1::Reason::NewOperation,
    }
}

pub(super) fn said_pattern(pattern: Pattern) -> v1::Pattern {
    match pattern {
        Pattern::Sustained => v1::Pattern::Sustained,
        Pattern::Intermittent => v1::Pattern::Intermittent,
    }
}

pub(super) fn ids(traces: &[TraceId]) -> Vec<String> {
    traces.iter().map(ToString::to_string).collect()
}

impl From<&Board> for v1::Head {
    fn from(board: &Board) -> v1::Head {
        let judged = (board.at > Timestamp::default()).then_some(board.at);
        v1::Head { at: judged.and_then(time), learning: board.learning }
    }
}

impl From<&Where> for v1::Where {
    fn from(place: &Where) -> v1::Where {
        v1::Where {
            attribute: place.attribute.to_string(),
            value: place.value.to_string(),
            share: rounded(place.share),
        }
    }
}

impl From<Quantiles> for v1::Quantiles {
    fn from(quantiles: Quantiles) -> v1::Quantiles {
        let [p50, p90, p99] = quantiles.map(rounded);
        v1::Quantiles { p50, p90, p99 }
    }
}

impl From<&Buckets> for v1::Buckets {
    fn from(buckets: &Buckets) -> v1::Buckets {
        let bucket = |bar: crate::engine::evidence::Bar| v1::Bucket {
            low_seconds: bar.low_seconds,
            high_seconds: bar.high_seconds,
            count: bar.count,
        };
        v1::Buckets {
            count: buckets.count(),
            quantiles: buckets.quantiles().map(Into::into),
            buckets: buckets.bars().map(bucket).collect(),
        }
    }
}

impl From<&Stretch> for v1::Stretch {
    fn from(stretch: &Stretch) -> v1::Stretch {
        v1::Stretch {
            from_seconds: nanos(stretch.from_seconds),
            to_seconds: nanos(stretch.to_seconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_word_that_leads_back_to_it() {
        for kind in [SuspectKind::Service, SuspectKind::Dependency, SuspectKind::Edge] {
            assert_eq!(suspect_kind(said_suspect_kind(kind)), Ok(Some(kind)));
        }
        for kind in SpanKind::ALL.into_iter().filter(|kind| said_span_kind(*kind) != 0) {
            assert_eq!(span_kind(said_span_kind(kind)), Ok(Some(kind)));
        }
        assert_eq!((suspect_kind(0), span_kind(0)), (Ok(None), Ok(None)));
        assert!(suspect_kind(9).is_err() && span_kind(-1).is_err());
    }

    #[test]
    fn times_come_back_as_they_went_and_what_is_none_is_refused() {
        for nanos in [0, 1, 1_790_000_000_045_999_999, u64::MAX] {
            assert_eq!(instant("since", time(Timestamp(nanos))), Ok(Some(Timestamp(nanos))));
        }
        assert_eq!(instant("since", None), Ok(None));
        for (seconds, nanos) in [(-1, 0), (0, -1), (0, 1_000_000_000), (i64::MAX, 0)] {
            let refused = instant("since", Some(WireTime { seconds, nanos })).unwrap_err();
            assert!(refused.detail.starts_with("since is no time"), "{seconds} {nanos}");
        }
    }
}
