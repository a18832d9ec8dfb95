//! A run that is only read: its recipe and classes, and the networks that it has trained.

use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::Device;

use crate::inference::Trained;
use crate::methods::{self, Method};
use crate::models::Head;
use crate::pipeline::{Stage, Task};
use crate::recipe::Recipe;
use crate::run::{RunDir, StageRecord};

/// A run, without its data set.
pub struct FinishedRun {
    /// Its directory.
    pub directory: RunDir,
    /// Its method.
    pub method: &'static Method,
    /// The recipe that it was made with.
    pub recipe: Recipe,
    /// Its classes, without background.
    pub classes: Vec<String>,
}

impl FinishedRun {
    /// The run in `path`.
    ///
    /// # Errors
    /// Where it is none, or its configuration lacks what every run's has.
    pub fn read(path: &Path) -> Result<FinishedRun> {
        let directory = RunDir::read(path)?;
        let (recipe, classes) = configuration(&directory)?;
        let method = match directory.config().get("method").and_then(|m| m.as_str()) {
            Some(name) => methods::named(name)?,
            None => methods::USUAL,
        };
        Ok(FinishedRun {
            directory,
            method,
            recipe,
            classes,
        })
    }

    /// Errors where the run has not finished `stage`; `method` is what a run that has it would be made with, as
    /// `--method cian `.
    pub fn need(&self, stage: Stage, method: &str) -> Result<()> {
        let is_finished = |s: &StageRecord| s.name == stage.name() && s.finished;
        ensure!(
            self.directory.stages().iter().any(is_finished),
            "the run {0} has not finished its stage {1}: run `weakseg run {method}--out {0}` first",
            self.directory.path().display(),
            stage.name()
        );
        Ok(())
    }

    /// The head of the network that `stage` trains.
    pub fn head(&self, stage: Stage) -> Option<Head> {
        Some((stage.trains()?.head)(&self.task()))
    }

    /// The network that `stage` has trained.
    ///
    /// # Errors
    /// Where it trains none, and where its checkpoint is missing or damaged.
    pub fn trained(&self, stage: Stage, device: &Device) -> Result<Trained> {
        let trains = stage
            .trains()
            .with_context(|| format!("{} trains no network", stage.name()))?;
        let network = self.recipe.network(trains.part, (trains.head)(&self.task()))?;
        let folder = self.directory.folder(stage.files());
        Trained::load(network, &folder, &self.recipe, device)
    }

    fn task(&self) -> Task<'_> {
        Task {
            recipe: &self.recipe,
            classes: self.classes.len(),
            has_extra: self.directory.config().contains_key("extra"),
        }
    }
}

/// The recipe and the classes that a run was made with.
///
/// # Errors
/// Where its configuration lacks them.
fn configuration(run: &RunDir) -> Result<(Recipe, Vec<String>)> {
    let config = run.config();
    let parts = || -> Option<(Recipe, Vec<String>)> {
        let recipe = config.get("recipe")?.clone().try_into().ok()?;
        let classes = config.get("classes")?.as_array()?;
        let classes = classes
            .iter()
            .map(|c| c.as_str().map(String::from))
            .collect::<Option<_>>()?;
        Some((recipe, classes))
    };
    parts().with_context(|| {
        format!(
            "{}: config.toml lacks a recipe or classes: give the --out of a finished run",
            run.path().display()
        )
    })
}
