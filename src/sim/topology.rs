//! Who calls whom: services, their instances and operations, and the backends that send no spans.
//!
//! Built from the leaves up: an operation can only call what was added before it, so call graphs are
//! free of cycles by construction and as deep as the list of operations at most. Nothing here knows
//! of time, traffic or faults.

use std::sync::Arc;

use crate::model::{Nanos, SpanKind};

use super::span::{Attributes, Resource};
use super::work::Work;

/// A service of one [`Topology`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct ServiceId(pub(super) usize);

/// An operation of one [`Topology`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct OperationId(pub(super) usize);

/// A database, cache, broker or third party of one [`Topology`].
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct BackendId(pub(super) usize);

/// One thing an operation does, in its turn.
#[derive(Clone, Debug)]
pub enum Step {
    /// Own work.
    Work(Work),
    /// A call; repeated ones run one after the other.
    Call(Call),
    /// Calls that run side by side; the step ends with the last of them.
    Together(Vec<Call>),
    /// Steps inside an INTERNAL span of this name.
    Inside(Arc<str>, Vec<Step>),
}

/// What is called, how often and for how long the caller waits.
#[derive(Clone, Debug)]
pub struct Call {
    pub(super) target: Target,
    pub(super) probability: f64,
    pub(super) count: (u32, u32),
    pub(super) patience: Option<Patience>,
}

/// Whom a call goes to.
#[derive(Clone, Debug)]
pub enum Target {
    /// Another service: a CLIENT span here, a SERVER span there, network time between them.
    Operation(OperationId),
    /// Something that sends no spans: a CLIENT span without a child.
    Backend {
        /// Whom.
        backend: BackendId,
        /// The name of the CLIENT span.
        statement: Arc<str>,
        /// How long it takes, the network included.
        work: Work,
    },
    /// A message handed to a broker: a PRODUCER span, and CONSUMER spans later.
    Publish {
        /// The broker.
        backend: BackendId,
        /// The name of the PRODUCER span.
        name: Arc<str>,
        /// How long the handing over takes.
        work: Work,
        /// Who processes it.
        consumers: Vec<Consumer>,
    },
}

/// Who processes a message, and how long after it was published.
#[derive(Clone, Debug)]
pub struct Consumer {
    /// An operation added with [`Topology::consumer`].
    pub operation: OperationId,
    /// From the end of the PRODUCER span to the start of the CONSUMER span.
    pub lag: Work,
}

/// How long a caller waits and what it does then.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Patience {
    /// The CLIENT span ends, failed, when the answer takes longer. The server goes on regardless.
    pub timeout: Nanos,
    /// How many more times it is tried; when all time out, the operation fails.
    pub retries: u32,
    /// Waiting time before the next try.
    pub back_off: Nanos,
}

impl Step {
    /// Own work with this median in milliseconds.
    pub fn work(median_ms: f64) -> Step {
        Step::Work(Work::ms(median_ms))
    }

    /// One call of another service's operation.
    pub fn call(operation: OperationId) -> Step {
        Step::Call(Call::to(operation))
    }

    /// One query of a backend with this median in milliseconds.
    pub fn query(backend: BackendId, statement: &str, median_ms: f64) -> Step {
        Step::Call(Call::query(backend, statement, Work::ms(median_ms)))
    }

    /// Steps inside an INTERNAL span.
    pub fn inside(name: &str, steps: Vec<Step>) -> Step {
        Step::Inside(name.into(), steps)
    }
}

impl Call {
    /// One call of another service's operation.
    pub fn to(operation: OperationId) -> Call {
        Call::once(Target::Operation(operation))
    }

    /// One query of a backend.
    pub fn query(backend: BackendId, statement: &str, work: Work) -> Call {
        Call::once(Target::Backend { backend, statement: statement.into(), work })
    }

    /// One message through a broker.
    pub fn publish(backend: BackendId, name: &str, work: Work, consumers: Vec<Consumer>) -> Call {
        Call::once(Target::Publish { backend, name: name.into(), work, consumers })
    }

    fn once(target: Target) -> Call {
        Call { target, probability: 1.0, count: (1, 1), patience: None }
    }

    /// The same, made only with this probability.
    pub fn sometimes(self, probability: f64) -> Call {
        Call { probability, ..self }
    }

    /// The same, made `least` to `most` times (uniformly), as for the items of a cart.
    pub fn times(self, least: u32, most: u32) -> Call {
        Call { count: (least, most), ..self }
    }

    /// The same, given up after a while. Only calls of operations are ever given up.
    pub fn patience(self, patience: Patience) -> Call {
        Call { patience: Some(patience), ..self }
    }
}

impl From<Call> for Step {
    fn from(call: Call) -> Step {
        Step::Call(call)
    }
}

/// Everything there is to be called.
#[derive(Clone, Debug)]
pub struct Topology {
    pub(super) services: Vec<Service>,
    pub(super) operations: Vec<Operation>,
    pub(super) backends: Vec<Backend>,
    pub(super) entries: Vec<Entry>,
    /// Each direction of each call between services.
    pub(super) network: Work,
    instances: usize,
}

#[derive(Clone, Debug)]
pub(super) struct Service {
    pub(super) name: Arc<str>,
    pub(super) instances: Vec<Arc<Resource>>,
    /// What CLIENT spans to this service carry.
    pub(super) address: Attributes,
}

#[derive(Clone, Debug)]
pub(super) struct Operation {
    pub(super) service: usize,
    pub(super) name: Arc<str>,
    pub(super) kind: SpanKind,
    pub(super) steps: Vec<Step>,
}

#[derive(Clone, Debug)]
pub(super) struct Backend {
    pub(super) name: Arc<str>,
    pub(super) attributes: Attributes,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) operation: usize,
    pub(super) weight: f64,
}

impl Default for Topology {
    fn default() -> Topology {
        Topology::new()
    }
}

impl Topology {
    /// Hosts over which instances are spread in turn, so that neighbours share a clock.
    pub const HOSTS: usize = 6;
    const ZONES: [&str; 3] = ["zone-a", "zone-b", "zone-c"];

    /// Nothing yet; a network of 0.25 ms a direction.
    pub fn new() -> Topology {
        Topology {
            services: Vec::new(),
            operations: Vec::new(),
            backends: Vec::new(),
            entries: Vec::new(),
            network: Work::ms(0.25).sigma(0.4),
            instances: 0,
        }
    }

    /// How long each direction of each call between services takes.
    pub fn set_network(&mut self, network: Work) {
        self.network = network;
    }

    /// Adds a service with `instances` instances (at least one), named `<service>-1` and so on.
    pub fn service(&mut self, name: &str, version: &str, instances: usize) -> ServiceId {
        let resources = (0..instances.max(1)).map(|number| {
            let exporter = self.instances + number;
            let host = exporter % Topology::HOSTS;
            Arc::new(Resource {
                service: name.into(),
                instance: format!("{name}-{}", number + 1).into(),
                version: version.into(),
                zone: Topology::ZONES[host % Topology::ZONES.len()].into(),
                host: format!("node-{}", host + 1).into(),
                exporter,
                host_index: host,
            })
        });
        let instances: Vec<_> = resources.collect();
        self.instances += instances.len();
        let address = attributes(&[("rpc.system", "http"), ("server.address", name)]);
        self.services.push(Service { name: name.into(), instances, address });
        ServiceId(self.services.len() - 1)
    }

    /// Adds an operation that is called by requests: a SERVER span.
    ///
    /// # Panics
    /// If it belongs to, or calls, something of another topology.
    pub fn operation(&mut self, service: ServiceId, name: &str, steps: Vec<Step>) -> OperationId {
        self.add(service, name, SpanKind::Server, steps)
    }

    /// Adds an operation that processes messages: a CONSUMER span.
    ///
    /// # Panics
    /// If it belongs to, or calls, something of another topology.
    pub fn consumer(&mut self, service: ServiceId, name: &str, steps: Vec<Step>) -> OperationId {
        self.add(service, name, SpanKind::Consumer, steps)
    }

    fn add(
        &mut self,
        service: ServiceId,
        name: &str,
        kind: SpanKind,
        steps: Vec<Step>,
    ) -> OperationId {
        assert!(service.0 < self.services.len(), "{name}: its service is of another topology");
        assert!(self.knows(&steps), "{name}: calls what was not added before it");
        self.operations.push(Operation { service: service.0, name: name.into(), kind, steps });
        OperationId(self.operations.len() - 1)
    }

    /// Whether all that is called has been added: what keeps call graphs free of cycles.
    fn knows(&self, steps: &[Step]) -> bool {
        let mut lists = vec![steps];
        let mut known = true;
        while let Some(steps) = lists.pop() {
            for step in steps {
                match step {
                    Step::Work(_) => {}
                    Step::Call(call) => known &= self.knows_target(&call.target),
                    Step::Together(calls) => {
                        known &= calls.iter().all(|call| self.knows_target(&call.target));
                    }
                    Step::Inside(_, inner) => lists.push(inner),
                }
            }
        }
        known
    }

    fn knows_target(&self, target: &Target) -> bool {
        match target {
            Target::Operation(operation) => operation.0 < self.operations.len(),
            Target::Backend { backend, .. } => backend.0 < self.backends.len(),
            Target::Publish { backend, consumers, .. } => {
                let known = |consumer: &Consumer| consumer.operation.0 < self.operations.len();
                backend.0 < self.backends.len() && consumers.iter().all(known)
            }
        }
    }

    /// Adds a SQL database: `server.address` is its name, `db.namespace` what it holds.
    pub fn database(&mut self, name: &str, system: &str, namespace: &str) -> BackendId {
        let said =
            [("db.system.name", system), ("server.address", name), ("db.namespace", namespace)];
        self.backend(name, &said)
    }

    /// Adds anything else that sends no spans; `said` is what CLIENT spans to it carry.
    pub fn backend(&mut self, name: &str, said: &[(&str, &str)]) -> BackendId {
        self.backends.push(Backend { name: name.into(), attributes: attributes(said) });
        BackendId(self.backends.len() - 1)
    }

    /// Lets requests enter at an operation, with this weight in the traffic mix.
    pub fn entry(&mut self, operation: OperationId, weight: f64) {
        self.entries.push(Entry { operation: operation.0, weight });
    }

    /// Changes every distribution of own work and of backends.
    pub fn reshape(&mut self, change: impl Fn(Work) -> Work) {
        let mut lists: Vec<&mut Vec<Step>> =
            self.operations.iter_mut().map(|operation| &mut operation.steps).collect();
        while let Some(steps) = lists.pop() {
            for step in steps {
                match step {
                    Step::Work(work) => *work = change(*work),
                    Step::Call(call) => reshape_call(call, &change),
                    Step::Together(calls) => {
                        calls.iter_mut().for_each(|call| reshape_call(call, &change));
                    }
                    Step::Inside(_, inner) => lists.push(inner),
                }
            }
        }
    }

    /// The services' names, in the order of adding.
    pub fn service_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.services.iter().map(|service| &service.name)
    }

    /// The backends' names, in the order of adding.
    pub fn backend_names(&self) -> impl Iterator<Item = &Arc<str>> {
        self.backends.iter().map(|backend| &backend.name)
    }

    /// The operations as (service, name), in the order of adding.
    pub fn operation_names(&self) -> impl Iterator<Item = (&Arc<str>, &Arc<str>)> {
        self.operations.iter().map(|o| (&self.services[o.service].name, &o.name))
    }

    /// All instances of all services, in the order of adding.
    pub fn resources(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.services.iter().flat_map(|service| &service.instances)
    }
}

fn reshape_call(call: &mut Call, change: &impl Fn(Work) -> Work) {
    match &mut call.target {
        Target::Operation(_) => {}
        Target::Backend { work, .. } | Target::Publish { work, .. } => *work = change(*work),
    }
}

fn attributes(said: &[(&str, &str)]) -> Attributes {
    said.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instances_have_names_of_their_own_and_share_hosts() {
        let mut topology = Topology::new();
        topology.service("cart", "1.4.0", 2);
        topology.service("catalog", "2.0.0", 5);
        let resources: Vec<_> = topology.resources().collect();
        assert_eq!(&*resources[1].instance, "cart-2");
        assert_eq!(&*resources[6].instance, "catalog-5");
        assert_eq!(resources[6].host, resources[0].host);
        assert_ne!(resources[1].host, resources[0].host);
        assert_eq!(resources.iter().map(|r| r.exporter).collect::<Vec<_>>(), [0, 1, 2, 3, 4, 5, 6]);
    }

    #[test]
    #[should_panic(expected = "GET /: calls what was not added before it")]
    fn an_operation_cannot_call_what_comes_after_it() {
        let mut other = Topology::new();
        let service = other.service("cart", "1", 1);
        let later = other.operation(service, "GET /later", Vec::new());
        let mut topology = Topology::new();
        let service = topology.service("cart", "1", 1);
        topology.operation(service, "GET /", vec![Step::inside("x", vec![Step::call(later)])]);
    }

    #[test]
    fn reshape_reaches_work_inside_internal_spans_and_calls() {
        let mut topology = Topology::new();
        let db = topology.database("db", "postgresql", "shop");
        let cart = topology.service("cart", "1", 1);
        let inner = Step::inside("render", vec![Step::query(db, "SELECT", 1.0)]);
        topology.operation(cart, "GET /", vec![Step::work(1.0), inner]);
        topology.reshape(|_| Work::ms(9.0));
        let steps = format!("{:?}", topology.operations[0].steps);
        assert_eq!(steps.matches(&format!("{:?}", Work::ms(9.0))).count(), 2, "{steps}");
    }
}
