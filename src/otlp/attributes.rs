//! Which attributes matter: what a span called, and what singles slow ones out.
//!
//! Everything else on a span is passed over.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write as _;

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
    pub(super) resource: Names<ResourceWant>,
    pub(super) span: Names<SpanWant>,
    pub(super) max_attributes: usize,
}

/// What a resource attribute is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ResourceWant {
    /// It names the service.
    pub(super) service: bool,
    /// It singles instances out, under this name.
    pub(super) selected: Option<Sym>,
}

/// What a span attribute is wanted for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SpanWant {
    /// It names what was called, and how well.
    pub(super) peer_rank: Option<u8>,
    /// It singles calls out, under this name.
    pub(super) selected: Option<Sym>,
}

impl AttributeRules {
    /// Interns the names.
    pub fn new(interest: &Interest, names: &Interner) -> AttributeRules {
        let mut resource: BTreeMap<&[u8], ResourceWant> = BTreeMap::new();
        resource.entry(SERVICE_NAME).or_default().service = true;
        for name in &interest.resource {
            let want = resource.entry(name.as_bytes()).or_default();
            want.selected = Some(names.lasting_string(name.as_bytes()));
        }
        let mut span: BTreeMap<&[u8], SpanWant> = BTreeMap::new();
        for (rank, name) in (0..).zip(PEER_NAMES) {
            span.entry(name.as_bytes()).or_default().peer_rank = Some(rank);
        }
        for name in &interest.span {
            let want = span.entry(name.as_bytes()).or_default();
            want.selected = Some(names.lasting_string(name.as_bytes()));
        }
        AttributeRules {
            resource: Names::new(resource),
            span: Names::new(span),
            max_attributes: interest.max_attributes,
        }
    }
}

/// What is wanted, by name. Most attributes are not, and that takes a few instructions to see.
#[derive(Clone, Debug)]
pub(super) struct Names<T> {
    /// By bucket: one more than where its names begin in `entries`; 0 if there are none.
    starts: [u16; 256],
    /// By bucket.
    entries: Vec<(Box<[u8]>, T)>,
}

/// Names of one length mostly differ where they begin or end. Of the hundred other names that semantic
/// conventions know, six share a bucket with one that is wanted by default.
#[inline]
fn bucket(name: &[u8]) -> u8 {
    let (Some(first), Some(last)) = (name.first(), name.last()) else { return 0 };
    #[allow(clippy::cast_possible_truncation)] // mixing: all but the last bits may go
    let length = (name.len() << 3) as u8;
    length ^ first ^ last << 4
}

impl<T: Copy> Names<T> {
    fn new(wanted: BTreeMap<&[u8], T>) -> Names<T> {
        let mut entries: Vec<(Box<[u8]>, T)> =
            wanted.into_iter().map(|(name, want)| (Box::from(name), want)).collect();
        // Nobody asks for as many; what is beyond would not be found.
        entries.truncate(usize::from(u16::MAX));
        entries.sort_by_key(|(name, _)| bucket(name));
        let mut starts = [0; 256];
        for (start, (name, _)) in (1..).zip(&entries) {
            let first = &mut starts[usize::from(bucket(name))];
            if *first == 0 {
                *first = start;
            }
        }
        Names { starts, entries }
    }

    /// Whether `find` is worth calling.
    #[inline]
    pub(super) fn may_find(&self, name: &[u8]) -> bool {
        self.starts[usize::from(bucket(name))] != 0
    }

    #[inline]
    pub(super) fn find(&self, name: &[u8]) -> Option<T> {
        let bucket_of_name = bucket(name);
        let start = self.starts[usize::from(bucket_of_name)].checked_sub(1)?;
        let from = self.entries.get(usize::from(start)..)?;
        let mut bucket = from.iter().take_while(|(name, _)| bucket(name) == bucket_of_name);
        bucket.find(|(wanted, _)| **wanted == *name).map(|(_, want)| *want)
    }
}

/// By which attribute a CLIENT or PRODUCER span names what it called: the first of these wins. New and
/// older semantic conventions stand side by side, the newer first.
const PEER_NAMES: [&str; 18] = [
    // Said on purpose.
    "peer.service",
    // Whom it was sent to.
    "server.address",
    "net.peer.name",
    "net.sock.peer.name",
    "peer.hostname",
    // Which database, then which kind of it.
    "db.namespace",
    "db.name",
    "db.instance",
    "db.system.name",
    "db.system",
    "db.type",
    // A bare address says less than any name.
    "net.peer.ip",
    "net.sock.peer.addr",
    "peer.address",
    // The broker, then the queue.
    "messaging.system",
    "messaging.destination.name",
    "messaging.destination",
    "message_bus.destination",
];

/// From here on the names count for PRODUCER spans only: for a CLIENT span of a messaging library they
/// name what it waits for, not what it waits on.
const FIRST_FOR_PRODUCERS: u8 = 14;

/// An attribute's value, as far as anyone here can use it. Text is borrowed wherever it can be; formats
/// with escapes cannot always.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Value<T> {
    Text(T),
    Int(i64),
    Bool(bool),
    /// Absent, a fraction, bytes, a list or a map.
    Other,
}

/// A value of a format with escapes.
pub(super) type AttributeValue<'a> = Value<Cow<'a, [u8]>>;

impl<T: AsRef<[u8]>> Value<T> {
    /// What `then` makes of the value as text; `None` where it has none or is empty.
    pub(super) fn with_text<R>(&self, then: impl FnOnce(&[u8]) -> R) -> Option<R> {
        match self {
            Value::Text(text) => Some(text.as_ref()).filter(|text| !text.is_empty()).map(then),
            Value::Int(number) => {
                // The longest has 20 digits, its sign included.
                let (mut digits, room) = ([0; 20], 20);
                let mut rest = &mut digits[..];
                // Cannot fail: there is room.
                let _ = write!(rest, "{number}");
                let written = room - rest.len();
                Some(then(&digits[..written]))
            }
            Value::Bool(true) => Some(then(b"true")),
            Value::Bool(false) => Some(then(b"false")),
            Value::Other => None,
        }
    }

    /// The value as text of its own.
    pub(super) fn to_text(&self) -> Option<Vec<u8>> {
        self.with_text(<[u8]>::to_vec)
    }
}

/// What the attributes of one span said about what it called.
#[derive(Clone, Debug, Default)]
pub(super) struct PeerName<T> {
    /// The best for any kind, and the best for producers only.
    common: Option<(u8, T)>,
    producer: Option<(u8, T)>,
}

impl<T: AsRef<[u8]> + Clone> PeerName<T> {
    /// Whether an attribute of this rank could still change the answer.
    pub(super) fn wants(&self, rank: u8) -> bool {
        let best = if rank < FIRST_FOR_PRODUCERS { &self.common } else { &self.producer };
        best.as_ref().is_none_or(|(best, _)| rank < *best)
    }

    /// Only names count: text, and not empty.
    pub(super) fn offer(&mut self, rank: u8, value: &Value<T>) {
        if let Value::Text(text) = value
            && !text.as_ref().is_empty()
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

    /// Whether a value under this name is still wanted.
    pub(super) fn wants(&self, name: Sym) -> bool {
        !self.pairs.iter().any(|(taken, _)| *taken == name)
    }

    pub(super) fn offer(
        &mut self,
        name: Sym,
        value: &Value<impl AsRef<[u8]>>,
        cache: &mut InternCache,
        names: &Interner,
    ) {
        if let Some(value) = value.with_text(|text| cache.string(names, text)) {
            self.pairs.push((name, value));
        }
    }

    /// The set of these and `others`; where both have a name, these win.
    pub(super) fn intern_with(
        &mut self,
        others: &[(Sym, Sym)],
        cache: &mut InternCache,
        names: &Interner,
    ) -> AttrSetId {
        for other in others {
            if self.wants(other.0) {
                self.pairs.push(*other);
            }
        }
        cache.attr_set(names, &mut self.pairs)
    }

    pub(super) fn pairs(&self) -> &[(Sym, Sym)] {
        &self.pairs
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::InternLimits;

    fn text(value: &str) -> AttributeValue<'_> {
        AttributeValue::Text(Cow::Borrowed(value.as_bytes()))
    }

    fn peer<'a>(attributes: &[(&str, AttributeValue<'a>)]) -> PeerName<Cow<'a, [u8]>> {
        let mut peer = PeerName::default();
        for (name, value) in attributes {
            let rank = PEER_NAMES.iter().position(|known| known == name).expect("a known name");
            let rank = u8::try_from(rank).expect("there are few");
            if peer.wants(rank) {
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
    fn every_wanted_name_is_found_and_no_other() {
        let interest =
            Interest { span: vec!["http.route".into(), "".into()], ..Interest::default() };
        let names = Interner::new(InternLimits::default());
        let rules = AttributeRules::new(&interest, &names);
        for name in PEER_NAMES {
            assert!(rules.span.find(name.as_bytes()).unwrap().peer_rank.is_some(), "{name}");
            assert!(rules.span.find(&name.as_bytes()[1..]).is_none(), "{name} without its head");
        }
        for name in &interest.span {
            let want = rules.span.find(name.as_bytes()).unwrap();
            assert_eq!(want.selected, Some(names.string(name.as_bytes())));
        }
        for name in &interest.resource {
            let want = rules.resource.find(name.as_bytes()).unwrap();
            assert_eq!(want.selected, Some(names.string(name.as_bytes())));
            assert!(!want.service && rules.span.find(name.as_bytes()).is_none());
        }
        assert!(rules.resource.find(SERVICE_NAME).unwrap().service);
    }

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
    fn values_are_text_where_they_have_one() {
        let text = |value: AttributeValue<'_>| value.with_text(|text| text.to_vec());
        for number in [0, -7, i64::MIN, i64::MAX] {
            assert_eq!(text(Value::Int(number)), Some(number.to_string().into_bytes()));
        }
        assert_eq!(text(Value::Bool(true)).as_deref(), Some(&b"true"[..]));
        assert_eq!(text(Value::Text(Cow::Borrowed(b"a"))).as_deref(), Some(&b"a"[..]));
        assert_eq!([text(Value::Text(Cow::Borrowed(b""))), text(Value::Other)], [None, None]);
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
