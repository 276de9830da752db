//! What every parameter does: each halved and doubled, all on the same spans, and the totals.

use std::fmt::Write;

use laghound::engine::EngineParams;

use crate::args::Args;
use crate::judges::Contestant;
use crate::knobs;
use crate::run::Setup;
use crate::sweep::{cases, run_all};
use crate::table;

pub(crate) fn report(
    args: &Args,
    params: &EngineParams,
    names: &[String],
) -> Result<String, String> {
    let cases = cases(args)?;
    let chosen = |name: &&str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    let mut contestants = vec![Contestant::laghound("as it is", *params)];
    for name in knobs::NAMES.iter().copied().filter(|name| chosen(name)) {
        for factor in [0.5, 2.0] {
            let Some(changed) = knobs::scaled(params, name, factor) else { continue };
            let (from, to) = (knobs::value(params, name), knobs::value(&changed, name));
            let name = format!("`{name}` {from} → {to}");
            contestants.push(Contestant::laghound(&name, changed));
        }
    }
    let setup = Setup { contestants, glimpse: 0, keep_spans: false };
    let scores = run_all(&cases, &setup, args.threads, args.verbose);
    let mut text = format!("{} cases each; faults of 10 % or more.\n\n", cases.len());
    text += table::TOTALS;
    for (contestant, scores) in setup.contestants.iter().zip(&scores) {
        let _ = writeln!(text, "{}", table::totals(&contestant.name, scores));
    }
    Ok(text)
}
