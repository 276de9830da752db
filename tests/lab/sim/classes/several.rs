//! Two and three faults at once, of the kinds that leave each other alone.

use super::Happening;
use super::draft::{Draft, Recipe};
use super::{calls, work};

pub(super) fn two(draft: &mut Draft) -> Recipe {
    several(draft, 2)
}

pub(super) fn three(draft: &mut Draft) -> Recipe {
    several(draft, 3)
}

/// Each has an equal part of the size; no two have the same culprit.
fn several(draft: &mut Draft, count: usize) -> Recipe {
    let kinds: [fn(&mut Draft) -> Recipe; 3] =
        [work::slow_service, calls::slow_database, calls::edge_delay];
    let mut recipes: Vec<Recipe> = Vec::new();
    for kind in &kinds[..count] {
        // Another draw where the culprit is taken; after a while two are made do with.
        for _ in 0..20 {
            let recipe = kind(draft);
            let taken = |other: &Recipe| {
                let names = |recipe: &Recipe| recipe.culprits[0].names[0].0.clone();
                names(other) == names(&recipe)
            };
            if !recipes.iter().any(taken) {
                recipes.push(recipe);
                break;
            }
        }
    }
    let share = 1.0 / recipes.len() as f64;
    let culprits = recipes.iter().flat_map(|recipe| recipe.culprits.clone()).collect();
    let sources = recipes.iter().flat_map(|recipe| recipe.sources.clone()).collect();
    let guesses: Vec<f64> = recipes.iter().map(|recipe| recipe.guess * share).collect();
    let make = move |magnitude: f64| {
        let each = recipes.iter().zip(&guesses);
        let faults = each.flat_map(|(recipe, guess)| (recipe.make)(guess * magnitude).faults);
        Happening { faults: faults.collect(), lives: None }
    };
    Recipe { culprits, sources, ..Recipe::new(1.0, make) }
}
