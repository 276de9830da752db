//! What a snapshot says, as protobuf messages without a `.proto`: this file is the schema.
//!
//! Tags are for ever: a field that is no longer written keeps its tag. Numbers named `name` count the
//! [`Kind::Name`] records before, from 0; those named `attrs` count [`Kind::Attrs`], from 1, and 0 is the
//! empty set; nodes, paths and entries count their own records, from 0. Nothing here knows the engine.

/// One record of the stream.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Record {
    /// What it is; `None` for what a later release has added.
    #[prost(oneof = "Kind", tags = "1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12")]
    pub kind: Option<Kind>,
}

/// What a record is. They come in this order, each as often as need be.
#[derive(Clone, PartialEq, prost::Oneof)]
pub(super) enum Kind {
    /// The first one, once.
    #[prost(message, tag = "1")]
    Begin(Begin),
    /// A service, an operation, a peer, an attribute or its value.
    #[prost(string, tag = "2")]
    Name(String),
    /// A set of attributes.
    #[prost(message, tag = "3")]
    Attrs(Attrs),
    /// A node of the call graph.
    #[prost(message, tag = "4")]
    Node(Node),
    /// A path of the call graph; the one above comes before it. One without is an entry's.
    #[prost(message, tag = "5")]
    Path(Path),
    /// An entry, in the order of their paths.
    #[prost(message, tag = "6")]
    Entry(Entry),
    /// Time of an entry's requests that is counted for somebody.
    #[prost(message, tag = "7")]
    Group(Group),
    /// How often one node calls another.
    #[prost(message, tag = "8")]
    Pair(Pair),
    /// What may become an incident, once.
    #[prost(message, tag = "9")]
    Candidate(Hot),
    /// An open incident.
    #[prost(message, tag = "10")]
    Open(Open),
    /// A closed incident, the newest first.
    #[prost(message, tag = "11")]
    Closed(Incident),
    /// The last one, once: how many came before it.
    #[prost(uint64, tag = "12")]
    End(u64),
}

/// What the figures are counted in, and where the judge is.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Begin {
    /// Length of a slice; figures of slices of another length are of no use.
    #[prost(uint64, tag = "1")]
    pub slice_nanos: u64,
    /// Slices that make an era.
    #[prost(uint64, tag = "2")]
    pub era_slices: u64,
    /// Slices judged.
    #[prost(uint64, tag = "3")]
    pub tick: u64,
    /// The next slice to be judged.
    #[prost(uint64, optional, tag = "4")]
    pub cursor: Option<u64>,
    /// Slices without data in a row.
    #[prost(uint64, tag = "5")]
    pub empty_run: u64,
    /// Hot slices in a row.
    #[prost(uint32, tag = "6")]
    pub streak: u32,
    /// Incidents so far.
    #[prost(uint64, tag = "7")]
    pub incidents: u64,
    /// The slices last judged, ascending; their ticks are consecutive and end with `tick`.
    #[prost(uint64, repeated, tag = "8")]
    pub judged: Vec<u64>,
    /// The last slice of the last incident that is over.
    #[prost(uint64, tag = "9")]
    pub over: u64,
}

/// A set of attributes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Attrs {
    /// Names and values by turns.
    #[prost(uint32, repeated, tag = "1")]
    pub names: Vec<u32>,
}

/// What a node is.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodeKey {
    /// A service's own work 0, a leaf 1, an edge 2, its request 3, its response 4, overflow 5.
    #[prost(uint32, tag = "1")]
    pub sort: u32,
    /// The service.
    #[prost(uint32, tag = "2")]
    pub service: u32,
    /// The span name.
    #[prost(uint32, tag = "3")]
    pub name: u32,
    /// The span kind, by OTLP's number.
    #[prost(uint32, tag = "4")]
    pub span_kind: u32,
    /// The peer or callee.
    #[prost(uint32, optional, tag = "5")]
    pub far: Option<u32>,
}

/// How long something has been watched.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Age {
    /// Slices in the baseline.
    #[prost(uint64, tag = "1")]
    pub learned: u64,
    /// Newest slice that has been looked at for the baseline.
    #[prost(uint64, tag = "2")]
    pub absorbed_upto: u64,
    /// Newest slice that belongs to an incident.
    #[prost(uint64, tag = "3")]
    pub tainted_upto: u64,
    /// In an open incident.
    #[prost(bool, tag = "4")]
    pub frozen: bool,
    /// To begin anew.
    #[prost(bool, tag = "5")]
    pub relearn: bool,
}

/// Figures by slice or era.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Tape {
    /// The first slice or era.
    #[prost(uint32, tag = "1")]
    pub first: u32,
    /// As `engine/tape.rs` lays them out: length, distance to the one before, value.
    #[prost(bytes = "vec", tag = "2")]
    pub records: Vec<u8>,
}

/// A figure over time.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Rolling {
    /// What is normal, by era; the last is being filled.
    #[prost(message, optional, tag = "1")]
    pub eras: Option<Tape>,
    /// What is recent, by slice.
    #[prost(message, optional, tag = "2")]
    pub recent: Option<Tape>,
}

/// A node.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Node {
    /// What it is.
    #[prost(message, optional, tag = "1")]
    pub key: Option<NodeKey>,
    /// How long it has been watched.
    #[prost(message, optional, tag = "2")]
    pub age: Option<Age>,
    /// How long its calls take.
    #[prost(message, optional, tag = "3")]
    pub calls: Option<Rolling>,
    /// What names the slow ones of the recent calls.
    #[prost(message, optional, tag = "4")]
    pub details: Option<Tape>,
    /// How much its slices differ from what is normal.
    #[prost(message, optional, tag = "5")]
    pub spread: Option<Rolling>,
}

/// A path.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Path {
    /// The path above.
    #[prost(uint32, optional, tag = "1")]
    pub above: Option<u32>,
    /// The node at its end.
    #[prost(uint32, tag = "2")]
    pub node: u32,
    /// Its calls and their critical time.
    #[prost(message, optional, tag = "3")]
    pub sums: Option<Rolling>,
}

/// An entry.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Entry {
    /// How long it has been watched.
    #[prost(message, optional, tag = "1")]
    pub age: Option<Age>,
    /// Its requests.
    #[prost(message, optional, tag = "2")]
    pub sums: Option<Rolling>,
}

/// Who time is counted for.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct GroupKey {
    /// A service 0, a peer 1, a service's unnamed callees 2, requests 3, responses 4, overflow 5, the
    /// overlap of an operation's calls 6.
    #[prost(uint32, tag = "1")]
    pub sort: u32,
    /// The service, peer or caller.
    #[prost(uint32, tag = "2")]
    pub name: u32,
    /// The callee, or the name of the operation.
    #[prost(uint32, tag = "3")]
    pub far: u32,
    /// The kind of the operation.
    #[prost(uint32, tag = "4")]
    pub span_kind: u32,
}

/// Time of an entry's requests that is counted for somebody.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Group {
    /// Whose requests.
    #[prost(uint32, tag = "1")]
    pub entry: u32,
    /// For whom.
    #[prost(message, optional, tag = "2")]
    pub key: Option<GroupKey>,
    /// How much.
    #[prost(message, optional, tag = "3")]
    pub sums: Option<Rolling>,
}

/// How often one node calls another.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Pair {
    /// Who calls.
    #[prost(uint32, tag = "1")]
    pub parent: u32,
    /// Who is called.
    #[prost(uint32, tag = "2")]
    pub child: u32,
    /// How often so many.
    #[prost(message, optional, tag = "3")]
    pub sums: Option<Rolling>,
}

/// A pair of nodes.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct NodePair {
    /// Who calls.
    #[prost(uint32, tag = "1")]
    pub parent: u32,
    /// Who is called.
    #[prost(uint32, tag = "2")]
    pub child: u32,
}

/// A group of an entry.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct EntryGroup {
    /// The entry.
    #[prost(uint32, tag = "1")]
    pub entry: u32,
    /// Which group.
    #[prost(message, optional, tag = "2")]
    pub key: Option<GroupKey>,
}

/// What is hot.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Hot {
    /// Nodes.
    #[prost(uint32, repeated, tag = "1")]
    pub nodes: Vec<u32>,
    /// Fan-outs.
    #[prost(message, repeated, tag = "2")]
    pub fan_outs: Vec<NodePair>,
    /// New operations.
    #[prost(message, repeated, tag = "3")]
    pub new_operations: Vec<EntryGroup>,
    /// Overlaps that fell.
    #[prost(message, repeated, tag = "4")]
    pub overlaps: Vec<EntryGroup>,
}

/// An open incident.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Open {
    /// As published.
    #[prost(message, optional, tag = "1")]
    pub incident: Option<Incident>,
    /// The first suspect's kind, as the label value.
    #[prost(string, tag = "2")]
    pub first_kind: String,
    /// Its name.
    #[prost(uint32, tag = "3")]
    pub first_name: u32,
    /// What has been hot in it.
    #[prost(message, optional, tag = "4")]
    pub hot: Option<Hot>,
    /// Entries affected.
    #[prost(uint32, repeated, tag = "5")]
    pub affected: Vec<u32>,
    /// Nodes that do not learn meanwhile.
    #[prost(uint32, repeated, tag = "6")]
    pub frozen_nodes: Vec<u32>,
    /// The slice in which it began.
    #[prost(uint64, tag = "7")]
    pub onset: u64,
    /// The slice in which it was last felt.
    #[prost(uint64, tag = "8")]
    pub last_hot: u64,
    /// Quiet slices since.
    #[prost(uint32, tag = "9")]
    pub quiet: u32,
}

/// An incident as published.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Incident {
    /// Its number.
    #[prost(uint64, tag = "1")]
    pub id: u64,
    /// When it began.
    #[prost(fixed64, tag = "2")]
    pub start: u64,
    /// When it was first published.
    #[prost(fixed64, tag = "3")]
    pub detected: u64,
    /// When it was over.
    #[prost(fixed64, optional, tag = "4")]
    pub end: Option<u64>,
    /// What the suspects share.
    #[prost(double, tag = "5")]
    pub excess_seconds: f64,
    /// The part put on nobody.
    #[prost(double, tag = "6")]
    pub unexplained_share: f64,
    /// The entries that are slower.
    #[prost(message, repeated, tag = "7")]
    pub entries: Vec<Impact>,
    /// Who made them slower.
    #[prost(message, repeated, tag = "8")]
    pub suspects: Vec<Suspect>,
    /// How likely the first of them is right.
    #[prost(double, tag = "9")]
    pub confidence: f64,
    /// Who waits for them.
    #[prost(message, repeated, tag = "10")]
    pub impacted: Vec<Impacted>,
}

/// A service that waits for the suspects.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Impacted {
    /// Its name.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Seconds that it waited longer.
    #[prost(double, tag = "2")]
    pub excess_seconds: f64,
}

/// An entry that is slower.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Impact {
    /// Its service.
    #[prost(string, tag = "1")]
    pub service: String,
    /// Its name.
    #[prost(string, tag = "2")]
    pub operation: String,
    /// The span kind, by OTLP's number.
    #[prost(uint32, tag = "3")]
    pub span_kind: u32,
    /// Seconds above expectation.
    #[prost(double, tag = "4")]
    pub excess_seconds: f64,
    /// Mean seconds, learned.
    #[prost(double, tag = "5")]
    pub baseline_seconds: f64,
    /// Mean seconds, recent.
    #[prost(double, tag = "6")]
    pub recent_seconds: f64,
}

/// A suspect; its rank is its place.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Suspect {
    /// Whom to page.
    #[prost(string, tag = "1")]
    pub service: String,
    /// What that names, as the label value.
    #[prost(string, tag = "2")]
    pub kind: String,
    /// The operation that carries most.
    #[prost(string, tag = "3")]
    pub operation: String,
    /// The span kind, by OTLP's number.
    #[prost(uint32, tag = "4")]
    pub span_kind: u32,
    /// Share of the excess.
    #[prost(double, tag = "5")]
    pub score: f64,
    /// Seconds of it.
    #[prost(double, tag = "6")]
    pub excess_seconds: f64,
    /// How it costs more, as the label value.
    #[prost(string, tag = "7")]
    pub reason: String,
    /// How many calls are slow, as the label value.
    #[prost(string, tag = "8")]
    pub pattern: String,
    /// Attribute, value and share of what singles the slow ones out.
    #[prost(message, optional, tag = "9")]
    pub place: Option<Where>,
    /// Mean seconds of a call, learned.
    #[prost(double, tag = "10")]
    pub baseline_seconds: f64,
    /// Mean seconds of a call, recent.
    #[prost(double, tag = "11")]
    pub recent_seconds: f64,
    /// Calls.
    #[prost(uint64, tag = "12")]
    pub calls: u64,
    /// Traces that show it, 16 bytes each.
    #[prost(bytes = "vec", repeated, tag = "13")]
    pub traces: Vec<Vec<u8>>,
}

/// What singles the slow ones out.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Where {
    /// The attribute.
    #[prost(string, tag = "1")]
    pub attribute: String,
    /// Its value.
    #[prost(string, tag = "2")]
    pub value: String,
    /// Share of the excess.
    #[prost(double, tag = "3")]
    pub share: f64,
}
