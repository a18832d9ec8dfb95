//! How long the rows will take.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::Args;
use super::rows::{Row, known};
use crate::cli::context::Opened;
use crate::methods;
use crate::progress::{self, Whole};
use crate::recipe::Recipe;
use crate::run::RunDir;
use crate::stages::{Stage, classify, cost};

/// Says how long all that is left to do will take, and starts its progress. `all` rows there are, `rows` are to be
/// trained, after the stages up to `shared` in `base`.
///
/// # Errors
/// Where the classifier cannot be trained for a moment to see how fast it is.
pub fn begin(
    args: &Args,
    out: &Path,
    base: &Opened,
    shared: Stage,
    rows: &[Row],
    all: &[Row],
) -> Result<Whole> {
    let mut left = Left {
        images: base.context.data.train.len(),
        counted: HashSet::new(),
        cost: 0.0,
    };
    let done = |name: &str| finished(&out.join(name));
    let recipe = &base.context.recipe;
    left.add(
        ("", &done("classifier")),
        &base.method,
        recipe,
        Some(shared),
    )?;
    for row in rows {
        let recipe = Recipe::load(&args.recipe, &[&args.set[..], &row.set].concat())?;
        let mut kept = done(&row.name);
        // Extra images change the classifier.
        if row.extra.is_none() {
            kept.extend(up_to(&row.method, shared)?);
        }
        if let Some(from) = &row.from {
            let until = known(&from.until)?;
            kept.extend(up_to(&row.method, until)?);
            if let Some(other) = all.iter().find(|other| other.name == from.row) {
                let recipe = Recipe::load(&args.recipe, &[&args.set[..], &other.set].concat())?;
                let mut kept = done(&other.name);
                kept.extend(up_to(&other.method, shared)?);
                left.add((&other.name, &kept), &other.method, &recipe, Some(until))?;
            }
        }
        left.add((&row.name, &kept), &row.method, &recipe, args.until)?;
    }
    let seconds = match left.cost > 0.0 {
        true => left.cost * seconds_per_image(base)?,
        false => 0.0,
    };
    log::info!(
        "{} rows: about {:.0} minutes",
        rows.len(),
        (seconds / 60.0).ceil()
    );
    let label = format!("ablate {}", args.method);
    Ok(progress::whole(&label, left.cost, seconds))
}

/// What is left to do.
struct Left {
    images: usize,
    /// Runs and stages that are in `cost`.
    counted: HashSet<(String, Stage)>,
    cost: f64,
}

impl Left {
    /// Adds the stages of a run up to `until`, but for those that it has or will be given.
    fn add(
        &mut self,
        (run, kept): (&str, &[Stage]),
        method: &str,
        recipe: &Recipe,
        until: Option<Stage>,
    ) -> Result<()> {
        for stage in methods::pipeline(method)? {
            if !kept.contains(stage) && self.counted.insert((run.into(), *stage)) {
                self.cost += cost::of(*stage, recipe, self.images);
            }
            if Some(*stage) == until {
                break;
            }
        }
        Ok(())
    }
}

/// The first stages of a method.
fn up_to(method: &str, last: Stage) -> Result<Vec<Stage>> {
    let pipeline = methods::pipeline(method)?;
    let count = pipeline.iter().position(|stage| *stage == last);
    Ok(pipeline[..count.map_or(0, |last| last + 1)].to_vec())
}

/// What a run has finished, if there is one.
fn finished(run: &Path) -> Vec<Stage> {
    let Ok(run) = RunDir::read(run) else {
        return Vec::new();
    };
    let stages = run.stages();
    let finished = stages.iter().filter(|stage| stage.finished);
    finished.filter_map(|s| Stage::named(&s.name)).collect()
}

/// What the classifier takes to learn from an image: as it did, or does in a few steps.
fn seconds_per_image(base: &Opened) -> Result<f64> {
    let context = &base.context;
    let recorded = context.run.stages();
    let recorded = recorded.iter().find(|stage| {
        // Where it was continued, the time is that of its last part.
        stage.name == Stage::Classify.name() && stage.finished && stage.seconds > 60.0
    });
    match recorded {
        Some(stage) => {
            let images = context.data.train.len();
            Ok(stage.seconds / cost::of(Stage::Classify, &context.recipe, images).max(1.0))
        }
        None => classify::trial(context),
    }
}
