//! The spans that the bench sends: realistic in size, in names and in the order they come.
//!
//! A trace is a tree of SERVER spans joined by CLIENT spans, its spans belong to several services and
//! leave them leaf first, in batches of one process each. So the spans of one trace come in different
//! requests, over different connections, with those of thousands of other traces between them; how many
//! traces are under way at once is a parameter. Encoded from templates by patching identifiers and times:
//! a span costs the sender less than any server it is sent to. Nothing here is part of the product.

use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message as _;

use crate::template::{Hole, Template, resource_of, scope_of, span_of};

/// What the spans are like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Operations (service, span name, kind) in use.
    pub(crate) keys: usize,
    /// Spans of a trace.
    pub(crate) trace: usize,
    /// Traces whose last span has not left yet.
    pub(crate) open: usize,
    /// Spans of a request.
    pub(crate) batch: usize,
}

impl Shape {
    /// What most tables are about.
    pub(crate) const USUAL: Shape = Shape { keys: 10_000, trace: 8, open: 100_000, batch: 512 };
}

/// An OTLP message and how many spans it holds.
pub(crate) struct Request {
    /// `ExportTraceServiceRequest`, encoded.
    pub(crate) message: Vec<u8>,
    /// Its spans.
    pub(crate) spans: usize,
}

/// The endless stream of requests.
pub(crate) struct Stream {
    shape: Shape,
    seed: u64,
    kinds: Vec<TraceKind>,
    processes: Vec<Process>,
    /// Spans of one process in one request, and how many processes share a request.
    chunk: usize,
    chunks: usize,
    /// A trace begins at every step.
    step: u64,
    /// The spans of this step that have left.
    slot: usize,
    /// When the traces under way began, by step.
    begun: Vec<u64>,
}

/// Traces of one kind have the same tree and the same operations.
struct TraceKind {
    slots: Vec<Slot>,
}

/// A span of a tree, in the order in which spans end.
struct Slot {
    template: Template,
    parent: Option<usize>,
    /// The first span to end in its subtree: what ended before that one, ended before this one began.
    first: usize,
    depth: u64,
    service: usize,
}

/// A process with spans to send.
struct Process {
    resource: Vec<u8>,
    spans: Vec<u8>,
    count: usize,
}

/// Processes of a service.
const INSTANCES: usize = 2;
/// Spans that one process sends at once, at most: the default of the SDKs.
const SDK_BATCH: usize = 512;
/// How long a trace takes.
const TRACE_NANOS: u64 = 100_000_000;
/// The size of a span on the wire, its share of resource and scope included.
pub(crate) const SPAN_BYTES: usize = 439;

impl Stream {
    /// A stream. Streams with different seeds have no trace in common.
    pub(crate) fn new(shape: Shape, seed: u64) -> Stream {
        let padding = SPAN_BYTES.saturating_sub(Stream::padded(shape, seed, 0).mean_bytes());
        Stream::padded(shape, seed, padding)
    }

    fn padded(shape: Shape, seed: u64, padding: usize) -> Stream {
        let services = (shape.keys / 200).clamp(4, 64);
        let kinds = (shape.keys / shape.trace).max(1);
        let kinds: Vec<TraceKind> =
            (0..kinds).map(|kind| TraceKind::new(kind, shape.trace, services, padding)).collect();
        let process = |index| Process {
            resource: resource_of(index / INSTANCES, index % INSTANCES, 0),
            spans: Vec::new(),
            count: 0,
        };
        let chunk = shape.batch.min(SDK_BATCH);
        Stream {
            shape,
            seed,
            kinds,
            processes: (0..services * INSTANCES).map(process).collect(),
            chunk,
            chunks: (shape.batch / chunk).max(1),
            step: 0,
            slot: 0,
            begun: vec![0; shape.open + shape.trace],
        }
    }

    /// Operations that really occur.
    pub(crate) fn keys(&self) -> usize {
        self.kinds.len() * self.shape.trace
    }

    /// All pods are replaced: the same services, other instances.
    pub(crate) fn restart(&mut self, generation: usize) {
        for (index, process) in self.processes.iter_mut().enumerate() {
            process.resource = resource_of(index / INSTANCES, index % INSTANCES, generation);
        }
    }

    /// Bytes of a span in a request, on average over the operations.
    fn mean_bytes(&self) -> usize {
        let all = self.kinds.iter().flat_map(|kind| &kind.slots);
        let spans: usize = all.map(|slot| slot.template.len()).sum();
        let head = self.processes[0].resource.len() + scope_of().len() + 10;
        spans / self.keys() + head / self.chunk
    }

    /// The next request, sent at `now` (nanoseconds since the Unix epoch).
    pub(crate) fn next_request(&mut self, now: u64) -> Request {
        let mut message = Vec::with_capacity(self.shape.batch * (SPAN_BYTES + 8) + 1024);
        let mut chunks = 0;
        while chunks < self.chunks {
            if let Some(process) = self.next_span(now) {
                self.processes[process].flush(&mut message);
                chunks += 1;
            }
        }
        Request { message, spans: self.chunk * self.chunks }
    }

    /// One more span leaves. Says which process has a batch to send now.
    fn next_span(&mut self, now: u64) -> Option<usize> {
        let ring = self.begun.len() as u64;
        if self.slot == 0 {
            self.begun[(self.step % ring) as usize] = now;
        }
        let behind = (self.slot * (self.shape.open / self.shape.trace)) as u64;
        let slot = self.slot;
        let trace = self.step.checked_sub(behind);
        self.slot += 1;
        if self.slot == self.shape.trace {
            self.slot = 0;
            self.step += 1;
        }
        let trace = trace?;
        let began = self.begun[(trace % ring) as usize];
        self.emit(trace, slot, began)
    }

    fn emit(&mut self, trace: u64, slot: usize, began: u64) -> Option<usize> {
        let chance = mix(self.seed ^ trace.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let kind = &self.kinds[(trace % self.kinds.len() as u64) as usize];
        let part = &kind.slots[slot];
        let unit = TRACE_NANOS / kind.slots.len() as u64;
        let ended = |slot: usize| {
            let jitter = mix(chance ^ slot as u64) % (unit / 2 + 1);
            began.saturating_sub(2 * TRACE_NANOS) + (slot as u64 + 1) * unit + jitter
        };
        let before = part.first.checked_sub(1).map_or(began - 2 * TRACE_NANOS, ended);
        let id = |slot: usize| mix(chance.wrapping_add(slot as u64)) | 1;
        let process = part.service * INSTANCES + (chance as usize % INSTANCES);
        let queue = &mut self.processes[process];
        part.template.write(
            &mut queue.spans,
            &Hole {
                trace: (u128::from(chance | 1) << 64) | u128::from(mix(!chance)),
                span: id(slot),
                parent: part.parent.map(id),
                start: before + part.depth * (unit / 64),
                end: ended(slot),
                number: (chance % 100_000_000) as u32,
            },
        );
        queue.count += 1;
        (queue.count == self.chunk).then_some(process)
    }
}

impl TraceKind {
    /// A tree of `size` spans: span 0 serves the request; every further pair is a call and what serves
    /// it, two calls to each server; a call left over goes to a database.
    fn new(kind: usize, size: usize, services: usize, padding: usize) -> TraceKind {
        let parent = |at: usize| match at {
            0 => None,
            at if at.is_multiple_of(2) => Some(at - 1),
            at => Some((at / 4) * 2),
        };
        let mut children = vec![Vec::new(); size];
        let mut depth = vec![0_u64; size];
        for at in 1..size {
            let above = parent(at).expect("only the first has none");
            children[above].push(at);
            depth[at] = depth[above] + 1;
        }
        // A server is `hops` services away from the first one; a call belongs to who calls.
        let server = |at: usize| (kind * 7 + at / 2 * 3) % services;
        let mut order = Vec::with_capacity(size);
        let mut walk = vec![(0, 0)];
        while let Some((at, child)) = walk.pop() {
            match children[at].get(child) {
                Some(&next) => walk.extend([(at, child + 1), (next, 0)]),
                None => order.push(at),
            }
        }
        let mut place = vec![0; size];
        order.iter().enumerate().for_each(|(slot, &at)| place[at] = slot);
        let slots = order.iter().map(|&at| {
            let service = if at % 2 == 1 { server(parent(at).unwrap_or(0)) } else { server(at) };
            let callee = (at % 2 == 1 && at + 1 < size).then(|| server(at + 1));
            let mut first = at;
            while let Some(&child) = children[first].first() {
                first = child;
            }
            let span: Span = span_of(kind * size + at, at % 2 == 1, callee, padding);
            Slot {
                template: Template::new(&span, parent(at).is_some()),
                parent: parent(at).map(|parent| place[parent]),
                first: place[first],
                depth: depth[at],
                service,
            }
        });
        TraceKind { slots: slots.collect() }
    }
}

impl Process {
    /// Appends a `ResourceSpans` with all spans that are waiting.
    fn flush(&mut self, message: &mut Vec<u8>) {
        let scope = scope_of();
        let spans = scope.len() + self.spans.len();
        let all = self.resource.len() + 1 + varint_len(spans) + spans;
        message.push(0x0a);
        push_varint(message, all);
        message.extend_from_slice(&self.resource);
        message.push(0x12);
        push_varint(message, spans);
        message.extend_from_slice(scope);
        message.extend_from_slice(&self.spans);
        self.spans.clear();
        self.count = 0;
    }
}

fn push_varint(out: &mut Vec<u8>, value: usize) {
    prost::encoding::encode_varint(value as u64, out);
}

fn varint_len(value: usize) -> usize {
    prost::encoding::encoded_len_varint(value as u64)
}

/// splitmix64: looks random, costs three multiplications.
pub(crate) fn mix(value: u64) -> u64 {
    let value = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let value = (value ^ (value >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let value = (value ^ (value >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    value ^ (value >> 31)
}

/// Reads a request back with the generated messages and says what is in it: that the templates are
/// right is checked at every start, not believed.
pub(crate) fn check(request: &Request) -> usize {
    use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
    let message = ExportTraceServiceRequest::decode(&request.message[..])
        .expect("the stream makes valid messages");
    let groups = message.resource_spans.iter().flat_map(|resource| &resource.scope_spans);
    let spans: Vec<&Span> = groups.flat_map(|scope| &scope.spans).collect();
    assert_eq!(spans.len(), request.spans, "a request holds as many spans as it says");
    for span in &spans {
        assert!(span.trace_id.len() == 16 && span.span_id.len() == 8, "identifiers are whole");
        assert!(span.end_time_unix_nano >= span.start_time_unix_nano, "spans end after they start");
        assert_eq!(span.attributes.len(), 8, "eight attributes");
    }
    request.message.len() / request.spans
}
