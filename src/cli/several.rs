//! What the commands that make several runs share: their arguments, and how long all of the runs will take.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::context::{BUILT_IN, Common, Opened, seed, usual_recipe};
use crate::device::Choice;
use crate::methods;
use crate::progress::{self, Whole};
use crate::recipe::Recipe;
use crate::run::RunDir;
use crate::stages::cost::{self, Load};
use crate::stages::{Stage, classify};

/// Arguments that hold for every run.
#[derive(clap::Args, Debug)]
pub struct Several {
    /// Hyper-parameters of every run [default: photos, or nano for the built-in data set]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Override one hyper-parameter in every run; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Data set, as in `weakseg run`
    #[arg(long, default_value = BUILT_IN)]
    pub data: String,
    /// Decides everything that is random, the built-in data set included
    #[arg(long, default_value_t = 0, value_parser = seed())]
    pub seed: u64,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    pub device: Choice,
}

impl Several {
    /// The arguments of the run in `out`, whose own overrides are `set`.
    pub fn run(&self, out: PathBuf, set: &[String]) -> Common {
        Common {
            out: Some(out),
            data: Some(self.data.clone()),
            seed: Some(self.seed),
            recipe: Some(self.recipe_name().into()),
            set: self.with(set),
            device: self.device,
            ..Common::default()
        }
    }

    /// The recipe of a run whose own overrides are `set`.
    ///
    /// # Errors
    /// As [`Recipe::load`].
    pub fn recipe(&self, set: &[String]) -> Result<Recipe> {
        Recipe::load(self.recipe_name(), &self.with(set))
    }

    /// The recipe that was asked for, or the usual one of the data set.
    pub fn recipe_name(&self) -> &str {
        self.recipe.as_deref().unwrap_or(usual_recipe(&self.data))
    }

    fn with(&self, set: &[String]) -> Vec<String> {
        self.set.iter().chain(set).cloned().collect()
    }
}

/// What is left to do.
pub struct Left {
    load: Load,
    /// Runs and stages that are in `cost`.
    counted: HashSet<(String, Stage)>,
    cost: f64,
}

impl Left {
    /// Nothing yet, on these training images.
    pub fn new(load: Load) -> Left {
        Left {
            load,
            counted: HashSet::new(),
            cost: 0.0,
        }
    }

    /// Adds the stages of a run up to `until`, but for those that it has or will be given.
    ///
    /// # Errors
    /// Where there is no such method.
    pub fn add(
        &mut self,
        (run, kept): (&str, &[Stage]),
        method: &str,
        recipe: &Recipe,
        until: Option<Stage>,
    ) -> Result<()> {
        for stage in methods::pipeline(method)? {
            if !kept.contains(stage) && self.counted.insert((run.into(), *stage)) {
                self.cost += cost::of(*stage, recipe, self.load);
            }
            if Some(*stage) == until {
                break;
            }
        }
        Ok(())
    }

    /// Says how long it will take, `what` it is, and starts its progress, which is called `label`. `first` is one of the
    /// runs.
    ///
    /// # Errors
    /// Where the classifier cannot be trained for a moment to see how fast it is.
    pub fn begin(&self, what: &str, label: &str, first: &Opened) -> Result<Whole> {
        let seconds = match self.cost > 0.0 {
            true => self.cost * seconds_per_image(first)?,
            false => 0.0,
        };
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
    finished.filter_map(|s| Stage::named(&s.name)).collect()
}

/// What the classifier takes to learn from an image: as it did, or does in a few steps.
fn seconds_per_image(run: &Opened) -> Result<f64> {
    let context = &run.context;
    let recorded = context.run.stages();
    let recorded = recorded.iter().find(|stage| {
        // Where it was continued, the time is that of its last part.
        stage.name == Stage::Classify.name() && stage.finished && stage.seconds > 60.0
    });
    match recorded {
        Some(stage) => {
            let cost = cost::of(Stage::Classify, &context.recipe, context.load()?);
            Ok(stage.seconds / cost.max(1.0))
        }
        None => classify::trial(context),
    }
}
