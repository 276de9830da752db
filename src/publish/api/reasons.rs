//! Why something was refused or dropped, in words, with what can be done about it.
//!
//! The words belong to label values that other rooms made; a reason without words is shown by its label.

/// What a reason means and what to do.
pub(super) fn explained(reason: &str) -> &'static str {
    match reason {
        // Accepted, not analyzed.
        "duplicate" => {
            "the span's id had been seen before in its trace: senders retry, collectors fan out"
        }
        "late" => "its trace had been closed and judged: raise assembly.grace if this is common",
        "too_old" => "it ended too long before it arrived (assembly.max_span_age)",
        "from_future" => "it ends in the future: the sender's clock is wrong",
        "trace_too_large" => {
            "its trace held as many spans as a trace may (assembly.max_spans_per_trace)"
        }
        // Refused.
        "overload" => "too much at once: senders were told to come again (receiver.max_in_flight)",
        "too_large" => "the request is larger than allowed (receiver.max_request_size)",
        "invalid_trace_id" => "the trace id is missing, all zero or too short",
        "invalid_span_id" => "the span id is missing, all zero or too short",
        "invalid_parent_span_id" => "the parent span id has the wrong length",
        "end_before_start" => "the span ends before it starts",
        // Traces closed.
        "complete" => "its root was there and it had gone quiet",
        "idle" => "it had gone quiet without a root: spans are missing",
        "max_age" => "it had been open for as long as a trace may (assembly.max_trace_age)",
        "limit" => {
            "room was needed: its late spans are lost (assembly.max_traces, assembly.max_spans)"
        }
        "shutdown" => "the process ended",
        _ => "",
    }
}
