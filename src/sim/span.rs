//! A span as the simulated services send it, and what a decoder would make of it.
//!
//! Names are spelled out and shared; interning belongs to the receiving side, which is why
//! [`to_records`] takes the interner.

use std::sync::Arc;

use crate::model::{
    InternCache, Interner, Nanos, ResourceRef, Span, SpanId, SpanKind, SpanRecord, Sym, Timestamp,
    TraceId,
};

/// Attributes as (name, value), shared by all spans of one call site.
pub type Attributes = Arc<[(Arc<str>, Arc<str>)]>;

/// One running instance of a service, as its resource attributes tell.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resource {
    /// `service.name`.
    pub service: Arc<str>,
    /// `service.instance.id`.
    pub instance: Arc<str>,
    /// `service.version`.
    pub version: Arc<str>,
    /// `cloud.availability_zone`.
    pub zone: Arc<str>,
    /// `host.name`.
    pub host: Arc<str>,
    /// Position among all instances of the topology: who exports this span.
    pub(super) exporter: usize,
    /// Position of the host among all hosts: whose clock stamps this span.
    pub(super) host_index: usize,
}

impl Resource {
    /// The attributes besides `service.name`, by name.
    pub fn attributes(&self) -> [(&'static str, &Arc<str>); 4] {
        [
            ("cloud.availability_zone", &self.zone),
            ("host.name", &self.host),
            ("service.instance.id", &self.instance),
            ("service.version", &self.version),
        ]
    }
}

/// One finished operation of the simulation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct SimSpan {
    /// The trace.
    pub trace: TraceId,
    /// This span.
    pub id: SpanId,
    /// The span that caused it.
    pub parent: Option<SpanId>,
    /// Who did it.
    pub resource: Arc<Resource>,
    /// What was done.
    pub name: Arc<str>,
    /// In which role.
    pub kind: SpanKind,
    /// When it began, by the clock of its host.
    pub start: Timestamp,
    /// When it ended, by the clock of its host.
    pub end: Timestamp,
    /// What else the span says.
    pub attributes: Attributes,
    /// Its status is ERROR.
    pub failed: bool,
}

impl SimSpan {
    /// How long it took.
    pub fn duration(&self) -> Nanos {
        self.end.since(self.start)
    }

    /// The value of an attribute.
    pub fn attribute(&self, name: &str) -> Option<&Arc<str>> {
        self.attributes.iter().find(|(n, _)| &**n == name).map(|(_, value)| value)
    }

    /// What a CLIENT or PRODUCER span says it called, by the attributes that name a peer.
    fn peer(&self) -> Option<&Arc<str>> {
        const NAMES: [&str; 5] = [
            "peer.service",
            "server.address",
            "db.namespace",
            "db.system.name",
            "messaging.system",
        ];
        match self.kind {
            SpanKind::Client | SpanKind::Producer => {
                NAMES.iter().find_map(|name| self.attribute(name))
            }
            _ => None,
        }
    }
}

/// The spans as a receiver would hand them to the engine.
pub fn to_records(cache: &mut InternCache, names: &Interner, spans: &[SimSpan]) -> Vec<SpanRecord> {
    let mut records = Vec::with_capacity(spans.len());
    let mut last: Option<(&Arc<Resource>, ResourceRef)> = None;
    for span in spans {
        let resource = match last {
            Some((seen, resource)) if Arc::ptr_eq(seen, &span.resource) => resource,
            _ => intern_resource(cache, names, &span.resource),
        };
        last = Some((&span.resource, resource));
        let key = cache.key(names, resource, span.name.as_bytes(), span.kind);
        let peer = span.peer().map(|peer| cache.string(names, peer.as_bytes()));
        let &SimSpan { trace, id, parent, start, end, failed, .. } = span;
        let attrs = resource.attrs;
        records.push(SpanRecord {
            trace,
            span: Span { id, parent, start, end, key, peer, attrs, failed },
        });
    }
    records
}

fn intern_resource(cache: &mut InternCache, names: &Interner, resource: &Resource) -> ResourceRef {
    let mut pairs: [(Sym, Sym); 4] = resource.attributes().map(|(name, value)| {
        (cache.string(names, name.as_bytes()), cache.string(names, value.as_bytes()))
    });
    cache.resource(names, resource.service.as_bytes(), names.attr_set(&mut pairs))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InternLimits;

    fn span(kind: SpanKind, attributes: &[(&str, &str)]) -> SimSpan {
        let resource = Arc::new(Resource {
            service: "cart".into(),
            instance: "cart-2".into(),
            version: "1.4.0".into(),
            zone: "zone-b".into(),
            host: "node-5".into(),
            exporter: 0,
            host_index: 0,
        });
        SimSpan {
            trace: TraceId::new(1).unwrap(),
            id: SpanId::new(2).unwrap(),
            parent: SpanId::new(3),
            resource,
            name: "HGETALL".into(),
            kind,
            start: Timestamp(10),
            end: Timestamp(30),
            attributes: attributes.iter().map(|(n, v)| ((*n).into(), (*v).into())).collect(),
            failed: true,
        }
    }

    #[test]
    fn a_record_says_what_the_span_said() {
        let names = Interner::new(InternLimits::default());
        let attributes = [("db.namespace", "0"), ("server.address", "cart-cache")];
        let spans = [span(SpanKind::Client, &attributes)];
        let record = to_records(&mut InternCache::default(), &names, &spans)[0];
        let key = names.resolve(record.span.key);
        assert_eq!(&*names.text(key.service), "cart");
        assert_eq!(&*names.text(key.name), "HGETALL");
        assert_eq!(key.kind, SpanKind::Client);
        assert_eq!(record.span.peer.map(|sym| names.text(sym)).as_deref(), Some("cart-cache"));
        assert_eq!((record.span.start, record.span.end), (Timestamp(10), Timestamp(30)));
        assert!(record.span.failed);
        let mut said: Vec<_> = names
            .attributes(record.span.attrs)
            .iter()
            .map(|(name, value)| format!("{}={}", names.text(*name), names.text(*value)))
            .collect();
        said.sort();
        assert_eq!(
            said,
            [
                "cloud.availability_zone=zone-b",
                "host.name=node-5",
                "service.instance.id=cart-2",
                "service.version=1.4.0"
            ]
        );
    }

    #[test]
    fn only_who_calls_has_a_peer() {
        let names = Interner::new(InternLimits::default());
        let spans = [span(SpanKind::Server, &[("server.address", "cart")])];
        let record = to_records(&mut InternCache::default(), &names, &spans)[0];
        assert_eq!(record.span.peer, None);
    }
}
