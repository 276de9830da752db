//! How many files and connections the process may have open.
//!
//! The soft limit is often 1,024 for the sake of programs that use `select`; this one does not, so it
//! takes what the hard limit allows, as far as it needs it.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::limits::ConnectionLimits;

/// Descriptors that are not connections: files, listeners, the runtime's own, the backlog's head.
const RESERVED: u64 = 64;

/// Raises the soft limit as far as `wanted` connections need it, and says how many fit now.
pub(crate) fn raise(wanted: usize) -> usize {
    let needed = (wanted as u64).saturating_add(RESERVED);
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let current = current.unwrap_or(u64::MAX);
    let within = maximum.unwrap_or(u64::MAX).min(needed);
    let raised = within > current
        && setrlimit(Resource::Nofile, Rlimit { current: Some(within), maximum }).is_ok();
    let available = if raised { within } else { current };
    usize::try_from(available.saturating_sub(RESERVED)).unwrap_or(usize::MAX)
}

impl ConnectionLimits {
    /// The same for one of `listeners` that have `descriptors` together: each has a share of its own,
    /// so that a crowd at one of them leaves room at the others.
    #[must_use]
    pub fn within(&self, descriptors: usize, listeners: usize) -> ConnectionLimits {
        self.at_most(descriptors / listeners.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_listener_has_a_share_of_the_descriptors() {
        let limits = ConnectionLimits { max: 100, max_per_peer: 80, ..ConnectionLimits::default() };
        assert_eq!(limits.within(300, 3), limits);
        let within = limits.within(150, 3);
        assert_eq!((within.max, within.max_per_peer), (50, 40));
        assert_eq!(limits.within(0, 3).max, 1);
    }

    #[test]
    fn what_is_not_needed_is_not_raised() {
        let Rlimit { current, .. } = getrlimit(Resource::Nofile);
        raise(0);
        assert_eq!(getrlimit(Resource::Nofile).current, current);
    }
}
