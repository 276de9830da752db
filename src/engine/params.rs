//! Every number the engine goes by, with its reason. `config` may change the ones users can own;
//! the rest are properties of the method.

use crate::model::Nanos;

/// How traces are put together.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AssemblyParams {
    /// A trace whose root is there closes after this long without a new span. SDKs flush every 5 s,
    /// each service at its own time, so children may come that much after their root.
    pub grace: Nanos,
    /// A trace without a root closes after this long without a new span.
    pub idle: Nanos,
    /// A trace closes at this age, whatever still comes.
    pub max_age: Nanos,
    /// For how long a closed trace is remembered, so that what comes later is known to be late.
    pub remember: Nanos,
    /// Spans that ended longer before their arrival than this are too old to be judged.
    pub max_span_age: Nanos,
    /// Spans that end further in the future than this come from a broken clock.
    pub max_span_ahead: Nanos,
    /// Open traces, over all shards.
    pub max_traces: usize,
    /// Spans of one trace.
    pub max_spans_per_trace: usize,
    /// Buffered spans, over all shards.
    pub max_spans: usize,
}

impl Default for AssemblyParams {
    fn default() -> AssemblyParams {
        AssemblyParams {
            grace: Nanos::from_secs(5),
            idle: Nanos::from_secs(30),
            max_age: Nanos::from_secs(120),
            remember: Nanos::from_secs(300),
            max_span_age: Nanos::from_secs(300),
            max_span_ahead: Nanos::from_secs(60),
            max_traces: 200_000,
            max_spans_per_trace: 10_000,
            max_spans: 4_000_000,
        }
    }
}
