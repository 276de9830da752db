//! What goes wrong, where, by how much and when; and what a right verdict about it may say.
//!
//! The truth is told in the words of the outward contract (`service` / `dependency` / `edge`,
//! `self_time`, ...), as strings: the simulation shares no types with those who are tested by it.

use std::sync::Arc;

use crate::model::{Nanos, Timestamp};

/// One thing that goes wrong for a while.
#[derive(Clone, PartialEq, Debug)]
pub struct Fault {
    /// What and where.
    pub what: What,
    /// When it starts, counted from the start of the scenario.
    pub from: Nanos,
    /// When it ends, counted likewise.
    pub to: Nanos,
    /// Over this long, from its start, it grows linearly to its full size. Zero: at once.
    pub ramp: Nanos,
}

/// How much longer something takes: `factor` times as long, plus `add`.
#[derive(Clone, Copy, PartialEq, Debug)]
pub struct Slowdown {
    /// On every piece of own work.
    pub factor: f64,
    /// Once per call.
    pub add: Nanos,
}

/// What goes wrong, and where.
#[derive(Clone, PartialEq, Debug)]
pub enum What {
    /// Every operation of a service does its own work more slowly.
    SlowService {
        /// Which.
        service: Arc<str>,
        /// By how much.
        by: Slowdown,
    },
    /// One operation (or consumer) does.
    SlowOperation {
        /// Whose.
        service: Arc<str>,
        /// Which.
        operation: Arc<str>,
        /// By how much.
        by: Slowdown,
    },
    /// One instance of a service does.
    SlowInstance {
        /// Whose.
        service: Arc<str>,
        /// Which, from 1: `cart-2` is 2.
        instance: usize,
        /// By how much.
        by: Slowdown,
    },
    /// Some calls of a service stop for a while.
    Stalls {
        /// Whose.
        service: Arc<str>,
        /// Which share of the calls.
        probability: f64,
        /// For how long.
        by: Nanos,
    },
    /// A database, cache or third party answers more slowly, whoever asks.
    SlowBackend {
        /// Which.
        backend: Arc<str>,
        /// By how much.
        by: Slowdown,
    },
    /// Every call from one service to one service or backend takes longer on the way.
    EdgeDelay {
        /// Who calls.
        caller: Arc<str>,
        /// Whom: a service or a backend.
        callee: Arc<str>,
        /// In each direction.
        by: Nanos,
    },
    /// Every call to a service, whoever makes it, takes longer on the way.
    ServiceNetwork {
        /// Which.
        service: Arc<str>,
        /// In each direction.
        by: Nanos,
    },
    /// An operation makes a call several times as often (N+1).
    MoreCalls {
        /// Whose.
        service: Arc<str>,
        /// Which.
        operation: Arc<str>,
        /// Called service or backend.
        callee: Arc<str>,
        /// How many times as often.
        times: u32,
    },
    /// An operation makes its parallel calls one after the other.
    LostParallelism {
        /// Whose.
        service: Arc<str>,
        /// Which.
        operation: Arc<str>,
    },
    /// An operation gets a new name and is slower under it, as after a release.
    Renamed {
        /// Whose.
        service: Arc<str>,
        /// Its old name.
        operation: Arc<str>,
        /// Its new name.
        to: Arc<str>,
        /// By how much it is slower.
        by: Slowdown,
    },
    /// Messages wait longer before a consumer takes them up.
    ConsumerLag {
        /// Whose.
        service: Arc<str>,
        /// Which consumer.
        operation: Arc<str>,
        /// How much longer.
        by: Nanos,
    },
}

/// A fault that names something the topology does not have, or has no size.
#[derive(Clone, PartialEq, Eq, Debug, thiserror::Error)]
pub enum FaultDefect {
    /// No such service.
    #[error("no service named {0}")]
    Service(Arc<str>),
    /// No such operation.
    #[error("service {0} has no operation named {1}")]
    Operation(Arc<str>, Arc<str>),
    /// No such service or backend.
    #[error("no service or backend named {0}")]
    Callee(Arc<str>),
    /// No such instance; they count from 1.
    #[error("service {0} has no instance number {1}")]
    Instance(Arc<str>, usize),
}

/// One thing a right verdict may say.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Blame {
    /// The `service_name` label.
    pub service: Arc<str>,
    /// The `suspect_kind` label.
    pub kind: &'static str,
    /// The `reason` label, any of these.
    pub reasons: &'static [&'static str],
    /// The attribute and value that single the slow calls out, where the fault has one.
    pub singled_out: Option<(&'static str, Arc<str>)>,
}

/// What is really wrong.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Truth {
    /// What a right verdict says; the first is the plainest, the others are acceptable. Empty where
    /// no request gets slower, so that nothing should be said.
    pub blames: Vec<Blame>,
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
}

impl Truth {
    /// Whether naming this `service_name` with this `suspect_kind` is right.
    pub fn accepts(&self, service: &str, kind: &str) -> bool {
        self.blames.iter().any(|blame| &*blame.service == service && blame.kind == kind)
    }

    /// The service, dependency or edge end to name in the first place.
    pub fn culprit(&self) -> Option<&Arc<str>> {
        self.blames.first().map(|blame| &blame.service)
    }
}

impl Slowdown {
    /// This many times as long.
    pub const fn times(factor: f64) -> Slowdown {
        Slowdown { factor, add: Nanos::ZERO }
    }

    /// This many milliseconds more per call.
    pub const fn ms(add_ms: u64) -> Slowdown {
        Slowdown { factor: 1.0, add: Nanos::from_millis(add_ms) }
    }

    /// No slowdown.
    pub(super) const NONE: Slowdown = Slowdown::times(1.0);

    /// The same at a strength between 0 (none) and 1 (full).
    pub(super) fn at(self, strength: f64) -> Slowdown {
        Slowdown {
            factor: 1.0 + (self.factor - 1.0) * strength,
            add: Nanos::from_secs_f64(self.add.as_secs_f64() * strength),
        }
    }

    /// Both at once.
    pub(super) fn and(self, other: Slowdown) -> Slowdown {
        Slowdown { factor: self.factor * other.factor, add: self.add + other.add }
    }
}

impl Fault {
    /// At full size from `from_secs` to `to_secs`, counted from the start of the scenario.
    pub fn new(what: What, from_secs: u64, to_secs: u64) -> Fault {
        let (from, to) = (Nanos::from_secs(from_secs), Nanos::from_secs(to_secs));
        Fault { what, from, to, ramp: Nanos::ZERO }
    }

    /// The same, growing to its full size over this long.
    pub fn ramp(self, ramp: Nanos) -> Fault {
        Fault { ramp, ..self }
    }

    /// How much of its size it has at this time: 0 outside, 1 once the ramp is over.
    pub fn strength(&self, since_start: Nanos) -> f64 {
        if since_start < self.from || since_start >= self.to {
            return 0.0;
        }
        let age = since_start - self.from;
        if age >= self.ramp { 1.0 } else { age.as_secs_f64() / self.ramp.as_secs_f64() }
    }

    /// What a right verdict may say, for a scenario that starts at `start`. `is_backend` tells
    /// whether a callee sends no spans.
    pub fn truth(&self, start: Timestamp, is_backend: impl Fn(&str) -> bool) -> Truth {
        Truth { blames: self.what.blames(is_backend), from: start + self.from, to: start + self.to }
    }
}

const SELF_TIME: &[&str] = &["self_time"];
const CALL_GAP: &[&str] = &["call_gap"];

impl What {
    fn blames(&self, is_backend: impl Fn(&str) -> bool) -> Vec<Blame> {
        let blame = |service: &Arc<str>, kind, reasons| Blame {
            service: Arc::clone(service),
            kind,
            reasons,
            singled_out: None,
        };
        match self {
            What::SlowService { service, .. } | What::SlowOperation { service, .. } => {
                vec![blame(service, "service", SELF_TIME)]
            }
            // Of a call that its caller gave up on, nothing is left but that it failed.
            What::Stalls { service, .. } => {
                vec![blame(service, "service", &["self_time", "call_gap"])]
            }
            What::SlowInstance { service, instance, .. } => vec![Blame {
                singled_out: Some(("service.instance.id", format!("{service}-{instance}").into())),
                ..blame(service, "service", SELF_TIME)
            }],
            What::SlowBackend { backend, .. } => vec![blame(backend, "dependency", SELF_TIME)],
            // Seen from the caller, a slow way to a backend and a slow backend are the same.
            What::EdgeDelay { callee, .. } if is_backend(callee) => {
                vec![blame(callee, "dependency", SELF_TIME)]
            }
            // The link has two ends: under either it is the same link, told by `where`.
            What::EdgeDelay { caller, callee, .. } => vec![
                Blame {
                    singled_out: Some(("from", Arc::clone(caller))),
                    ..blame(callee, "edge", CALL_GAP)
                },
                blame(callee, "service", CALL_GAP),
                Blame {
                    singled_out: Some(("to", Arc::clone(callee))),
                    ..blame(caller, "edge", CALL_GAP)
                },
            ],
            What::ServiceNetwork { service, .. } => {
                vec![blame(service, "service", CALL_GAP), blame(service, "edge", CALL_GAP)]
            }
            What::MoreCalls { service, .. } => vec![blame(service, "service", &["call_count"])],
            What::LostParallelism { service, .. } => {
                vec![blame(service, "service", &["lost_parallelism"])]
            }
            What::Renamed { service, .. } => {
                vec![blame(service, "service", &["new_operation", "self_time"])]
            }
            // The wait lies between two entries: neither of them takes longer.
            What::ConsumerLag { .. } => Vec::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slow_cart() -> What {
        What::SlowService { service: "cart".into(), by: Slowdown::times(3.0) }
    }

    #[test]
    fn a_ramp_grows_linearly_and_ends_with_the_fault() {
        let fault = Fault::new(slow_cart(), 100, 200).ramp(Nanos::from_secs(50));
        let at = |seconds| fault.strength(Nanos::from_secs(seconds));
        assert_eq!(
            [at(99), at(100), at(125), at(150), at(199), at(200)],
            [0.0, 0.0, 0.5, 1.0, 1.0, 0.0]
        );
        assert_eq!(Fault::new(slow_cart(), 100, 200).strength(Nanos::from_secs(100)), 1.0);
    }

    #[test]
    fn half_a_slowdown_is_half_of_what_it_adds() {
        let half = Slowdown { factor: 3.0, add: Nanos::from_millis(10) }.at(0.5);
        assert_eq!(half, Slowdown { factor: 2.0, add: Nanos::from_millis(5) });
    }

    #[test]
    fn a_delayed_link_is_an_edge_between_services_and_a_dependency_before_a_backend() {
        let what = |callee: &str| What::EdgeDelay {
            caller: "cart".into(),
            callee: callee.into(),
            by: Nanos::from_millis(20),
        };
        let truth = |callee: &str| {
            Fault::new(what(callee), 1, 2).truth(Timestamp::from_secs(100), |name| name == "db")
        };
        assert!(truth("catalog").accepts("catalog", "edge"));
        assert!(truth("catalog").accepts("catalog", "service"));
        assert!(!truth("catalog").accepts("cart", "service"));
        assert!(truth("db").accepts("db", "dependency"));
        assert!(!truth("db").accepts("db", "edge"));
        assert_eq!(truth("db").from, Timestamp::from_secs(101));
    }
}
