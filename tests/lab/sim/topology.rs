//! What a simulated system consists of: services with instances, operations as scripts of steps,
//! edges with pools and time-outs, backends that send no spans, topics, hosts.
//!
//! Plain data. How it is made up is in `build`, how it runs in `world`, what goes wrong in `faults`.

use super::rand::Dist;

pub(crate) type ServiceId = usize;
pub(crate) type OpId = usize;
pub(crate) type DepId = usize;
pub(crate) type EdgeId = usize;
pub(crate) type TopicId = usize;
pub(crate) type HostId = usize;
pub(crate) type InstanceId = usize;
pub(crate) type LabelId = usize;

/// OTLP's kinds of spans, as far as they occur here.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Internal,
    Server,
    Client,
    Producer,
    Consumer,
}

/// What the spans of one place in the code have in common.
#[derive(Clone, Debug)]
pub(crate) struct Label {
    pub(crate) service: ServiceId,
    pub(crate) name: String,
    pub(crate) kind: Kind,
    /// The attribute by which a CLIENT or PRODUCER span says whom it calls, and its value.
    pub(crate) peer: Option<(&'static str, String)>,
    /// `http.route`, on SERVER spans.
    pub(crate) route: Option<String>,
}

#[derive(Clone, Debug)]
pub(crate) struct Service {
    pub(crate) name: String,
    /// 0 for those that requests enter by; callees lie deeper.
    pub(crate) tier: usize,
    pub(crate) instances: Vec<InstanceId>,
    /// Requests that one instance works on at the same time.
    pub(crate) workers: usize,
    pub(crate) ops: Vec<OpId>,
    /// How much slower own work is when every worker is busy: contention for cores.
    pub(crate) contention: f64,
    /// The SERVER span starts when the request arrives, not when a worker takes it up.
    pub(crate) queue_in_span: bool,
    /// The CLIENT span starts before a connection is there, not when it is.
    pub(crate) pool_in_span: bool,
    /// Mean seconds between background pauses of a process, and their median length in nanoseconds.
    pub(crate) pauses: (f64, f64),
}

#[derive(Clone, Debug)]
pub(crate) struct Instance {
    pub(crate) service: ServiceId,
    pub(crate) ordinal: usize,
    pub(crate) host: HostId,
}

#[derive(Clone, Debug)]
pub(crate) struct Op {
    pub(crate) service: ServiceId,
    pub(crate) label: LabelId,
    pub(crate) steps: Vec<Step>,
}

/// One step of an operation. Steps run one after the other.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    /// The service's own work.
    Work(Dist),
    /// Own work under an INTERNAL span.
    Internal(LabelId, Dist),
    /// A call, or several of the same one after the other.
    Call(Call),
    /// Calls side by side; goes on when the last is back.
    Parallel(Vec<Call>),
    /// A cache is asked; on a miss, the store behind it.
    Cached { cache: Call, store: Call, hit: f64 },
    /// A message is handed to a broker.
    Publish { label: LabelId, topic: TopicId, hand_over: Dist },
    /// Own work that only one request of the instance may do at a time.
    Locked(Dist),
}

/// A place in the code from which something is called.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) edge: EdgeId,
    pub(crate) target: Target,
    pub(crate) label: LabelId,
    /// Share of the times it is reached that it is made.
    pub(crate) chance: f64,
    /// How often in a row.
    pub(crate) times: usize,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Target {
    Op(OpId),
    /// A backend, with how long it works on this request.
    Dep(DepId, Dist),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Callee {
    Service(ServiceId),
    Dep(DepId),
}

/// All calls from one service to another, or to a backend.
#[derive(Clone, Debug)]
pub(crate) struct Edge {
    pub(crate) caller: ServiceId,
    pub(crate) callee: Callee,
    /// Connections per instance of the caller.
    pub(crate) pool: usize,
    /// One way over the network.
    pub(crate) way: Dist,
    /// After this long the caller gives up, nanoseconds; 0 is never.
    pub(crate) timeout: u64,
    /// How often it tries again after a failure, and how long it waits before, nanoseconds.
    pub(crate) retries: usize,
    pub(crate) back_off: u64,
    /// It stops calling for a while after many failures in a row.
    pub(crate) breaker: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum DepKind {
    Database,
    Cache,
    ThirdParty,
}

/// Something that sends no spans.
#[derive(Clone, Debug)]
pub(crate) struct Dep {
    /// What its callers' spans name it.
    pub(crate) name: String,
    pub(crate) kind: DepKind,
    /// Requests it works on at the same time.
    pub(crate) servers: usize,
}

#[derive(Clone, Debug)]
pub(crate) struct Topic {
    pub(crate) consumer: OpId,
    /// From the hand-over to the consumer's queue.
    pub(crate) lag: Dist,
}

/// What requests come in by.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    pub(crate) op: OpId,
    /// Share of the traffic.
    pub(crate) share: f64,
}

#[derive(Clone, Debug)]
pub(crate) struct System {
    pub(crate) services: Vec<Service>,
    pub(crate) instances: Vec<Instance>,
    pub(crate) ops: Vec<Op>,
    pub(crate) labels: Vec<Label>,
    pub(crate) edges: Vec<Edge>,
    pub(crate) deps: Vec<Dep>,
    pub(crate) topics: Vec<Topic>,
    pub(crate) entries: Vec<Entry>,
    pub(crate) hosts: Vec<String>,
    /// Requests a second at the middle of the waves, and the share of them that is traced.
    pub(crate) rate: f64,
    pub(crate) sampling: f64,
    /// Values of the `tenant` and `region` attributes with their shares of the requests.
    pub(crate) tenants: Vec<(String, f64)>,
    pub(crate) regions: Vec<(String, f64)>,
}

impl Step {
    /// The calls this step may make.
    pub(crate) fn calls(&self) -> Vec<&Call> {
        match self {
            Step::Call(call) => vec![call],
            Step::Parallel(calls) => calls.iter().collect(),
            Step::Cached { cache, store, .. } => vec![cache, store],
            _ => Vec::new(),
        }
    }
}

impl System {
    pub(crate) fn op_name(&self, op: OpId) -> &str {
        &self.labels[self.ops[op].label].name
    }

    pub(crate) fn service_name(&self, service: ServiceId) -> &str {
        &self.services[service].name
    }

    pub(crate) fn callee_name(&self, callee: Callee) -> &str {
        match callee {
            Callee::Service(service) => &self.services[service].name,
            Callee::Dep(dep) => &self.deps[dep].name,
        }
    }
}
