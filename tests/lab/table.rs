//! Scores added up, as Markdown.

use std::fmt::Write;

use crate::score::{Mark, Score};

/// Rises below this are not what the headline is about.
pub(crate) const NOTABLE: f64 = 0.10;

/// Rows of scores under one name.
pub(crate) struct Group<'a> {
    pub(crate) name: String,
    pub(crate) scores: Vec<&'a Score>,
}

/// Scores by class, in the order of the classes.
pub(crate) fn by_class(scores: &[Score], chosen: impl Fn(&Score) -> bool) -> Vec<Group<'_>> {
    let mut groups: Vec<Group<'_>> = Vec::new();
    for score in scores.iter().filter(|score| chosen(score)) {
        match groups.iter_mut().find(|group| group.name == score.class) {
            Some(group) => group.scores.push(score),
            None => groups.push(Group { name: score.class.to_owned(), scores: vec![score] }),
        }
    }
    groups
}

/// Faults: found, named, how soon.
pub(crate) fn faults(groups: &[Group<'_>]) -> String {
    let mut text = String::from(
        "| class | runs | rise | detected | first named right | right at the end | top-3 | delay | p90 | \
         right after | p90 | wrong beside | impacted first | where | pattern | reason |\n\
         |---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|---|\n",
    );
    for group in groups {
        fault_row(&mut text, &group.name, &group.scores);
    }
    let all: Vec<&Score> = groups.iter().flat_map(|group| group.scores.clone()).collect();
    if groups.len() > 1 {
        fault_row(&mut text, "**all**", &all);
    }
    text
}

fn fault_row(text: &mut String, name: &str, scores: &[&Score]) {
    let share = |is: fn(&Score) -> bool| percent(count(scores, is), scores.len());
    let rises: Vec<f64> = scores.iter().map(|score| 100.0 * score.rise).collect();
    let delays: Vec<f64> = scores.iter().filter_map(|score| score.delay).collect();
    let rights: Vec<f64> = scores.iter().filter_map(|score| score.right_delay).collect();
    let _ = writeln!(
        text,
        "| {name} | {} | +{} % | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} | {} |",
        scores.len(),
        whole(quantile(&rises, 0.5)),
        share(|score| score.delay.is_some()),
        share(|score| score.first == Some(1)),
        share(|score| score.end == Some(1)),
        share(top_3),
        seconds(quantile(&delays, 0.5)),
        seconds(quantile(&delays, 0.9)),
        seconds(quantile(&rights, 0.5)),
        seconds(quantile(&rights, 0.9)),
        scores.iter().map(|score| score.beside).sum::<usize>(),
        count(scores, |score| score.impacted_first),
        marks(scores, |score| score.where_),
        marks(scores, |score| score.pattern),
        marks(scores, |score| score.reason),
    );
}

/// Of several culprits all must be there.
fn top_3(score: &Score) -> bool {
    let one = score.end.is_some_and(|rank| rank <= 3);
    one && (score.all_named || !matches!(score.class, "two_faults" | "three_faults"))
}

/// Right of all that could be right, and what was said unasked.
fn marks(scores: &[&Score], of: fn(&Score) -> Mark) -> String {
    let number = |mark: Mark| scores.iter().filter(|score| of(score) == mark).count();
    let (right, wrong, missing) = (number(Mark::Right), number(Mark::Wrong), number(Mark::Missing));
    let unasked = number(Mark::Unasked);
    let asked = right + wrong + missing;
    let told = if asked == 0 { "-".to_owned() } else { format!("{right}/{asked}") };
    if unasked == 0 { told } else { format!("{told} +{unasked}") }
}

/// False alarms in quiet time.
pub(crate) fn quiet(groups: &[Group<'_>]) -> String {
    let mut text = String::from(
        "| quiet time of | runs | service-days | false incidents | per service-day | per service-week |\n\
         |---|---|---|---|---|---|\n",
    );
    for group in groups {
        quiet_row(&mut text, &group.name, &group.scores);
    }
    let all: Vec<&Score> = groups.iter().flat_map(|group| group.scores.clone()).collect();
    if groups.len() > 1 {
        quiet_row(&mut text, "**all**", &all);
    }
    text
}

fn quiet_row(text: &mut String, name: &str, scores: &[&Score]) {
    let days: f64 = scores.iter().map(|score| score.service_days()).sum();
    let alarms: usize = scores.iter().map(|score| score.false_alarms).sum();
    let rate = alarms as f64 / days;
    let _ = writeln!(
        text,
        "| {name} | {} | {days:.1} | {alarms} | {rate:.2} | {:.2} |",
        scores.len(),
        7.0 * rate
    );
}

/// Groups by the measured rise.
pub(crate) fn by_rise(scores: &[Score]) -> Vec<Group<'_>> {
    const EDGES: [f64; 9] = [f64::MIN, 0.01, 0.03, 0.07, 0.10, 0.2, 0.5, 1.0, 2.0];
    let mut groups = Vec::new();
    for (at, low) in EDGES.iter().enumerate() {
        let high = EDGES.get(at + 1).copied().unwrap_or(f64::MAX);
        let within = |score: &&Score| !score.quiet && (*low..high).contains(&score.rise);
        let name = match (*low == f64::MIN, high == f64::MAX) {
            (true, _) => format!("below +{:.0} %", 100.0 * high),
            (_, true) => format!("+{:.0} % and more", 100.0 * low),
            _ => format!("+{:.0} to {:.0} %", 100.0 * low, 100.0 * high),
        };
        groups.push(Group { name, scores: scores.iter().filter(within).collect() });
    }
    groups.retain(|group| !group.scores.is_empty());
    groups
}

/// Groups by the rate of traced requests.
pub(crate) fn by_rate(scores: &[Score]) -> Vec<Group<'_>> {
    const EDGES: [f64; 5] = [0.0, 2.0, 5.0, 10.0, 1e9];
    let notable = |score: &Score| !score.quiet && score.rise >= NOTABLE;
    let within = |edges: &[f64]| Group {
        name: format!("from {:.0}/s", edges[0]),
        scores: scores
            .iter()
            .filter(|score| notable(score) && (edges[0]..edges[1]).contains(&score.rate))
            .collect(),
    };
    let mut groups: Vec<Group<'_>> = EDGES.windows(2).map(within).collect();
    groups.retain(|group| !group.scores.is_empty());
    groups
}

/// Contestants side by side: by class the share that each names right at the end, and its totals.
pub(crate) fn beside(names: &[&str], scores: &[Vec<Score>]) -> String {
    let notable = |score: &Score| !score.quiet && score.rise >= NOTABLE;
    let mut text = format!("| right at the end | {} |\n|---|", names.join(" | "));
    text += &"---|".repeat(names.len());
    text += "\n";
    let groups: Vec<Vec<Group<'_>>> =
        scores.iter().map(|scores| by_class(scores, notable)).collect();
    for at in 0..groups[0].len() {
        let of = |groups: &Vec<Group<'_>>| {
            let scores = &groups[at].scores;
            percent(count(scores, |score| score.end == Some(1)), scores.len())
        };
        let cells: Vec<String> = groups.iter().map(of).collect();
        let _ = writeln!(text, "| {} | {} |", groups[0][at].name, cells.join(" | "));
    }
    text += "\n";
    text += TOTALS;
    for (name, scores) in names.iter().zip(scores) {
        let _ = writeln!(text, "{}", totals(name, scores));
    }
    text
}

/// The head of a table of `totals`.
pub(crate) const TOTALS: &str = "| | detected | first named right | right at the end | delay | p90 | \
     impacted first | wrong beside | false per service-week |\n|---|---|---|---|---|---|---|---|---|\n";

/// Everything of one contestant in one row: faults of 10 % or more, and all quiet time.
pub(crate) fn totals(name: &str, scores: &[Score]) -> String {
    let notable: Vec<&Score> =
        scores.iter().filter(|score| !score.quiet && score.rise >= NOTABLE).collect();
    let share = |is: fn(&Score) -> bool| percent(count(&notable, is), notable.len());
    let delays: Vec<f64> = notable.iter().filter_map(|score| score.delay).collect();
    let weeks: f64 = scores.iter().map(Score::service_days).sum::<f64>() / 7.0;
    let alarms: usize = scores.iter().map(|score| score.false_alarms).sum();
    format!(
        "| {name} | {} | {} | {} | {} | {} | {} | {} | {:.2} ({alarms} in {weeks:.1}) |",
        share(|score| score.delay.is_some()),
        share(|score| score.first == Some(1)),
        share(|score| score.end == Some(1)),
        seconds(quantile(&delays, 0.5)),
        seconds(quantile(&delays, 0.9)),
        count(&notable, |score| score.impacted_first),
        notable.iter().map(|score| score.beside).sum::<usize>(),
        alarms as f64 / weeks,
    )
}

/// Verdicts by the confidence they were published with: how many of them are right.
pub(crate) fn calibration(scores: &[Score]) -> String {
    let all: Vec<(f64, bool)> = scores.iter().flat_map(|score| score.confidence.clone()).collect();
    if all.is_empty() {
        return "No verdict came with a confidence.\n".to_owned();
    }
    let mut text = String::from("| confidence | verdicts | right |\n|---|---|---|\n");
    for low in [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99] {
        const EDGES: [f64; 9] = [0.0, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.1];
        let high = EDGES.into_iter().find(|edge| *edge > low).unwrap_or(1.1);
        let bin: Vec<bool> =
            all.iter().filter(|(c, _)| (low..high).contains(c)).map(|(_, right)| *right).collect();
        let right = bin.iter().filter(|right| **right).count();
        let _ = writeln!(text, "| from {low} | {} | {} |", bin.len(), percent(right, bin.len()));
    }
    text
}

fn count(scores: &[&Score], is: fn(&Score) -> bool) -> usize {
    scores.iter().filter(|score| is(score)).count()
}

pub(crate) fn percent(part: usize, of: usize) -> String {
    if of == 0 { "-".to_owned() } else { format!("{:.1} %", 100.0 * part as f64 / of as f64) }
}

/// The value below which a share lies; NaN of nothing.
pub(crate) fn quantile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    if sorted.is_empty() {
        return f64::NAN;
    }
    sorted[crate::sim::rand::index((sorted.len() - 1) as f64 * share + 0.5)]
}

fn seconds(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.0} s") }
}

fn whole(value: f64) -> String {
    if value.is_nan() { "-".to_owned() } else { format!("{value:.0}") }
}
