//! One case from beginning to end: simulated, judged as its spans arrive, and measured against the same
//! run without the fault.

use std::sync::Arc;

use laghound::model::{InternLimits, Interner, SpanRecord, Timestamp};

use crate::judges::{Clock, Contestant, Judge, Said, Verdict};
use crate::records::Translator;
use crate::sim::classes::{Built, Case};
use crate::sim::delivery::{Ledger, RawSpan};
use crate::sim::effect::Effect;
use crate::sim::scenario::Variant;
use crate::sim::world::{EPOCH, World};

/// What came of a case.
pub(crate) struct Outcome {
    pub(crate) case: Case,
    pub(crate) built: Built,
    pub(crate) effect: Effect,
    /// By judge, in the order they were given.
    pub(crate) stories: Vec<Story>,
    pub(crate) ledger: Ledger,
    /// Every span that was made, if asked for.
    pub(crate) spans: Vec<RawSpan>,
}

/// What one judge said.
#[derive(Default)]
pub(crate) struct Story {
    pub(crate) said: Vec<Said>,
    /// The incidents open when the fault ended.
    pub(crate) at_end: Vec<Verdict>,
    /// Those open at other moments, if asked for: seconds and incidents.
    pub(crate) glimpses: Vec<(f64, Vec<Verdict>)>,
}

/// How to run cases.
#[derive(Clone)]
pub(crate) struct Setup {
    /// Who judges, all on the same spans.
    pub(crate) contestants: Vec<Contestant>,
    /// Seconds between looks at what is open while the fault lasts; 0 is none.
    pub(crate) glimpse: u64,
    pub(crate) keep_spans: bool,
}

const SECOND: u64 = 1_000_000_000;
/// After the end the ticks go on for this long, so that what is held and open comes out.
const AFTERMATH: u64 = 30;

pub(crate) fn run(case: Case, setup: &Setup) -> Outcome {
    let built = case.build();
    let scenario = &built.scenario;
    let sound = Effect::run(scenario, Variant::Sound, (0, built.truth.to));
    let names = Arc::new(Interner::new(InternLimits::default()));
    let versions = scenario.lives.iter().map(|lives| lives.iter().map(|l| l.version).collect());
    let system = Arc::clone(&scenario.system);
    let mut translator = Translator::new(Arc::clone(&names), system, versions.collect());
    let clock = Clock { origin: Timestamp(EPOCH) };
    let mut judges: Vec<Box<dyn Judge>> =
        setup.contestants.iter().map(|contestant| contestant.judge(&names, clock)).collect();
    let mut stories: Vec<Story> = judges.iter().map(|_| Story::default()).collect();
    let mut world = World::new(scenario, Variant::Faulty, 0, true);
    let (mut records, mut spans): (Vec<SpanRecord>, Vec<RawSpan>) = (Vec::new(), Vec::new());
    let mut ended = false;
    for second in 1..=scenario.length / SECOND + AFTERMATH {
        let time = second * SECOND;
        world.run_until(time);
        let now = Timestamp(EPOCH + time);
        while let Some(batch) = world.batch() {
            records.clear();
            records.extend(batch.spans.iter().map(|span| translator.record(span)));
            if setup.keep_spans {
                spans.extend(&batch.spans);
            }
            for judge in &mut judges {
                judge.take(&records, Timestamp(EPOCH + batch.arrival));
            }
        }
        for (judge, story) in judges.iter_mut().zip(&mut stories) {
            story.said.extend(judge.tick(now));
            if time >= built.truth.to && !ended {
                story.at_end = judge.standing();
            }
            let during = time >= built.truth.from && time < built.truth.to + 60 * SECOND;
            if setup.glimpse > 0 && second.is_multiple_of(setup.glimpse) && during {
                story.glimpses.push((second as f64, judge.standing()));
            }
        }
        ended = time >= built.truth.to;
    }
    let effect = Effect::between(&sound, world.done(), (built.truth.from, built.truth.to));
    let (ledger, _) = world.ledger();
    Outcome { case, effect, stories, ledger, spans, built }
}
