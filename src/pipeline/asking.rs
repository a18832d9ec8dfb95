//! What stages ask their context for: what the stages before them have left, and where their own files go.
//!
//! `asking` is the stage that asks. It is told apart by what it needs and where it stands in the method's list, never
//! by which other stages the method has.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result, ensure};

use super::cost::Load;
use super::stage::{Context, Product, Purpose, Stage, last_network};
use super::task::Task;
use crate::data::decode::read_mask;
use crate::data::{Draw, Labels, Pairs, Relation, Split};
use crate::inference::Trained;
use crate::models::Network;
use crate::recipe::{NetworkInput, Part};

/// Where label maps are in the folder of a stage that makes its own.
pub const OWN_LABELS: &str = "labels";

/// What pseudo-labels are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LabelSource {
    /// Class maps, without a background's score.
    ClassMaps(Stage),
    /// Scores of classes and background.
    Scores(Stage),
    /// A network for masks, which belongs to this part of the recipe.
    Network(Stage, Part),
}

impl Context {
    /// A stage's folder.
    pub fn folder(&self, stage: Stage) -> PathBuf {
        self.run.folder(stage.files())
    }

    /// The file of one image that a stage leaves; of a stage that trains a network, the labels of the image that it has
    /// made itself and learnt from.
    pub fn file(&self, stage: Stage, image: &str) -> PathBuf {
        let folder = self.folder(stage);
        match stage.product() {
            Product::Network(_) => label_in(&folder.join(OWN_LABELS), image),
            Product::ClassMaps | Product::Scores => folder.join(format!("{image}.npz")),
            Product::Labels | Product::Masks => label_in(&folder, image),
        }
    }

    /// The mask of one image as the network gave it to a stage that predicts, before the CRF.
    pub fn network_mask(&self, stage: Stage, image: &str) -> PathBuf {
        label_in(&self.folder(stage).join("network"), image)
    }

    /// The training images that `stage` has left a file of.
    pub fn left_by(&self, stage: Stage) -> Vec<usize> {
        let split = &self.data.train;
        let exists = |i: &usize| self.file(stage, split.name(*i)).exists();
        split.indices().filter(exists).collect()
    }

    /// The training images that the class maps or scores of `stage` are there of, but no `file` by the image's name.
    pub fn missing(&self, stage: Stage, file: impl Fn(&str) -> PathBuf) -> Vec<usize> {
        let mut images = self.left_by(stage);
        images.retain(|&i| !file(self.data.train.name(i)).exists());
        images
    }

    /// The stage whose class maps `asking` works on: the last before it that leaves some.
    ///
    /// # Errors
    /// Where there is none, which is a mistake in the method's list.
    pub fn class_maps(&self, asking: Stage) -> Result<Stage> {
        let before = self.before(asking).iter().rev();
        let mut found = before.filter(|s| matches!(s.product(), Product::ClassMaps));
        found.next().copied().with_context(|| lacks(asking, "class maps"))
    }

    /// The network that `asking` works with: the last one for `purpose` that is trained before it.
    ///
    /// # Errors
    /// Where there is none, which is a mistake in the method's list, and where its checkpoint is missing or damaged.
    pub fn trained(&self, asking: Stage, purpose: Purpose) -> Result<Trained> {
        self.trained_by(self.network_before(asking, purpose)?)
    }

    /// The stage that trains the last network for `purpose` before `asking`.
    ///
    /// # Errors
    /// Where there is none, which is a mistake in the method's list.
    pub fn network_before(&self, asking: Stage, purpose: Purpose) -> Result<Stage> {
        last_network(self.before(asking), purpose).with_context(|| lacks(asking, "a trained network"))
    }

    /// The network that `stage` has trained.
    ///
    /// # Errors
    /// Where it trains none, and where its checkpoint is missing or damaged.
    pub fn trained_by(&self, stage: Stage) -> Result<Trained> {
        self.trained_in(stage, &self.folder(stage))
    }

    /// The network that `stage` has trained in a `folder` within its own.
    ///
    /// # Errors
    /// As [`Self::trained_by`].
    pub fn trained_in(&self, stage: Stage, folder: &Path) -> Result<Trained> {
        Trained::load(self.network(stage)?, folder, &self.recipe, &self.device)
    }

    /// What `asking` makes pseudo-labels of: the last before it of what labels can be made of.
    ///
    /// # Errors
    /// Where there is none, which is a mistake in the method's list.
    pub fn label_source(&self, asking: Stage) -> Result<LabelSource> {
        let source = |stage: &Stage| match stage.product() {
            Product::ClassMaps => Some(LabelSource::ClassMaps(*stage)),
            Product::Scores => Some(LabelSource::Scores(*stage)),
            Product::Network(trains) if trains.purpose == Purpose::Masks => {
                Some(LabelSource::Network(*stage, trains.part))
            }
            _ => None,
        };
        let mut found = self.before(asking).iter().rev().filter_map(source);
        found.next().with_context(|| lacks(asking, "maps"))
    }

    /// The training images with labels, and these: pseudo-labels where a stage before `asking` makes some, and the data
    /// set's own masks, the fully supervised bound, where none does.
    ///
    /// # Errors
    /// Where no image has a label.
    pub fn labels(&self, asking: Stage) -> Result<(Split, Labels)> {
        let is_label = |s: &&Stage| matches!(s.product(), Product::Labels);
        match self.before(asking).iter().rev().find(is_label) {
            Some(stage) => self.labels_in(&self.folder(*stage)),
            None => self.masks(),
        }
    }

    /// The training images whose labels are in `folder`, and these.
    ///
    /// # Errors
    /// Where there are none.
    pub fn labels_in(&self, folder: &Path) -> Result<(Split, Labels)> {
        let split = &self.data.train;
        let is_labelled = |i: &usize| label_in(folder, split.name(*i)).exists();
        let labelled: Vec<usize> = split.indices().filter(is_labelled).collect();
        ensure!(!labelled.is_empty(), "no labels in {}", folder.display());
        let split = split.select(&labelled);
        let labels = self.read_labels(folder, &split);
        Ok((split, labels))
    }

    /// Reads the labels of the images of `split` from a stage's own folder of labels.
    pub fn own_labels(&self, stage: Stage, split: &Split) -> Labels {
        self.read_labels(&self.folder(stage).join(OWN_LABELS), split)
    }

    fn read_labels(&self, folder: &Path, split: &Split) -> Labels {
        let (folder, names, classes) = (folder.to_owned(), split.clone(), self.classes());
        Arc::new(move |i| {
            let size = names.size(i)?;
            read_mask(label_in(&folder, names.name(i)), classes, size)
        })
    }

    fn masks(&self) -> Result<(Split, Labels)> {
        let split = &self.data.train;
        let masked: Vec<usize> = split.indices().filter(|&i| split.has_mask(i)).collect();
        ensure!(
            !masked.is_empty(),
            "full supervision needs masks, and the training images have none"
        );
        let split = split.select(&masked);
        let masks = split.clone();
        let labels: Labels = Arc::new(move |i| {
            masks
                .mask(i)?
                .with_context(|| format!("{}: its mask has gone", masks.source(i)))
        });
        Ok((split, labels))
    }

    /// The images that the pipeline predicts: the validation split, or the training split where there is none.
    pub fn predicted_split(&self) -> &Split {
        if self.data.val.is_empty() {
            &self.data.train
        } else {
            &self.data.val
        }
    }

    /// The index of a split's pairs, by what makes them and how they are drawn; classes with one image are counted and
    /// named in a warning.
    ///
    /// # Errors
    /// Where no image has a tag.
    pub fn pairs(&self, split: &Split, (relation, draw): (Relation, Draw), seed: u64) -> Result<Pairs> {
        let pairs = Pairs::new(split.indices().map(|i| split.tags(i)), relation, seed)?.drawn(draw);
        if relation == Relation::Common && !pairs.single().is_empty() {
            let names: Vec<&str> = pairs
                .single()
                .iter()
                .filter_map(|c| self.data.classes.get(*c).map(String::as_str))
                .collect();
            log::warn!(
                "classes with a single image, which is then its own partner: {} ({})",
                names.len(),
                names.join(", ")
            );
        }
        Ok(pairs)
    }

    /// What decides how the run's networks are built.
    pub fn task(&self) -> Task<'_> {
        let split = &self.data.train;
        Task {
            recipe: &self.recipe,
            classes: self.classes(),
            has_extra: split.indices().any(|i| split.is_extra(i)),
        }
    }

    /// What there is to work on.
    ///
    /// # Errors
    /// As [`Self::input`].
    pub fn load(&self) -> Result<Load> {
        Load::of(&self.data.train, &self.recipe)
    }

    /// How images go into `network`.
    ///
    /// # Errors
    /// Where no weights of its backbone are known, which no checked recipe has.
    pub fn input(&self, network: &Network) -> Result<NetworkInput> {
        self.recipe.network_input(network.backbone.kind())
    }

    /// Number of classes, without background.
    pub fn classes(&self) -> usize {
        self.data.classes.len()
    }

    /// The last of the method's stages whose product `is_wanted`.
    pub fn last(&self, is_wanted: impl Fn(Product) -> bool) -> Option<Stage> {
        let mut found = self.pipeline.iter().filter(|s| is_wanted(s.product()));
        found.next_back().copied()
    }

    /// The stages before `asking`.
    pub(super) fn before(&self, asking: Stage) -> &'static [Stage] {
        let end = self.pipeline.iter().position(|s| *s == asking);
        &self.pipeline[..end.unwrap_or(self.pipeline.len())]
    }
}

/// The label file of an image in a folder of labels.
pub fn label_in(folder: &Path, image: &str) -> PathBuf {
    folder.join(format!("{image}.png"))
}

fn lacks(asking: Stage, what: &str) -> String {
    format!(
        "no stage before {} gives it {what}: this is a bug in weakseg, please report it",
        asking.name()
    )
}
