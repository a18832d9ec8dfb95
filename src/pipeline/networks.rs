//! The networks that stages train, and what their trainings start from.

use anyhow::{Context as _, Result, ensure};

use super::stage::{Context, Purpose, Stage, Trains};
use crate::models::Network;
use crate::models::params::Parameters;
use crate::train::{self, WeightFile};
use crate::weights::fetch;

/// Unusual keys of a weight file that are named one by one.
const SURPRISES: usize = 3;

impl Context {
    /// The network that `stage` trains.
    ///
    /// # Errors
    /// Where it trains none, or the recipe has no such backbone for it.
    pub fn network(&self, stage: Stage) -> Result<Network> {
        let trains = trains(stage)?;
        let head = (trains.head)(&self.task());
        self.recipe.network(trains.part, head)
    }

    /// The seed of what `stage` draws.
    ///
    /// # Errors
    /// Where it trains no network.
    pub fn seed_of(&self, stage: Stage) -> Result<u64> {
        Ok(self.seed.wrapping_add(trains(stage)?.salt))
    }

    /// Fresh parameters of the network of `stage`, with the pretrained weights that the recipe names for it.
    ///
    /// # Errors
    /// Where it names none and the network cannot do without, and where they cannot be had, read or do not fit.
    pub fn pretrained(&self, stage: Stage) -> Result<Parameters> {
        let network = self.network(stage)?;
        let backbone = self.recipe.backbone(trains(stage)?.part);
        ensure!(
            backbone.weights.is_some() || network.backbone.from_scratch(),
            "{} has levels that stay as pretrained: give weights with --set backbone.weights=FILE, or the NAME of published ones (`weakseg weights list`)",
            network.backbone.name()
        );
        let mut parameters = network.init(self.seed_of(stage)?, &self.device)?;
        if let Some(weights) = &backbone.weights {
            let file = WeightFile::open(weights, &network, network.published_name())?;
            let place = file.path().display();
            for note in file.notes() {
                log::info!("{place}: {note}");
            }
            let surprises = file.surprises();
            for surprise in surprises.iter().take(SURPRISES) {
                log::warn!("{place}: {surprise}");
            }
            if let Some(more) = surprises.len().checked_sub(SURPRISES).filter(|more| *more > 0) {
                log::warn!("{place}: {more} more such keys: `weakseg weights convert` lists them all");
            }
            let taken = file.read_into(&mut parameters, &self.device)?;
            ensure!(
                taken > 0,
                "{}: no parameter fits {}: give weights of this backbone",
                file.path().display(),
                network.architecture()
            );
            log::info!(
                "{taken} of {} parameters from {}",
                parameters.0.len(),
                file.path().display()
            );
        }
        Ok(parameters)
    }

    /// As [`Self::pretrained`], and in a method that has a classifier on the same backbone, what that has learnt: the
    /// tags have taught it about the classes already. The recipe may leave that out
    /// ([`from_weights`](crate::recipe::Training::from_weights)).
    ///
    /// # Errors
    /// As [`Self::pretrained`], and where the classifier's checkpoint is damaged.
    pub fn warm_start(&self, stage: Stage) -> Result<Parameters> {
        let mut parameters = self.pretrained(stage)?;
        if self.recipe.training(trains(stage)?.part).from_weights {
            return Ok(parameters);
        }
        // The first one, which has learnt from tags alone.
        let mut before = self.before(stage).iter();
        let Some(classifier) = before.find(|s| s.trains_for(Purpose::ClassMaps)) else {
            return Ok(parameters);
        };
        let [own, other] = [stage, *classifier].map(trains);
        let is_like = self
            .recipe
            .backbone(own?.part)
            .is_like(self.recipe.backbone(other?.part));
        let folder = self.folder(*classifier);
        if is_like && folder.join(train::CHECKPOINT).exists() {
            let classifier = self.trained_in(*classifier, &folder)?;
            train::warm_start(&mut parameters, &classifier.parameters);
        }
        Ok(parameters)
    }

    /// Fetches the published weights that the recipe names for the networks that are still to be trained.
    ///
    /// # Errors
    /// Where they cannot be had; one line with the remedy.
    pub fn fetch_weights(&self) -> Result<()> {
        for stage in self.pipeline {
            let Some(trains) = stage.trains().filter(|_| !self.is_current(*stage)) else {
                continue;
            };
            if let Some(weights) = &self.recipe.backbone(trains.part).weights {
                fetch::file(weights)?;
            }
        }
        Ok(())
    }
}

fn trains(stage: Stage) -> Result<Trains> {
    stage.trains().with_context(|| {
        format!(
            "{} trains no network: this is a bug in weakseg, please report it",
            stage.name()
        )
    })
}
