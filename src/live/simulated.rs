//! What a simulated shop sends, as any exporter would.
//!
//! Here because the simulator knows nothing of OTLP, and OTLP nothing of the simulator.

use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;

use crate::otlp::send::{OutgoingSpan, request};
use crate::sim::SimSpan;

/// One request of all these spans.
pub fn exported(spans: &[SimSpan]) -> ExportTraceServiceRequest {
    let texts: Vec<Texts<'_>> = spans.iter().map(Texts::of).collect();
    let outgoing: Vec<OutgoingSpan<'_>> =
        spans.iter().zip(&texts).map(|(span, texts)| texts.outgoing(span)).collect();
    request(&outgoing)
}

/// A span's attributes as (name, value).
struct Texts<'a> {
    resource: Vec<(&'a str, &'a str)>,
    attributes: Vec<(&'a str, &'a str)>,
}

impl<'a> Texts<'a> {
    fn of(span: &'a SimSpan) -> Texts<'a> {
        let resource = span.resource.attributes().into_iter();
        let attributes = span.attributes.iter();
        Texts {
            resource: resource.map(|(name, value)| (name, &**value)).collect(),
            attributes: attributes.map(|(name, value)| (&**name, &**value)).collect(),
        }
    }

    fn outgoing(&'a self, span: &'a SimSpan) -> OutgoingSpan<'a> {
        OutgoingSpan {
            service: &span.resource.service,
            resource: &self.resource,
            trace: span.trace,
            id: span.id,
            parent: span.parent,
            name: &span.name,
            kind: span.kind,
            start: span.start,
            end: span.end,
            attributes: &self.attributes,
            failed: span.failed,
        }
    }
}
