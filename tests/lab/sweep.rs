//! Many cases on all threads, and the report of them.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::args::Args;
use crate::run::{Setup, run};
use crate::score::{Score, score};
use crate::sim::classes::{CLASSES, Case, Class, class};
use crate::table;

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
    let mut cases = Vec::new();
    for class in classes {
        let sizes = if class.sized { &args.sizes[..] } else { &[0.0] };
        for seed in args.seeds.clone() {
            cases.extend(sizes.iter().map(|size| Case { class, size: size / 100.0, seed }));
        }
    }
    Ok(cases)
}

/// Runs cases on so many threads; the scores in the order of the cases.
pub(crate) fn run_all(cases: &[Case], setup: &Setup, threads: usize, verbose: bool) -> Vec<Score> {
    let next = AtomicUsize::new(0);
    let done: Mutex<Vec<(usize, Score)>> = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..threads.max(1) {
            scope.spawn(|| {
                while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let score = score(&run(*case, setup), 0);
                    let mut done = done.lock().expect("no thread panics while it holds this");
                    if verbose {
                        eprintln!("{}", line(&score));
                    }
                    let at = cases.iter().position(|c| c.name() == score.name).unwrap_or(0);
                    done.push((at, score));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics while it holds this");
    done.sort_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, score)| score).collect()
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

pub(crate) fn report(args: &Args, setup: &Setup) -> Result<String, String> {
    let cases = cases(args)?;
    let scores = run_all(&cases, setup, args.threads, args.verbose);
    let mut text = String::new();
    let notable = |score: &Score| !score.quiet && score.rise >= table::NOTABLE;
    let _ = writeln!(text, "# Faults that make an entry 10 % slower or more\n");
    text += &table::faults(&table::by_class(&scores, notable));
    let _ = writeln!(text, "\n# By measured rise\n");
    text += &table::faults(&table::by_rise(&scores));
    let _ = writeln!(text, "\n# By traced requests a second, +10 % and more\n");
    text += &table::faults(&table::by_rate(&scores));
    let _ = writeln!(text, "\n# Quiet time\n");
    text += &table::quiet(&table::by_class(&scores, |score| score.quiet));
    let beside: Vec<Score> = scores.iter().filter(|score| !score.quiet).cloned().collect();
    let _ = writeln!(text, "\nQuiet time before and after faults:\n");
    text += &table::quiet(&[table::Group {
        name: "fault runs".to_owned(),
        scores: beside.iter().collect(),
    }]);
    let _ = writeln!(text, "\n# Confidence\n");
    text += &table::calibration(&scores);
    if let Some(folder) = &args.out {
        let write = |name: &str, text: &str| {
            std::fs::write(folder.join(name), text).map_err(|error| format!("{name}: {error}"))
        };
        std::fs::create_dir_all(folder).map_err(|error| error.to_string())?;
        write("report.md", &text)?;
        let lines: Vec<String> = scores.iter().map(line).collect();
        write("cases.txt", &(lines.join("\n") + "\n"))?;
    }
    Ok(text)
}
