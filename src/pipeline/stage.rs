//! What a stage is, and the context that it works in: in one file, because each names the other.

use std::fmt;
use std::hash::{Hash, Hasher};

use anyhow::Result;
use burn::tensor::Device;

use super::cost::{Load, Workload};
use super::task::Task;
use crate::data::Data;
use crate::models::Head;
use crate::recipe::{Part, Recipe};
use crate::run::{RunDir, StageFiles};

/// What every stage works with.
pub struct Context {
    /// Hyper-parameters.
    pub recipe: Recipe,
    /// Images, tags, and masks where there are any.
    pub data: Data,
    /// Where files go.
    pub run: RunDir,
    /// Where to compute, without autodiff.
    pub device: Device,
    /// The method's stages.
    pub pipeline: &'static [Stage],
    /// What `--seed` said.
    pub seed: u64,
    /// Which losses a joint network learns from.
    pub objective: Objective,
    /// A line that names the device, for the report.
    pub device_line: String,
}

/// Which losses join classification and cross entropy in a joint network.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Objective {
    /// Dense energy: RRM.
    #[default]
    Energy,
    /// Adaptive affinity, and label reassign in the last epochs: AALR.
    Affinity,
}

/// A stage: an entry of the table in [`crate::stages`]. Two are equal where they have one name.
#[derive(Clone, Copy)]
pub struct Stage(&'static Definition);

/// All that is to be known of a stage.
pub struct Definition {
    /// In commands and `run.json`.
    pub name: &'static str,
    /// Its folder in a run directory.
    pub folder: &'static str,
    /// What its command does, one line for `weakseg --help`; `None` where the program has another command that does it.
    pub command: Option<&'static str>,
    /// What it leaves for other stages, and so which files it writes.
    pub product: Product,
    /// Whether it does something else under another [`Objective`].
    pub follows_objective: bool,
    /// The work that it is, about, in images that the classifier learns from.
    pub cost: fn(&Workload) -> f64,
    /// Does it. Called again after a kill, it goes on from the files that are there.
    pub work: fn(&Context) -> Result<()>,
}

/// What a stage leaves. Files of an image are called after it.
#[derive(Clone, Copy)]
pub enum Product {
    /// A trained network: `checkpoint.safetensors` and `metrics.csv`.
    Network(Trains),
    /// `.npz` of every training image: a map in [0, 1] per tagged class.
    ClassMaps,
    /// `.npz` of every training image: scores in [0, 1] of the background and the tagged classes.
    Scores,
    /// `.png` of every training image: labels that a network may learn from.
    Labels,
    /// `.png` of every image of the predicted split: masks.
    Masks,
}

/// The network that a stage trains.
#[derive(Clone, Copy)]
pub struct Trains {
    /// The part of the recipe that it belongs to.
    pub part: Part,
    /// What it is for.
    pub purpose: Purpose,
    /// Its head.
    pub head: fn(&Task) -> Head,
    /// Added to the run's seed: networks of one run draw different numbers, so no two stages have the same.
    pub salt: u64,
    /// Whether the stage makes the labels that it learns from, and leaves them in `labels/` of its folder.
    pub keeps_labels: bool,
}

/// What a trained network is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Class activation maps.
    ClassMaps,
    /// Affinities of neighbouring pixels.
    Affinities,
    /// Segmentation.
    Masks,
}

impl Stage {
    /// The stage that `definition` defines.
    pub const fn new(definition: &'static Definition) -> Stage {
        Stage(definition)
    }

    /// The stage's name in commands and `run.json`.
    pub fn name(self) -> &'static str {
        self.0.name
    }

    /// What its command does, one line; `None` where it has no command of its own.
    pub fn command(self) -> Option<&'static str> {
        self.0.command
    }

    /// What it leaves.
    pub fn product(self) -> Product {
        self.0.product
    }

    /// The network that it trains, if any.
    pub fn trains(self) -> Option<Trains> {
        match self.0.product {
            Product::Network(trains) => Some(trains),
            _ => None,
        }
    }

    /// Whether it trains a network for `purpose`.
    pub fn trains_for(self, purpose: Purpose) -> bool {
        self.trains().is_some_and(|t| t.purpose == purpose)
    }

    /// Whether it does something else under another [`Objective`].
    pub fn follows_objective(self) -> bool {
        self.0.follows_objective
    }

    /// Its files in a run directory.
    pub fn files(self) -> StageFiles {
        StageFiles {
            name: self.0.name,
            folder: self.0.folder,
            extensions: self.0.product.extensions(),
        }
    }

    /// The work that it is with these hyper-parameters on a `load`, about, in images that the classifier learns from.
    pub fn cost(self, recipe: &Recipe, load: Load) -> f64 {
        (self.0.cost)(&Workload { recipe, load })
    }

    pub(super) fn work(self, context: &Context) -> Result<()> {
        (self.0.work)(context)
    }
}

impl Product {
    /// Extensions of its files.
    fn extensions(self) -> &'static [&'static str] {
        match self {
            Product::Network(trains) if trains.keeps_labels => &["safetensors", "csv", "png"],
            Product::Network(_) => &["safetensors", "csv"],
            Product::ClassMaps | Product::Scores => &["npz"],
            Product::Labels | Product::Masks => &["png"],
        }
    }
}

impl PartialEq for Stage {
    fn eq(&self, other: &Stage) -> bool {
        self.0.name == other.0.name
    }
}

impl Eq for Stage {}

impl Hash for Stage {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name.hash(state);
    }
}

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.name)
    }
}

/// The last of `stages` that trains a network for `purpose`.
pub fn last_network(stages: &[Stage], purpose: Purpose) -> Option<Stage> {
    let mut trained = stages.iter().filter(|s| s.trains_for(purpose));
    trained.next_back().copied()
}
