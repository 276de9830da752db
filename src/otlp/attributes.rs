//! Which attributes matter: what a span called, and what singles slow ones out.
//!
//! Everything else on a span is passed over. The lists are short, so they are compared one by one.

use std::borrow::Cow;

use crate::model::{AttrSetId, InternCache, Interner, SpanKind, Sym};

/// The resource attribute that names the service.
pub(super) const SERVICE_NAME: &[u8] = b"service.name";

/// The attributes by which slow calls may be singled out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Interest {
    /// Names of resource attributes.
    pub resource: Vec<String>,
    /// Names of span attributes. Each distinct value makes a set of its own, so name only those with few.
    pub span: Vec<String>,
    /// How many attributes of one span or one resource are looked at.
    pub max_attributes: usize,
}

impl Default for Interest {
    /// What tells the instances, versions and places of a service apart. 128 attributes is what the SDKs
    /// themselves allow a span by default.
    fn default() -> Interest {
        let resource = [
            "service.instance.id",
            "k8s.pod.name",
            "host.name",
            "service.version",
            "cloud.availability_zone",
            "cloud.region",
        ];
        Interest {
            resource: resource.map(String::from).to_vec(),
            span: Vec::new(),
            max_attributes: 128,
        }
    }
}

/// [`Interest`] with its names interned: made once, shared by all decoders.
#[derive(Clone, Debug)]
pub struct AttributeRules {
    pub(super) resource: Vec<(Box<[u8]>, Sym)>,
    pub(super) span: Vec<(Box<[u8]>, Sym)>,
    pub(super) max_attributes: usize,
}

impl AttributeRules {
    /// Interns the names.
    pub fn new(interest: &Interest, names: &Interner) -> AttributeRules {
        let intern = |list: &[String]| {
            list.iter()
                .map(|name| (Box::from(name.as_bytes()), names.string(name.as_bytes())))
                .collect()
        };
        AttributeRules {
            resource: intern(&interest.resource),
            span: intern(&interest.span),
            max_attributes: interest.max_attributes,
        }
    }
}

/// By which attribute a CLIENT or PRODUCER span names what it called: the smallest number wins. New
/// and older semantic conventions stand side by side, the newer first.
fn peer_rank(name: &[u8]) -> Option<u8> {
    Some(match name {
        // Said on purpose.
        b"peer.service" => 0,
        // Whom it was sent to.
        b"server.address" => 1,
        b"net.peer.name" => 2,
        b"net.sock.peer.name" => 3,
        b"peer.hostname" => 4,
        // Which database, then which kind of it.
        b"db.namespace" => 5,
        b"db.name" => 6,
        b"db.instance" => 7,
        b"db.system.name" => 8,
        b"db.system" => 9,
        b"db.type" => 10,
        // A bare address says less than any name.
        b"net.peer.ip" => 11,
        b"net.sock.peer.addr" => 12,
        b"peer.address" => 13,
        // The broker, then the queue.
        b"messaging.system" => FIRST_FOR_PRODUCERS,
        b"messaging.destination.name" => 15,
        b"messaging.destination" => 16,
        b"message_bus.destination" => 17,
        _ => return None,
    })
}

/// From here on the names count for PRODUCER spans only: for a CLIENT span of a messaging library they
/// name what it waits for, not what it waits on.
const FIRST_FOR_PRODUCERS: u8 = 14;

/// An attribute's value, as far as anyone here can use it.
#[derive(Clone, PartialEq, Debug)]
pub(super) enum AttributeValue<'a> {
    Text(Cow<'a, [u8]>),
    Int(i64),
    Bool(bool),
    /// Absent, a fraction, bytes, a list or a map.
    Other,
}

impl<'a> AttributeValue<'a> {
    /// The value as text; `None` where it has none or is empty.
    pub(super) fn text(self) -> Option<Cow<'a, [u8]>> {
        match self {
            AttributeValue::Text(text) => Some(text).filter(|text| !text.is_empty()),
            AttributeValue::Int(number) => Some(Cow::Owned(number.to_string().into_bytes())),
            AttributeValue::Bool(true) => Some(Cow::Borrowed(b"true")),
            AttributeValue::Bool(false) => Some(Cow::Borrowed(b"false")),
            AttributeValue::Other => None,
        }
    }
}

/// What the attributes of one span said about what it called.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerName<'a> {
    /// The best for any kind, and the best for producers only.
    common: Option<(u8, Cow<'a, [u8]>)>,
    producer: Option<(u8, Cow<'a, [u8]>)>,
}

impl<'a> PeerName<'a> {
    /// Whether an attribute of this name could still change the answer.
    pub(super) fn wants(&self, name: &[u8]) -> Option<u8> {
        let rank = peer_rank(name)?;
        let best = if rank < FIRST_FOR_PRODUCERS { &self.common } else { &self.producer };
        best.as_ref().is_none_or(|(best, _)| rank < *best).then_some(rank)
    }

    /// Only names count: text, and not empty.
    pub(super) fn offer(&mut self, rank: u8, value: &AttributeValue<'a>) {
        if let AttributeValue::Text(text) = value
            && !text.is_empty()
        {
            let best =
                if rank < FIRST_FOR_PRODUCERS { &mut self.common } else { &mut self.producer };
            *best = Some((rank, text.clone()));
        }
    }

    /// The name, for the kinds of spans that call somebody.
    pub(super) fn of(&self, kind: SpanKind) -> Option<&[u8]> {
        let best = match kind {
            SpanKind::Client => self.common.as_ref(),
            SpanKind::Producer => self.common.as_ref().or(self.producer.as_ref()),
            _ => None,
        };
        best.map(|(_, name)| name.as_ref())
    }
}

/// The attributes of interest met so far, as (name, value). The first of a name wins.
#[derive(Debug, Default)]
pub(super) struct Selection {
    pairs: Vec<(Sym, Sym)>,
}

impl Selection {
    pub(super) fn clear(&mut self) {
        self.pairs.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }

    /// Whether a value under this name is wanted, and under which number.
    pub(super) fn wants(&self, rules: &[(Box<[u8]>, Sym)], name: &[u8]) -> Option<Sym> {
        let (_, sym) = rules.iter().find(|(wanted, _)| **wanted == *name)?;
        (!self.pairs.iter().any(|(taken, _)| taken == sym)).then_some(*sym)
    }

    pub(super) fn offer(
        &mut self,
        name: Sym,
        value: AttributeValue<'_>,
        cache: &mut InternCache,
        names: &Interner,
    ) {
        if let Some(text) = value.text() {
            self.pairs.push((name, cache.string(names, &text)));
        }
    }

    /// The set of these and `others`; where both have a name, these win.
    pub(super) fn intern_with(&mut self, others: &[(Sym, Sym)], names: &Interner) -> AttrSetId {
        for other in others {
            if !self.pairs.iter().any(|(taken, _)| *taken == other.0) {
                self.pairs.push(*other);
            }
        }
        names.attr_set(&mut self.pairs)
    }

    pub(super) fn pairs(&self) -> &[(Sym, Sym)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(value: &str) -> AttributeValue<'_> {
        AttributeValue::Text(Cow::Borrowed(value.as_bytes()))
    }

    fn peer<'a>(attributes: &[(&str, AttributeValue<'a>)]) -> PeerName<'a> {
        let mut peer = PeerName::default();
        for (name, value) in attributes {
            if let Some(rank) = peer.wants(name.as_bytes()) {
                peer.offer(rank, value);
            }
        }
        peer
    }

    /// The order in which the contract names them, then the older names of each.
    const ORDER: [&str; 11] = [
        "peer.service",
        "server.address",
        "net.peer.name",
        "net.sock.peer.name",
        "peer.hostname",
        "db.namespace",
        "db.name",
        "db.instance",
        "db.system.name",
        "db.system",
        "db.type",
    ];

    #[test]
    fn the_better_name_wins_in_any_order() {
        for pair in ORDER.windows(2) {
            for order in [[0, 1], [1, 0]] {
                let attributes = order.map(|index| (pair[index], text(pair[index])));
                let found = peer(&attributes);
                assert_eq!(found.of(SpanKind::Client), Some(pair[0].as_bytes()));
            }
        }
    }

    #[test]
    fn only_those_who_call_have_somebody_called() {
        let found = peer(&[("peer.service", text("db"))]);
        for kind in SpanKind::ALL {
            let calls = matches!(kind, SpanKind::Client | SpanKind::Producer);
            assert_eq!(found.of(kind).is_some(), calls, "{kind:?}");
        }
    }

    #[test]
    fn empty_and_other_than_text_names_nobody() {
        let found = peer(&[
            ("peer.service", text("")),
            ("server.address", AttributeValue::Int(7)),
            ("db.system", text("redis")),
        ]);
        assert_eq!(found.of(SpanKind::Client), Some(&b"redis"[..]));
    }

    #[test]
    fn a_broker_is_named_by_producers_and_only_if_nothing_better_is() {
        let found = peer(&[("messaging.system", text("kafka"))]);
        assert_eq!(found.of(SpanKind::Producer), Some(&b"kafka"[..]));
        assert_eq!(found.of(SpanKind::Client), None);
        let found = peer(&[("messaging.system", text("kafka")), ("server.address", text("mq-1"))]);
        assert_eq!(found.of(SpanKind::Producer), Some(&b"mq-1"[..]));
    }
}
