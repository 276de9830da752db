//! The accuracy report: one command, Markdown.

use std::fmt::Write;
use std::path::Path;

use crate::args::Args;
use crate::curve;
use crate::run::Setup;
use crate::score::Score;
use crate::sweep::{QUICK_SEEDS, QUICK_SIZES, cases, line, run_all};
use crate::table;

pub(crate) fn report(args: &Args, setup: &Setup) -> Result<String, String> {
    let cases = cases(args)?;
    let scores = run_all(&cases, setup, args.threads, args.verbose);
    let names: Vec<&str> = setup.contestants.iter().map(|one| one.name.as_str()).collect();
    let mut text = header(args, cases.len());
    text += &own(&scores[0]);
    if names.len() > 1 {
        text += "\n## Beside what one would run instead\n\n";
        text += &table::beside(&names, &scores);
    }
    if let Some(folder) = &args.out {
        write_all(folder, &text, &names, &scores)
            .map_err(|error| format!("{}: {error}", folder.display()))?;
    }
    Ok(text)
}

fn header(args: &Args, cases: usize) -> String {
    let (sizes, seeds) = match args.quick {
        true => (&QUICK_SIZES[..], QUICK_SEEDS),
        false => (&args.sizes[..], args.seeds.clone()),
    };
    let sizes: Vec<String> = sizes.iter().map(|size| format!("{size} %")).collect();
    let set =
        if args.set.is_empty() { String::new() } else { format!(", with {}", args.set.join(" ")) };
    format!(
        "{cases} cases of {}, seeds {} to {}, sizes {}{set}.\n\n",
        args.classes.join(", "),
        seeds.start,
        seeds.end.saturating_sub(1),
        sizes.join(", "),
    )
}

/// All tables of one contestant.
fn own(scores: &[Score]) -> String {
    let notable = |score: &Score| !score.quiet && score.rise >= table::NOTABLE;
    let mut text = String::from("## Faults that make an entry 10 % slower or more\n\n");
    text += &table::faults(&table::by_class(scores, notable));
    text += "\n## By what the fault does to the entry that suffers most\n\n";
    text += &table::faults(&table::by_rise(scores));
    text += "\n## By traced requests a second, 10 % slower or more\n\n";
    text += &table::faults(&table::by_rate(scores));
    text += "\n## Quiet time\n\n";
    text += &table::quiet(&table::by_class(scores, |score| score.quiet));
    let around: Vec<&Score> = scores.iter().filter(|score| !score.quiet).collect();
    if !around.is_empty() {
        let name = "before and after faults".to_owned();
        let _ = writeln!(text);
        text += &table::quiet(&[table::Group { name, scores: around }]);
    }
    text += "\n## Confidence\n\n";
    text += &table::calibration(scores);
    text
}

fn write_all(
    folder: &Path,
    text: &str,
    names: &[&str],
    scores: &[Vec<Score>],
) -> std::io::Result<()> {
    std::fs::create_dir_all(folder)?;
    std::fs::write(folder.join("report.md"), text)?;
    let lines: Vec<String> = scores[0].iter().map(line).collect();
    std::fs::write(folder.join("cases.txt"), lines.join("\n") + "\n")?;
    let faults = |scores: &'_ [Score]| -> Vec<Score> {
        scores.iter().filter(|score| !score.quiet).cloned().collect()
    };
    let all: Vec<Vec<Score>> = scores.iter().map(|scores| faults(scores)).collect();
    let contestants: Vec<(String, Vec<&Score>)> = names
        .iter()
        .zip(&all)
        .map(|(name, scores)| ((*name).to_owned(), scores.iter().collect()))
        .collect();
    std::fs::write(folder.join("curve.svg"), curve::svg(&contestants))
}
