//! Interned names: small numbers that stand for strings, operations and attribute sets.
//!
//! They are handed out by the [`Interner`](super::Interner) and mean nothing without it. Their order
//! is the order of first sight, so nothing that leaves the program may be sorted by them. A number is
//! never another name's while anybody may hold it; what is given back reads as the overflow.

/// An interned string.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Sym(pub u32);

/// An interned operation: service, span name and span kind.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct KeyId(pub u32);

/// An interned set of the attributes by which slow calls may be singled out (instance, version, zone).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct AttrSetId(pub u32);

impl KeyId {
    /// A small number that no other operation has at the same time: where to keep what is known of it,
    /// beside the whole number.
    pub const fn slot(self) -> usize {
        (self.0 & 0x00ff_ffff) as usize
    }
}

impl AttrSetId {
    /// No attributes of interest.
    pub const EMPTY: AttrSetId = AttrSetId(0);
}

/// What a [`KeyId`] stands for.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Key {
    /// `service.name` of the resource.
    pub service: Sym,
    /// The span's name.
    pub name: Sym,
    /// The span's kind.
    pub kind: SpanKind,
}

/// OTLP's span kinds. Unknown numbers are read as `Unspecified`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
#[repr(u8)]
pub enum SpanKind {
    /// Not said; treated as internal work.
    #[default]
    Unspecified = 0,
    /// Work inside a service.
    Internal = 1,
    /// A request being served.
    Server = 2,
    /// A request being made.
    Client = 3,
    /// A message being handed to a broker.
    Producer = 4,
    /// A message being processed.
    Consumer = 5,
}

impl SpanKind {
    /// All kinds, in the order of their numbers.
    pub const ALL: [SpanKind; 6] = [
        SpanKind::Unspecified,
        SpanKind::Internal,
        SpanKind::Server,
        SpanKind::Client,
        SpanKind::Producer,
        SpanKind::Consumer,
    ];

    /// From OTLP's enum number.
    pub fn from_number(number: u64) -> SpanKind {
        usize::try_from(number)
            .ok()
            .and_then(|index| SpanKind::ALL.get(index).copied())
            .unwrap_or_default()
    }

    /// OTLP's name, as the Collector's span metrics write it.
    pub const fn as_str(self) -> &'static str {
        match self {
            SpanKind::Unspecified => "SPAN_KIND_UNSPECIFIED",
            SpanKind::Internal => "SPAN_KIND_INTERNAL",
            SpanKind::Server => "SPAN_KIND_SERVER",
            SpanKind::Client => "SPAN_KIND_CLIENT",
            SpanKind::Producer => "SPAN_KIND_PRODUCER",
            SpanKind::Consumer => "SPAN_KIND_CONSUMER",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_kinds_are_unspecified() {
        assert_eq!(SpanKind::from_number(3), SpanKind::Client);
        assert_eq!(SpanKind::from_number(6), SpanKind::Unspecified);
        assert_eq!(SpanKind::from_number(u64::MAX), SpanKind::Unspecified);
    }
}
