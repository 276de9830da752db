//! What goes wrong: each effect says what it changes, where, and how much at a moment.
//!
//! The world asks these questions step by step; nothing here knows of queues or spans. What an effect
//! comes to for those who wait is not computed but measured, in `effect`.

use super::rand::{Dist, Key, chance, mix};
use super::topology::{DepId, EdgeId, HostId, InstanceId, OpId, ServiceId};

/// One effect for a while.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) what: What,
    /// Nanoseconds from the start of the run.
    pub(crate) from: u64,
    pub(crate) to: u64,
    /// Nanoseconds over which it grows to its full size, from its start.
    pub(crate) ramp: u64,
}

/// Whose own work is meant.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Scope {
    pub(crate) service: ServiceId,
    pub(crate) op: Option<OpId>,
    pub(crate) instance: Option<InstanceId>,
    /// Only instances that run this version or a later one.
    pub(crate) version: usize,
    pub(crate) tenant: Option<usize>,
    pub(crate) region: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Ways {
    Edge(EdgeId),
    /// Everything that leaves or reaches processes of this host.
    Host(HostId),
}

/// Nanoseconds are those of the full size.
#[derive(Clone, Debug)]
pub(crate) enum What {
    /// Own work takes `factor` times as long, and `add` more once a call in a `share` of the calls.
    Slow { scope: Scope, factor: f64, add: f64, share: f64 },
    /// A backend works longer on each request, or on a share of them.
    SlowDep { dep: DepId, factor: f64, add: f64, share: f64 },
    /// Messages take longer on the way, there and back, in a share of the cases.
    Way { ways: Ways, there: f64, back: f64, share: f64 },
    /// A step of an operation makes its call this many times more, the fraction by chance.
    MoreCalls { op: OpId, step: usize, extra: f64 },
    /// An operation makes its parallel calls one after the other, in a share of its calls.
    Sequential { op: OpId, share: f64 },
    /// What only one request of an instance may do at a time takes longer.
    Hold { service: ServiceId, add: f64 },
    /// An operation fails in a share of its calls, after its first step.
    Fail { op: OpId, share: f64 },
    /// A cache misses in this share of the cases where it would have hit.
    Miss { dep: DepId, share: f64 },
    /// All processes of a service (or one) stop for `length`, every `every` nanoseconds about.
    Pauses { service: ServiceId, instance: Option<InstanceId>, every: f64, length: f64 },
    /// The processes of a service (or one) stop for the last `share` of every `period`.
    Throttle { service: ServiceId, instance: Option<InstanceId>, period: u64, share: f64 },
    /// This many times the requests.
    Surge(f64),
    /// This many times the requests of one entry.
    Mix { entry: usize, factor: f64 },
    /// Batches are lost, by share.
    Lose(f64),
}

/// Whose work it is and for whom.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) service: ServiceId,
    pub(crate) op: OpId,
    pub(crate) instance: InstanceId,
    pub(crate) version: usize,
    pub(crate) tenant: usize,
    pub(crate) region: usize,
}

/// A message on its way between two processes; a backend has no instance.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trip {
    pub(crate) edge: EdgeId,
    pub(crate) hosts: [Option<HostId>; 2],
    pub(crate) back: bool,
}

/// Added delays vary by this much in the logarithm: real ones are not constant.
const JITTER: Dist = Dist::log_normal(1.0, 0.25);

impl Fault {
    /// How much of its size it has at this time, 0 to 1.
    pub(crate) fn strength(&self, now: u64) -> f64 {
        if now < self.from || now >= self.to {
            0.0
        } else if now - self.from >= self.ramp {
            1.0
        } else {
            (now - self.from) as f64 / self.ramp as f64
        }
    }
}

impl Scope {
    pub(crate) fn service(service: ServiceId) -> Scope {
        Scope { service, ..Scope::default() }
    }

    fn covers(&self, place: Place) -> bool {
        let is = |wanted: Option<usize>, is: usize| wanted.is_none_or(|wanted| wanted == is);
        self.service == place.service
            && is(self.op, place.op)
            && is(self.instance, place.instance)
            && place.version >= self.version
            && is(self.tenant, place.tenant)
            && is(self.region, place.region)
    }
}

/// All effects of a run. Few, so they are asked one by one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faults(pub(crate) Vec<Fault>);

impl Faults {
    fn active(&self, now: u64) -> impl Iterator<Item = (u64, &What, f64)> {
        let each =
            (1u64..).zip(&self.0).map(move |(n, fault)| (n, &fault.what, fault.strength(now)));
        each.filter(|(_, _, strength)| *strength > 0.0)
    }

    /// By what own work is multiplied, and what is added once a call.
    pub(crate) fn own_work(&self, now: u64, place: Place, call: Key) -> (f64, f64) {
        let (mut times, mut plus) = (1.0, 0.0);
        for (number, what, strength) in self.active(now) {
            if let What::Slow { scope, factor, add, share } = what
                && scope.covers(place)
            {
                times *= 1.0 + (factor - 1.0) * strength;
                plus += added(mix(call, number), *add * strength, *share);
            }
        }
        (times, plus)
    }

    /// The same for a backend.
    pub(crate) fn dep_work(&self, now: u64, dep: DepId, call: Key) -> (f64, f64) {
        let (mut times, mut plus) = (1.0, 0.0);
        for (number, what, strength) in self.active(now) {
            if let What::SlowDep { dep: meant, factor, add, share } = what
                && *meant == dep
            {
                times *= 1.0 + (factor - 1.0) * strength;
                plus += added(mix(call, number), *add * strength, *share);
            }
        }
        (times, plus)
    }

    /// What a message needs more.
    pub(crate) fn trip(&self, now: u64, trip: Trip, call: Key) -> f64 {
        let mut plus = 0.0;
        for (number, what, strength) in self.active(now) {
            if let What::Way { ways, there, back, share } = what {
                let ends = match ways {
                    Ways::Edge(edge) => usize::from(*edge == trip.edge),
                    Ways::Host(host) => {
                        trip.hosts.iter().filter(|end| **end == Some(*host)).count()
                    }
                };
                let add = if trip.back { *back } else { *there };
                let key = mix(call, 2 * number + u64::from(trip.back));
                // Within one host nothing crosses the network.
                plus += if ends == 1 { added(key, add * strength, *share) } else { 0.0 };
            }
        }
        plus
    }

    /// How often more a step makes its call.
    pub(crate) fn more_calls(&self, now: u64, op: OpId, step: usize, call: Key) -> usize {
        let mut extra = 0;
        for (number, what, strength) in self.active(now) {
            if let What::MoreCalls { op: meant, step: at, extra: more } = what
                && (*meant, *at) == (op, step)
            {
                let more = more * strength;
                extra +=
                    super::rand::index(more) + usize::from(chance(mix(call, number), more.fract()));
            }
        }
        extra
    }

    pub(crate) fn sequential(&self, now: u64, op: OpId, call: Key) -> bool {
        self.active(now).any(|(number, what, strength)| match what {
            What::Sequential { op: meant, share } => {
                *meant == op && chance(mix(call, number), share * strength)
            }
            _ => false,
        })
    }

    /// What the holder of a lock needs more.
    pub(crate) fn hold(&self, now: u64, service: ServiceId) -> f64 {
        let add = |what: &What| match what {
            What::Hold { service: meant, add } if *meant == service => *add,
            _ => 0.0,
        };
        self.active(now).map(|(_, what, strength)| add(what) * strength).sum()
    }

    pub(crate) fn fails(&self, now: u64, op: OpId, call: Key) -> bool {
        self.active(now).any(|(number, what, strength)| match what {
            What::Fail { op: meant, share } => {
                *meant == op && chance(mix(call, number), share * strength)
            }
            _ => false,
        })
    }

    pub(crate) fn misses(&self, now: u64, dep: DepId, call: Key) -> bool {
        self.active(now).any(|(number, what, strength)| match what {
            What::Miss { dep: meant, share } => {
                *meant == dep && chance(mix(call, number), share * strength)
            }
            _ => false,
        })
    }

    /// By what the arrivals of an entry are multiplied.
    pub(crate) fn arrivals(&self, now: u64, entry: usize) -> f64 {
        let factor = |what: &What| match what {
            What::Surge(factor) => *factor,
            What::Mix { entry: meant, factor } if *meant == entry => *factor,
            _ => 1.0,
        };
        self.active(now).map(|(_, what, strength)| 1.0 + (factor(what) - 1.0) * strength).product()
    }

    /// The most that `arrivals` can be for these faults together: each at its height with those that
    /// last when it begins.
    pub(crate) fn most_arrivals(faults: &[Fault]) -> f64 {
        let factor = |fault: &Fault| match fault.what {
            What::Surge(factor) | What::Mix { factor, .. } => factor.max(1.0),
            _ => 1.0,
        };
        let at = |time: u64| -> f64 {
            faults
                .iter()
                .filter(|other| (other.from..other.to).contains(&time))
                .map(factor)
                .product()
        };
        faults.iter().map(|fault| at(fault.from)).fold(1.0, f64::max)
    }

    /// Share of the batches that are lost.
    pub(crate) fn lost(&self, now: u64) -> f64 {
        let share = |what: &What| if let What::Lose(share) = what { *share } else { 0.0 };
        self.active(now).map(|(_, what, strength)| share(what) * strength).sum()
    }
}

fn added(key: Key, add: f64, share: f64) -> f64 {
    if add > 0.0 && (share >= 1.0 || chance(mix(key, 7), share)) {
        add * JITTER.sample(key)
    } else {
        0.0
    }
}
