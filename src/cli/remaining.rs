//! How long the work that is left to do will take.

use std::collections::HashSet;
use std::path::Path;

use anyhow::Result;

use super::context::Opened;
use crate::methods::{Method, stages_until};
use crate::pipeline::{Context, Load, Stage};
use crate::progress::{self, Whole};
use crate::recipe::Recipe;
use crate::run::RunDir;
use crate::stages;
use crate::stages::classify::seconds_per_image;

/// The work that is left to do, of one run or several.
pub struct RemainingWork {
    load: Load,
    /// Runs and stages that are in `cost`.
    counted: HashSet<(String, Stage)>,
    cost: f64,
}

impl RemainingWork {
    /// Nothing yet, on these training images.
    pub fn new(load: Load) -> RemainingWork {
        RemainingWork {
            load,
            counted: HashSet::new(),
            cost: 0.0,
        }
    }

    /// Adds the stages of a run up to `until`, but for those that it has or will be given.
    pub fn add(&mut self, (run, kept): (&str, &[Stage]), method: &Method, recipe: &Recipe, until: Option<Stage>) {
        for stage in stages_until(method.stages, until) {
            if !kept.contains(stage) && self.counted.insert((run.into(), *stage)) {
                self.cost += stage.cost(recipe, self.load);
            }
        }
    }

    /// Seconds that it will take, about, as fast as `context` computes.
    ///
    /// # Errors
    /// Where the classifier cannot be trained for a moment to see how fast it is.
    pub fn seconds(&self, context: &Context) -> Result<f64> {
        match self.cost > 0.0 {
            true => Ok(self.cost * seconds_per_image(context)?),
            false => Ok(0.0),
        }
    }

    /// Says how long it will take, `what` it is, and starts its progress, which is called `label`. `first` is one of
    /// the runs.
    ///
    /// # Errors
    /// Where the classifier cannot be trained for a moment to see how fast it is.
    pub fn begin(&self, what: &str, label: &str, first: &Opened) -> Result<Whole> {
        let seconds = self.seconds(&first.context)?;
        log::info!("{what}: about {:.0} minutes", (seconds / 60.0).ceil());
        Ok(progress::whole(label, self.cost, seconds))
    }
}

/// What a run has finished, if there is one.
pub fn finished(run: &Path) -> Vec<Stage> {
    let Ok(run) = RunDir::read(run) else {
        return Vec::new();
    };
    let stages = run.stages();
    let finished = stages.iter().filter(|stage| stage.finished);
    finished.filter_map(|s| stages::named(&s.name)).collect()
}
