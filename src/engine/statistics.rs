//! The few tests that decide whether a rise is believed. Pure functions of counts and moments.

/// Evidence, in nats, that the share of slow calls is higher recently than in the baseline:
/// the log-likelihood ratio (half of the G statistic) of two binomials against one. `slow` of `all`
/// each; zero unless the share rose and at least `min_slow` recent calls are slow.
pub(super) fn share_rose(recent: Share, baseline: Share, min_slow: f64) -> f64 {
    let (rate, before) = (recent.rate(), baseline.rate());
    if recent.slow < min_slow || rate <= before {
        return 0.0;
    }
    let pooled = (recent.slow + baseline.slow) / (recent.all + baseline.all);
    recent.log_likelihood_ratio(pooled) + baseline.log_likelihood_ratio(pooled)
}

/// So many slow ones of so many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Share {
    /// The slow ones.
    pub slow: f64,
    /// All of them.
    pub all: f64,
}

impl Share {
    /// What is left without a part of it.
    pub(super) fn without(self, part: Share) -> Share {
        Share { slow: (self.slow - part.slow).max(0.0), all: (self.all - part.all).max(0.0) }
    }

    fn rate(self) -> f64 {
        if self.all > 0.0 { self.slow / self.all } else { 0.0 }
    }

    fn log_likelihood_ratio(self, pooled: f64) -> f64 {
        let fast = self.all - self.slow;
        term(self.slow, self.all * pooled) + term(fast, self.all * (1.0 - pooled))
    }
}

/// What a count adds to a log-likelihood ratio against its expectation.
fn term(count: f64, expected: f64) -> f64 {
    if count > 0.0 && expected > 0.0 { count * (count / expected).ln() } else { 0.0 }
}

/// Slow calls of several places, each against what is normal there. Of all that are known of, before and
/// now, chance puts as many into the window as it has of the calls: one test, in which a change of the
/// places' shares of the traffic is no rise.
#[derive(Clone, Copy, Default, Debug)]
pub(super) struct Together {
    /// Recent slow ones.
    pub slow: f64,
    /// All slow ones.
    all: f64,
    /// How many of them chance makes recent.
    expected: f64,
}

impl Together {
    /// Adds a place.
    pub(super) fn add(&mut self, recent: Share, baseline: Share) {
        let all = recent.slow + baseline.slow;
        self.slow += recent.slow;
        self.all += all;
        self.expected += all * recent.all / (recent.all + baseline.all);
    }

    /// What is left without some recent slow ones.
    pub(super) fn without(self, slow: f64) -> Together {
        let all = self.all - slow;
        let expected = if self.all > 0.0 { all * self.expected / self.all } else { 0.0 };
        Together { slow: self.slow - slow, all, expected }
    }

    /// Nats that more of the slow ones are recent than chance makes them; zero if there are fewer.
    pub(super) fn evidence(self) -> f64 {
        if self.slow <= self.expected {
            return 0.0;
        }
        term(self.slow, self.expected) + term(self.all - self.slow, self.all - self.expected)
    }
}

/// The logarithm of the number of ways to choose so many `of` so many: what evidence for those that were
/// chosen by what they show has to exceed.
pub(super) fn ln_choices(chosen: usize, of: usize) -> f64 {
    let chosen = chosen.min(of);
    (1..=chosen).map(|at| ((of - chosen + at) as f64 / at as f64).ln()).sum()
}

/// How many times more than independent events those of several slices differ: what was seen in each, beside
/// what is expected there, in any unit.
pub(super) fn dispersion(slices: &[(f64, f64)]) -> f64 {
    let (seen, usual) =
        slices.iter().fold((0.0, 0.0), |(seen, usual), slice| (seen + slice.0, usual + slice.1));
    let distance = |&(slow, expected): &(f64, f64)| {
        let expected = seen * expected / usual;
        if expected > 0.0 { (slow - expected).powi(2) / expected } else { 0.0 }
    };
    let counted = slices.iter().filter(|(_, expected)| *expected > 0.0).count();
    slices.iter().map(distance).sum::<f64>() / (counted as f64 - 1.0).max(1.0)
}

/// A sample by its size, mean and variance.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moments {
    /// How many values.
    pub count: f64,
    /// Their mean.
    pub mean: f64,
    /// Their variance.
    pub variance: f64,
}

/// By how many standard errors the mean rose, the variance pooled with a prior of `prior_weight`
/// values of variance `prior_variance`, because few values say little about it.
pub(super) fn mean_rose(
    recent: Moments,
    baseline: Moments,
    prior_weight: f64,
    prior_variance: f64,
) -> f64 {
    if recent.count == 0.0 || baseline.count == 0.0 {
        return 0.0;
    }
    let squares = baseline.count * baseline.variance
        + recent.count * recent.variance
        + prior_weight * prior_variance;
    let pooled = squares / (baseline.count + recent.count + prior_weight);
    (recent.mean - baseline.mean) / (pooled * (1.0 / recent.count + 1.0 / baseline.count)).sqrt()
}

/// The standard error of the difference of two means. Few values may vary less than they usually do by
/// chance: their variance counts as no less than the baseline's.
pub(super) fn standard_error(recent: Moments, baseline: Moments) -> f64 {
    let usual = baseline.variance;
    (usual / baseline.count + recent.variance.max(usual) / recent.count).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn share(slow: f64, all: f64) -> Share {
        Share { slow, all }
    }

    #[test]
    fn two_of_five_can_be_chosen_in_ten_ways() {
        assert!((ln_choices(2, 5) - 10f64.ln()).abs() < 1e-12);
        assert_eq!((ln_choices(0, 5), ln_choices(5, 5), ln_choices(7, 5)), (0.0, 0.0, 0.0));
    }

    #[test]
    fn events_in_one_slice_of_four_are_dispersed_and_even_ones_are_not() {
        // By hand: 8 where 2 are expected, three times 0 for 2: (36 + 3 * 4) / 2 / 3.
        assert!(
            (dispersion(&[(8.0, 1.0), (0.0, 1.0), (0.0, 1.0), (0.0, 1.0)]) - 8.0).abs() < 1e-12
        );
        assert_eq!(dispersion(&[(2.0, 1.0); 4]), 0.0);
        assert_eq!(dispersion(&[]), 0.0);
    }

    #[test]
    fn evidence_is_the_log_likelihood_ratio() {
        // By hand: 10 of 10 against 0 of 10; pooled 1/2, so 20 ln 2.
        let nats = share_rose(share(10.0, 10.0), share(0.0, 10.0), 5.0);
        assert!((nats - 20.0 * 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn a_share_that_fell_or_few_slow_calls_are_no_evidence() {
        assert_eq!(share_rose(share(5.0, 100.0), share(50.0, 100.0), 5.0), 0.0);
        assert_eq!(share_rose(share(4.0, 4.0), share(0.0, 1000.0), 5.0), 0.0);
        assert_eq!(share_rose(share(0.0, 0.0), share(0.0, 0.0), 0.0), 0.0);
    }

    fn together(places: &[(Share, Share)]) -> Together {
        let mut all = Together::default();
        places.iter().for_each(|&(recent, baseline)| all.add(recent, baseline));
        all
    }

    #[test]
    fn slow_calls_of_several_places_add_up_to_the_evidence_of_one_place_with_all_of_them() {
        // By hand: 10 slow ones, all recent, where chance makes 5 so.
        let one = together(&[(share(10.0, 10.0), share(0.0, 10.0))]);
        assert!((one.evidence() - 10.0 * 2f64.ln()).abs() < 1e-12);
        let halves = together(&[(share(5.0, 5.0), share(0.0, 5.0)); 2]);
        assert!((halves.evidence() - one.evidence()).abs() < 1e-12);
        // Two of them gone: 8 where chance makes 4 so.
        assert!((one.without(2.0).evidence() - 8.0 * 2f64.ln()).abs() < 1e-12);
    }

    #[test]
    fn more_traffic_to_where_calls_are_slow_anyway_is_no_rise() {
        let places =
            [(share(1.0, 100.0), share(1.0, 100.0)), (share(50.0, 100.0), share(5.0, 10.0))];
        assert_eq!(together(&places).evidence(), 0.0);
        let thrown_together = share_rose(share(51.0, 200.0), share(6.0, 110.0), 5.0);
        assert!(thrown_together > 10.0, "{thrown_together}");
    }

    #[test]
    fn a_rise_of_one_deviation_in_four_values_each_is_its_standard_error() {
        let of = |mean| Moments { count: 4.0, mean, variance: 1.0 };
        let t = mean_rose(of(1.0), of(0.0), 0.0, 0.0);
        assert!((t - 2f64.sqrt()).abs() < 1e-12);
    }

    #[test]
    fn constant_samples_have_a_finite_answer() {
        let of = |mean| Moments { count: 4.0, mean, variance: 0.0 };
        assert!(mean_rose(of(1.0), of(0.0), 8.0, 0.09).is_finite());
    }
}
