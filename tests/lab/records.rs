//! The simulator's spans as the model has them, with the attributes a user would have laghound look at.

use std::collections::HashMap;
use std::sync::Arc;

use laghound::model::{
    AttrSetId, Interner, KeyId, Span, SpanId, SpanKind, SpanRecord, Sym, Timestamp, TraceId,
};
use laghound::otlp::Interest;

use crate::sim::delivery::RawSpan;
use crate::sim::names;
use crate::sim::rand::mix;
use crate::sim::topology::{Kind, System};

/// Turns spans of one system into records.
pub(crate) struct Translator {
    names: Arc<Interner>,
    system: Arc<System>,
    /// Each life of each instance: its version.
    versions: Vec<Vec<usize>>,
    interest: Vec<String>,
    labels: Vec<(KeyId, Option<Sym>)>,
    sets: HashMap<(u32, u16, u8, u8, bool, u32), AttrSetId>,
}

/// Attributes of spans that somebody who serves tenants in regions would list.
const SPAN_ATTRIBUTES: [&str; 3] = ["tenant", "region", "http.route"];

/// The 16 bytes of a trace's id, as a number.
pub(crate) fn trace_id(trace: u64) -> u128 {
    u128::from(mix(trace, 1)) << 64 | u128::from(trace)
}

/// Attributes as (name, value).
type Attributes = Vec<(&'static str, String)>;

/// The attributes of a span's resource, and those of the span itself.
pub(crate) fn attributes(
    system: &System,
    version: usize,
    span: &RawSpan,
) -> (Attributes, Attributes) {
    let (instance, life) = (span.instance as usize, usize::from(span.life));
    let resource = vec![
        ("service.instance.id", names::instance_id(system, instance, life)),
        ("k8s.pod.name", names::pod(system, instance, life)),
        ("host.name", names::host(system, instance).to_owned()),
        ("service.version", names::version(version)),
    ];
    let label = &system.labels[span.label as usize];
    let mut own = vec![
        ("tenant", system.tenants[usize::from(span.tenant)].0.clone()),
        ("region", system.regions[usize::from(span.region)].0.clone()),
    ];
    own.extend(label.route.as_ref().map(|route| ("http.route", route.clone())));
    own.extend(label.peer.clone());
    (resource, own)
}

pub(crate) fn kind(kind: Kind) -> SpanKind {
    match kind {
        Kind::Internal => SpanKind::Internal,
        Kind::Server => SpanKind::Server,
        Kind::Client => SpanKind::Client,
        Kind::Producer => SpanKind::Producer,
        Kind::Consumer => SpanKind::Consumer,
    }
}

impl Translator {
    pub(crate) fn new(
        names: Arc<Interner>,
        system: Arc<System>,
        versions: Vec<Vec<usize>>,
    ) -> Translator {
        let labels = system.labels.iter().map(|label| {
            let service = names.service(system.service_name(label.service).as_bytes());
            let key = names.key(service, label.name.as_bytes(), kind(label.kind));
            (key, label.peer.as_ref().map(|(_, value)| names.string(value.as_bytes())))
        });
        let labels = labels.collect();
        let default = Interest::default();
        let mut interest = [default.resource, default.span].concat();
        interest.extend(SPAN_ATTRIBUTES.map(String::from));
        Translator { names, system, versions, interest, labels, sets: HashMap::new() }
    }

    pub(crate) fn record(&mut self, raw: &RawSpan) -> SpanRecord {
        let (key, peer) = self.labels[raw.label as usize];
        let id = |id: u64| SpanId::new(id);
        SpanRecord {
            trace: TraceId::new(trace_id(raw.trace)).expect("traces are odd numbers"),
            span: Span {
                id: id(raw.id).expect("spans are odd numbers"),
                parent: id(raw.parent),
                start: Timestamp(raw.start),
                end: Timestamp(raw.end),
                key,
                peer,
                attrs: self.attrs(raw),
                failed: raw.failed,
            },
        }
    }

    fn attrs(&mut self, raw: &RawSpan) -> AttrSetId {
        let routed = self.system.labels[raw.label as usize].route.is_some();
        let label = if routed { raw.label } else { u32::MAX };
        let place = (raw.instance, raw.life, raw.tenant, raw.region, routed, label);
        if let Some(&set) = self.sets.get(&place) {
            return set;
        }
        let version = self.versions[raw.instance as usize][usize::from(raw.life)];
        let (resource, own) = attributes(&self.system, version, raw);
        let wanted = resource.iter().chain(&own);
        let wanted = wanted.filter(|(name, _)| self.interest.iter().any(|known| known == name));
        let symbol = |text: &str| self.names.string(text.as_bytes());
        let mut pairs: Vec<(Sym, Sym)> =
            wanted.map(|(name, value)| (symbol(name), symbol(value))).collect();
        pairs.dedup_by_key(|(name, _)| *name);
        let set = self.names.attr_set(&mut pairs);
        self.sets.insert(place, set);
        set
    }
}
