//! The arguments of the commands that make several runs.

use std::path::PathBuf;

use anyhow::Result;

use super::context::{BUILT_IN, Common, seed, usual_recipe};
use crate::device::Choice;
use crate::recipe::Recipe;

/// Arguments that hold for every run.
#[derive(clap::Args, Debug)]
pub struct EveryRunArgs {
    /// Hyper-parameters of every run [default: photos, or nano for the built-in data set]
    #[arg(long)]
    pub recipe: Option<String>,
    /// Override one hyper-parameter in every run; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub set: Vec<String>,
    /// Data set, as in `weakseg run`
    #[arg(long, default_value = BUILT_IN)]
    pub data: String,
    /// What values in masks mean, as in `weakseg run`
    #[arg(long, value_name = "VALUE=CLASS", value_delimiter = ',')]
    pub mask_values: Vec<String>,
    /// Decides everything that is random, the built-in data set included
    #[arg(long, default_value_t = 0, value_parser = seed())]
    pub seed: u64,
    /// Where to compute: auto, gpu, gpu:N, vulkan (software allowed) or cpu
    #[arg(long, default_value = "auto")]
    pub device: Choice,
}

impl EveryRunArgs {
    /// The arguments of the run in `out`, whose own overrides are `set`.
    pub fn run(&self, out: PathBuf, set: &[String]) -> Common {
        Common {
            out: Some(out),
            data: Some(self.data.clone()),
            mask_values: self.mask_values.clone(),
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
