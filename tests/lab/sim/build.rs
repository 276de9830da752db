//! A random system from a seed: 5 to 40 services in tiers, some ten to forty spans a request, a
//! database, a cache, a third party, a topic and parallel calls in every one of them.

use super::plan;
use super::rand::{Dist, Stream, index, secs};
use super::topology::{
    Call, Callee, Dep, DepId, DepKind, Edge, EdgeId, Entry, Instance, Kind, Label, LabelId, Op,
    OpId, Service, ServiceId, Step, System, Target, Topic,
};

const MS: f64 = 1e6;

const NAMES: [&str; 44] = [
    "cart",
    "catalog",
    "pricing",
    "checkout",
    "payment",
    "shipping",
    "inventory",
    "search",
    "profile",
    "session",
    "review",
    "recommend",
    "advert",
    "currency",
    "email",
    "invoice",
    "ledger",
    "fraud",
    "coupon",
    "loyalty",
    "media",
    "geo",
    "tax",
    "stock",
    "order",
    "basket",
    "notify",
    "audit",
    "policy",
    "token",
    "quota",
    "feed",
    "rating",
    "wallet",
    "route",
    "seat",
    "ticket",
    "contact",
    "station",
    "travel",
    "assurance",
    "food",
    "consign",
    "voucher",
];
const GATES: [&str; 4] = ["storefront", "mobile-api", "partner-api", "backoffice"];
const VERBS: [&str; 4] = ["GET", "POST", "PUT", "LIST"];
const THINGS: [&str; 6] = ["items", "detail", "quote", "summary", "batch", "status"];

/// Requests a second that are worth simulating.
const MOST_REQUESTS: f64 = 80.0;

/// What a caller may ask of a random system.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Wish {
    pub(crate) services: (usize, usize),
    /// Traced requests a second.
    pub(crate) rate: (f64, f64),
    /// Spans of a request, about.
    pub(crate) spans: (f64, f64),
}

impl Default for Wish {
    fn default() -> Wish {
        Wish { services: (5, 40), rate: (1.0, 25.0), spans: (10.0, 32.0) }
    }
}

pub(crate) fn build(seed: u64, wish: Wish) -> System {
    let mut builder = Builder::new(seed, wish);
    builder.services(wish);
    builder.backends();
    builder.operations(wish);
    builder.topics();
    builder.entries();
    builder.finish()
}

struct Builder {
    random: Stream,
    system: System,
    /// Spans that one call of each operation makes, about.
    spans: Vec<f64>,
    called: Vec<bool>,
}

impl Builder {
    fn new(seed: u64, wish: Wish) -> Builder {
        let mut random = Stream::new(seed);
        let traced = random.log_uniform(wish.rate.0, wish.rate.1);
        let sampling = if random.chance(0.7) { 1.0 } else { random.log_uniform(0.01, 1.0) };
        let sampling = f64::max(sampling, traced / MOST_REQUESTS);
        let weights = |names: &[&str], fall: f64| {
            let total: f64 = (0..names.len()).map(|i| fall.powi(id_i32(i))).sum();
            let each = names.iter().enumerate();
            each.map(|(i, name)| ((*name).to_owned(), fall.powi(id_i32(i)) / total)).collect()
        };
        let system = System {
            services: Vec::new(),
            instances: Vec::new(),
            ops: Vec::new(),
            labels: Vec::new(),
            edges: Vec::new(),
            deps: Vec::new(),
            topics: Vec::new(),
            entries: Vec::new(),
            hosts: Vec::new(),
            rate: traced / sampling,
            sampling,
            tenants: weights(&["acme", "globex", "initech", "umbrella", "hooli"], 0.7),
            regions: weights(&["eu-west", "us-east", "ap-south"], 0.6),
        };
        Builder { random, system, spans: Vec::new(), called: Vec::new() }
    }

    fn services(&mut self, wish: Wish) {
        let (low, high) = wish.services;
        let count = index(self.random.log_uniform(low as f64, high as f64 + 0.99));
        let depth = if count < 8 { 3 } else { self.random.between(3, 5) };
        let gates = self.random.between(1, (count / 6 + 1).min(GATES.len()));
        let mut names: Vec<&str> = NAMES.to_vec();
        for service in 0..count {
            let tier = match service {
                _ if service < gates => 0,
                _ if service < gates + depth - 1 => service - gates + 1,
                _ => self.random.between(1, depth - 1),
            };
            let name = match GATES.get(service).filter(|_| tier == 0) {
                Some(gate) => gate,
                None => names.swap_remove(self.random.between(0, names.len() - 1)),
            };
            self.service(name.to_owned(), tier);
        }
        let hosts = self.system.instances.len().div_ceil(3).max(2);
        self.system.hosts = (1..=hosts).map(|host| format!("node-{host}")).collect();
        for instance in 0..self.system.instances.len() {
            self.system.instances[instance].host = self.random.between(0, hosts - 1);
        }
    }

    fn service(&mut self, name: String, tier: usize) {
        let id = self.system.services.len();
        let count = [1, 1, 2, 2, 3, 3, 4][self.random.between(0, 6)];
        let first = self.system.instances.len();
        for ordinal in 0..count {
            self.system.instances.push(Instance { service: id, ordinal, host: 0 });
        }
        let random = &mut self.random;
        self.system.services.push(Service {
            name,
            tier,
            instances: (first..first + count).collect(),
            workers: 2,
            ops: Vec::new(),
            contention: if random.chance(0.5) { random.uniform(0.1, 0.8) } else { 0.0 },
            queue_in_span: random.chance(0.25),
            pool_in_span: random.chance(0.6),
            pauses: (random.log_uniform(10.0, 120.0), random.log_uniform(3.0, 50.0) * MS),
        });
    }

    fn backends(&mut self) {
        let services = self.system.services.len();
        let databases = 1 + self.random.between(0, services / 6);
        for number in 1..=databases {
            self.dep(format!("db-{number}"), DepKind::Database);
        }
        for number in 1..=self.random.between(1, 2) {
            self.dep(format!("cache-{number}"), DepKind::Cache);
        }
        for name in ["api.pay.example", "maps.example"] {
            if name.starts_with("api") || self.random.chance(0.5) {
                self.dep(name.to_owned(), DepKind::ThirdParty);
            }
        }
    }

    fn dep(&mut self, name: String, kind: DepKind) {
        self.system.deps.push(Dep { name, kind, servers: 2 });
    }

    /// From the deepest tier up, so that what is called is there before its callers.
    fn operations(&mut self, wish: Wish) {
        let target = self.random.uniform(wish.spans.0, wish.spans.1);
        let mut order: Vec<ServiceId> = (0..self.system.services.len()).collect();
        order.sort_by_key(|&service| std::cmp::Reverse(self.system.services[service].tier));
        for service in order {
            let tier = self.system.services[service].tier;
            let count =
                if tier == 0 { self.random.between(2, 4) } else { self.random.between(1, 3) };
            for number in 0..count {
                let budget = target * 0.55f64.powi(id_i32(tier)) * self.random.uniform(0.7, 1.3);
                self.operation(service, number, budget);
            }
        }
        self.connect_uncalled();
        self.ensure_parallel();
    }

    fn operation(&mut self, service: ServiceId, number: usize, budget: f64) {
        let thing = THINGS[number % THINGS.len()];
        let verb = *self.random.choose(&VERBS);
        let path = format!("/{}/{thing}", self.system.services[service].name);
        let route = Some(path.clone());
        let label = self.label(service, format!("{verb} {path}"), Kind::Server, None, route);
        let mut spans = 1.0;
        let mut steps = vec![Step::Work(self.own_work())];
        if self.random.chance(0.3) {
            let dist = self.own_work();
            let inner = self.label(service, "validate".into(), Kind::Internal, None, None);
            steps.push(Step::Internal(inner, dist));
            spans += 1.0;
        }
        if self.random.chance(0.3) {
            let hold = self.random.log_uniform(0.05, 0.4) * MS;
            steps.push(Step::Locked(Dist::log_normal(hold, 0.4)));
        }
        let calls = self.downstream(service, budget - spans - 1.0, &mut spans);
        self.arrange(calls, &mut steps);
        self.storage(service, &mut steps, &mut spans);
        if self.random.chance(0.6) {
            steps.push(Step::Work(self.own_work()));
        }
        self.push_op(service, label, steps, spans);
    }

    fn push_op(
        &mut self,
        service: ServiceId,
        label: LabelId,
        steps: Vec<Step>,
        spans: f64,
    ) -> OpId {
        let op = self.system.ops.len();
        self.system.ops.push(Op { service, label, steps });
        self.system.services[service].ops.push(op);
        self.spans.push(spans);
        self.called.push(false);
        op
    }

    /// Calls of operations in deeper tiers, as many as the budget of spans allows.
    fn downstream(&mut self, service: ServiceId, budget: f64, spans: &mut f64) -> Vec<Call> {
        let tier = self.system.services[service].tier;
        let deeper = |op: &Op| self.system.services[op.service].tier > tier;
        let candidates: Vec<OpId> =
            (0..self.system.ops.len()).filter(|&op| deeper(&self.system.ops[op])).collect();
        let mut calls = Vec::new();
        let mut left = budget;
        for _ in 0..8 {
            if candidates.is_empty() || left < 2.0 {
                break;
            }
            let op = *self.random.choose(&candidates);
            let cost = 1.0 + self.spans[op];
            if cost > left {
                continue;
            }
            let chance = if self.random.chance(0.75) { 1.0 } else { self.random.uniform(0.2, 0.8) };
            calls.push(self.call_op(service, op, chance));
            left -= cost * chance;
            *spans += cost * chance;
        }
        calls
    }

    fn call_op(&mut self, service: ServiceId, op: OpId, chance: f64) -> Call {
        self.called[op] = true;
        let callee = self.system.ops[op].service;
        let edge = self.edge(service, Callee::Service(callee));
        let full = self.system.op_name(op).to_owned();
        // Many HTTP clients know no route and call their span by the method alone.
        let name = match full.split_once(' ') {
            Some((verb, _)) if service.is_multiple_of(3) => verb.to_owned(),
            _ => full,
        };
        let peer = (!service.is_multiple_of(4))
            .then(|| ("server.address", self.system.services[callee].name.clone()));
        let label = self.label(service, name, Kind::Client, peer, None);
        Call { edge, target: Target::Op(op), label, chance, times: 1 }
    }

    /// Side by side, or one after the other.
    fn arrange(&mut self, mut calls: Vec<Call>, steps: &mut Vec<Step>) {
        if calls.len() >= 2 && self.random.chance(0.4) {
            let keep = self.random.between(2, calls.len().min(4));
            let rest = calls.split_off(keep);
            steps.push(Step::Parallel(calls));
            calls = rest;
        }
        for call in calls {
            if self.random.chance(0.3) {
                steps.push(Step::Work(self.own_work()));
            }
            steps.push(Step::Call(call));
        }
    }

    fn storage(&mut self, service: ServiceId, steps: &mut Vec<Step>, spans: &mut f64) {
        let tier = self.system.services[service].tier;
        if !self.random.chance(if tier == 0 { 0.25 } else { 0.6 }) {
            return;
        }
        if self.random.chance(0.3) {
            let hit = self.random.uniform(0.75, 0.97);
            let cache = self.call_dep(service, DepKind::Cache);
            let store = self.call_dep(service, DepKind::Database);
            steps.push(Step::Cached { cache, store, hit });
            *spans += 2.0 - hit;
        } else if self.random.chance(0.15) {
            let call = self.call_dep(service, DepKind::ThirdParty);
            steps.push(Step::Call(call));
            *spans += 1.0;
        } else {
            let times = [1, 1, 1, 2, 3][self.random.between(0, 4)];
            let call = Call { times, ..self.call_dep(service, DepKind::Database) };
            *spans += times as f64;
            steps.push(Step::Call(call));
        }
    }

    fn call_dep(&mut self, service: ServiceId, kind: DepKind) -> Call {
        let all: Vec<DepId> =
            (0..self.system.deps.len()).filter(|&dep| self.system.deps[dep].kind == kind).collect();
        // A service keeps to one database, as most do.
        let dep = all[service % all.len()];
        let edge = self.edge(service, Callee::Dep(dep));
        let thing = *self.random.choose(&THINGS);
        let (name, attribute, dist) = match kind {
            DepKind::Database => {
                let dist = Dist {
                    median: self.random.log_uniform(0.6, 8.0) * MS,
                    sigma: self.random.uniform(0.3, 0.8),
                    mode: (0.0, 1.0),
                    tail: (0.02, 1.7),
                };
                (format!("SELECT {thing}"), ["db.namespace", "server.address"][dep % 2], dist)
            }
            DepKind::Cache => {
                let median = self.random.log_uniform(0.15, 0.6) * MS;
                (format!("GET {thing}"), "server.address", Dist::log_normal(median, 0.3))
            }
            DepKind::ThirdParty => {
                let dist = Dist {
                    median: self.random.log_uniform(15.0, 90.0) * MS,
                    sigma: 0.5,
                    mode: (0.1, 3.0),
                    tail: (0.02, 1.6),
                };
                (format!("POST {thing}"), ["peer.service", "server.address"][dep % 2], dist)
            }
        };
        let peer = Some((attribute, self.system.deps[dep].name.clone()));
        let label = self.label(service, name, Kind::Client, peer, None);
        Call { edge, target: Target::Dep(dep, dist), label, chance: 1.0, times: 1 }
    }

    fn own_work(&mut self) -> Dist {
        let random = &mut self.random;
        Dist {
            median: random.log_uniform(0.3, 12.0) * MS,
            sigma: random.uniform(0.15, 0.7),
            mode: if random.chance(0.2) {
                (random.uniform(0.05, 0.4), random.uniform(2.0, 6.0))
            } else {
                (0.0, 1.0)
            },
            tail: if random.chance(0.3) { (0.01, 1.6) } else { (0.0, 2.0) },
        }
    }

    fn edge(&mut self, caller: ServiceId, callee: Callee) -> EdgeId {
        let known = self.system.edges.iter().position(|e| e.caller == caller && e.callee == callee);
        if let Some(edge) = known {
            return edge;
        }
        let random = &mut self.random;
        let limited = random.chance(0.7);
        let retries = if limited && random.chance(0.4) { random.between(1, 2) } else { 0 };
        self.system.edges.push(Edge {
            caller,
            callee,
            pool: 2,
            way: Dist::log_normal(random.log_uniform(0.08, 0.8) * MS, 0.35),
            timeout: if limited { secs(random.uniform(1.0, 4.0)) } else { 0 },
            retries,
            back_off: secs(random.log_uniform(0.02, 0.2)),
            breaker: retries > 0 && random.chance(0.3),
        });
        self.system.edges.len() - 1
    }

    /// The label of these; equal labels are one.
    fn label(
        &mut self,
        service: ServiceId,
        name: String,
        kind: Kind,
        peer: Option<(&'static str, String)>,
        route: Option<String>,
    ) -> LabelId {
        self.system.labels.push(Label { service, name, kind, peer, route });
        self.system.labels.len() - 1
    }

    /// What nobody calls yet is called by somebody in a tier above.
    fn connect_uncalled(&mut self) {
        for op in 0..self.system.ops.len() {
            let tier = self.system.services[self.system.ops[op].service].tier;
            if self.called[op] || tier == 0 {
                continue;
            }
            let callers: Vec<OpId> = (0..self.system.ops.len())
                .filter(|&caller| {
                    let above = self.system.services[self.system.ops[caller].service].tier;
                    above + 1 == tier || (above == 0 && tier > 0)
                })
                .collect();
            let caller = *self.random.choose(&callers);
            let chance = self.random.uniform(0.3, 1.0);
            let call = self.call_op(self.system.ops[caller].service, op, chance);
            let at = self.system.ops[caller].steps.len();
            self.system.ops[caller].steps.insert(at, Step::Call(call));
        }
    }

    /// Some operation that requests enter by makes two calls side by side.
    fn ensure_parallel(&mut self) {
        let has = |op: &Op| op.steps.iter().any(|s| matches!(s, Step::Parallel(_)));
        let tier = |op: &Op| self.system.services[op.service].tier;
        if self.system.ops.iter().any(|op| tier(op) == 0 && has(op)) {
            return;
        }
        let gate = (0..self.system.ops.len()).find(|&op| tier(&self.system.ops[op]) == 0);
        let gate = gate.expect("the first services are the gates");
        let deeper: Vec<OpId> =
            (0..self.system.ops.len()).filter(|&op| tier(&self.system.ops[op]) == 1).collect();
        let service = self.system.ops[gate].service;
        let calls: Vec<Call> = (0..2)
            .map(|_| {
                let op = *self.random.choose(&deeper);
                self.call_op(service, op, 1.0)
            })
            .collect();
        self.system.ops[gate].steps.push(Step::Parallel(calls));
    }

    /// Consumers sit in the middle and publish nothing themselves, so messages beget no messages.
    fn topics(&mut self) {
        let middle: Vec<ServiceId> = (0..self.system.services.len())
            .filter(|&service| self.system.services[service].tier >= 2)
            .collect();
        for number in 0..self.random.between(1, 2) {
            let service = *self.random.choose(&middle);
            let name = format!("process {}", ["orders", "events"][number]);
            let label = self.label(service, name, Kind::Consumer, None, None);
            let store = self.call_dep(service, DepKind::Database);
            let mut spans = 2.0;
            let mut steps = vec![Step::Work(self.own_work()), Step::Call(store)];
            for call in self.downstream(service, 6.0, &mut spans) {
                steps.push(Step::Call(call));
            }
            let consumer = self.push_op(service, label, steps, spans);
            self.called[consumer] = true;
            let topic = self.system.topics.len();
            let lag = Dist::log_normal(self.random.log_uniform(2.0, 40.0) * MS, 0.5);
            self.system.topics.push(Topic { consumer, lag });
            self.publisher(topic, ["orders", "events"][number]);
        }
    }

    fn publisher(&mut self, topic: usize, name: &str) {
        let tier = |op: &Op| self.system.services[op.service].tier;
        let candidates: Vec<OpId> =
            (0..self.system.ops.len()).filter(|&op| tier(&self.system.ops[op]) <= 1).collect();
        let op = *self.random.choose(&candidates);
        let peer = Some(("messaging.system", "kafka".to_owned()));
        let service = self.system.ops[op].service;
        let label = self.label(service, format!("publish {name}"), Kind::Producer, peer, None);
        let hand_over = Dist::log_normal(self.random.log_uniform(0.5, 2.0) * MS, 0.4);
        self.system.ops[op].steps.push(Step::Publish { label, topic, hand_over });
    }

    fn entries(&mut self) {
        let gates: Vec<OpId> = (0..self.system.ops.len())
            .filter(|&op| self.system.services[self.system.ops[op].service].tier == 0)
            .collect();
        let weights: Vec<f64> = gates.iter().map(|_| self.random.log_uniform(0.15, 1.0)).collect();
        let total: f64 = weights.iter().sum();
        let each = gates.iter().zip(&weights);
        self.system.entries =
            each.map(|(&op, weight)| Entry { op, share: weight / total }).collect();
    }

    fn finish(mut self) -> System {
        let random = &mut self.random;
        plan::dimension(&mut self.system, || random.uniform(0.08, 0.45));
        self.system
    }
}

fn id_i32(number: usize) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}
