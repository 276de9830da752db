//! Many cases on all threads.

use std::ops::Range;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::Args;
use crate::run::{Setup, run};
use crate::score::{Score, score};
use crate::sim::classes::{CLASSES, Case, Class, class};

/// What `--quick` runs: sizes in percent, seeds, and classes shorter than this many seconds.
pub(crate) const QUICK_SIZES: [f64; 2] = [20.0, 100.0];
pub(crate) const QUICK_SEEDS: Range<u64> = 1..3;
const QUICK_SECONDS: f64 = 4000.0;

/// The cases that are asked for.
pub(crate) fn cases(args: &Args) -> Result<Vec<Case>, String> {
    let mut classes: Vec<&'static Class> = Vec::new();
    for name in &args.classes {
        match name.as_str() {
            "faults" => classes.extend(CLASSES.iter().filter(|class| !class.quiet)),
            "quiet" => classes.extend(CLASSES.iter().filter(|class| class.quiet)),
            name => classes.push(class(name).ok_or_else(|| format!("there is no class {name}"))?),
        }
    }
    let (sizes, seeds) = match args.quick {
        true => (&QUICK_SIZES[..], QUICK_SEEDS),
        false => (&args.sizes[..], args.seeds.clone()),
    };
    classes.retain(|class| !args.quick || class.seconds() < QUICK_SECONDS);
    let mut cases = Vec::new();
    for class in classes {
        let sizes = if class.sized { sizes } else { &[0.0] };
        for seed in seeds.clone() {
            cases.extend(sizes.iter().map(|size| Case { class, size: size / 100.0, seed }));
        }
    }
    Ok(cases)
}

/// Runs cases on so many threads. For each contestant the scores, in the order of the cases.
pub(crate) fn run_all(
    cases: &[Case],
    setup: &Setup,
    threads: usize,
    verbose: bool,
) -> Vec<Vec<Score>> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Vec<Score>)>> = Mutex::new(Vec::new());
    let work = || {
        loop {
            let at = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(at) else { break };
            let outcome = run(*case, setup);
            let scores: Vec<Score> =
                (0..setup.contestants.len()).map(|judge| score(&outcome, judge)).collect();
            if verbose {
                eprintln!("{}", line(&scores[0]));
            }
            done.lock().expect("no thread panics while it holds this").push((at, scores));
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(work);
        }
    });
    let mut done = done.into_inner().expect("no thread panics while it holds this");
    done.sort_by_key(|(at, _)| *at);
    let of = |judge: usize| done.iter().map(|(_, scores)| scores[judge].clone()).collect();
    (0..setup.contestants.len()).map(of).collect()
}

/// A case in one line.
pub(crate) fn line(score: &Score) -> String {
    let rank = |rank: Option<usize>| rank.map_or("-".to_owned(), |rank| rank.to_string());
    let seconds = |delay: Option<f64>| delay.map_or("-".to_owned(), |delay| format!("{delay:.0}"));
    format!(
        "{:<28} rise {:>7.1} % overall {:>7.1} % rate {:>5.1} delay {:>4} right {:>4} first {} end {} beside {} false {}{}",
        score.name,
        100.0 * score.rise,
        100.0 * score.overall,
        score.rate,
        seconds(score.delay),
        seconds(score.right_delay),
        rank(score.first),
        rank(score.end),
        score.beside,
        score.false_alarms,
        if score.impacted_first { " impacted first" } else { "" },
    )
}
