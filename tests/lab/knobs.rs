//! The engine's parameters by name, for `--set` and for the table of what each does when it is halved
//! and doubled.

use laghound::engine::EngineParams;
use laghound::model::Nanos;

/// A parameter as a number, so that it can be halved.
trait Knob {
    fn get(&self) -> f64;
    fn set(&mut self, value: f64);
}

impl Knob for f64 {
    fn get(&self) -> f64 {
        *self
    }
    fn set(&mut self, value: f64) {
        *self = value;
    }
}

/// Whole numbers are rounded and stay above zero.
macro_rules! whole {
    ($($kind:ty),*) => {$(
        impl Knob for $kind {
            fn get(&self) -> f64 {
                *self as f64
            }
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)] // `as` saturates
            fn set(&mut self, value: f64) {
                *self = value.round().max(1.0) as $kind;
            }
        }
    )*};
}

whole!(u32, u64, usize);

/// In seconds.
impl Knob for Nanos {
    fn get(&self) -> f64 {
        self.as_secs_f64()
    }
    fn set(&mut self, value: f64) {
        *self = Nanos::from_secs_f64(value);
    }
}

/// Names of the fields, and the way to each.
macro_rules! knobs {
    ($($group:ident . $name:ident),* $(,)?) => {
        /// Every parameter that can be set, by name.
        pub(crate) const NAMES: &[&str] = &[$(stringify!($name)),*];

        fn knob<'a>(params: &'a mut EngineParams, name: &str) -> Option<&'a mut dyn Knob> {
            match name {
                $(stringify!($name) => Some(&mut params.$group.$name),)*
                _ => None,
            }
        }
    };
}

knobs! {
    assembly.grace,
    detection.settle,
    detection.era,
    detection.eras,
    detection.min_baseline,
    detection.open_after,
    detection.min_lasting,
    detection.open_later,
    detection.clear_score,
    detection.close_after,
    detection.cohort,
    detection.min_evidence,
    detection.min_evidence_of_pool,
    detection.min_evidence_of_claim,
    detection.min_evidence_of_rest,
    detection.min_standard_errors,
    detection.usual_drift,
    detection.min_drifts,
    detection.min_drift,
    detection.slack_ratio,
    detection.slack,
    detection.min_rise,
    detection.min_rise_ratio,
    detection.min_share,
    detection.min_felt,
    detection.load_slack,
    detection.min_rise_off_path,
    detection.min_rise_ratio_off_path,
    detection.min_slow,
    detection.min_slow_far,
    detection.min_recent,
    detection.min_learned,
    detection.min_learned_requests,
    detection.dependence,
    detection.fan_out_growth,
    detection.more_often,
    detection.min_new_operation_z,
    detection.min_lost_overlap,
    detection.shrink,
    detection.edge_prior,
    detection.comparable,
    detection.min_witness_calls,
    detection.clean_witness,
    detection.min_score,
}

/// Sets `name=value`; durations in seconds.
pub(crate) fn set(params: &mut EngineParams, assignment: &str) -> Result<(), String> {
    let (name, value) = assignment
        .split_once('=')
        .ok_or_else(|| format!("{assignment} is not of the form name=value"))?;
    let value: f64 = value.parse().map_err(|error| format!("{assignment}: {error}"))?;
    let knob = knob(params, name)
        .ok_or_else(|| format!("there is no parameter {name}; there are {}", NAMES.join(", ")))?;
    knob.set(value);
    Ok(())
}

/// The parameters with one of them multiplied; none if that changes nothing.
pub(crate) fn scaled(params: &EngineParams, name: &str, factor: f64) -> Option<EngineParams> {
    let mut changed = *params;
    let knob = knob(&mut changed, name)?;
    knob.set(knob.get() * factor);
    (changed != *params).then_some(changed)
}

/// The value of a parameter.
pub(crate) fn value(params: &EngineParams, name: &str) -> f64 {
    let mut copy = *params;
    knob(&mut copy, name).map_or(f64::NAN, |knob| knob.get())
}
