//! Training the classifier that class activation maps are read from.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::{Device, Tensor, TensorData};

use super::{Context, Stage};
use crate::data::Order;
use crate::losses::multilabel_soft_margin::multilabel_soft_margin;
use crate::models::params::{Parameters, Value};
use crate::models::{Head, Network};
use crate::recipe::{Part, Training};
use crate::train::{self, Fit};
use crate::weights::{self, fetch};

/// Steps of [`trial`].
const TRIAL: usize = 4;

/// The classifier for this data set.
pub fn network(context: &Context) -> Result<Network> {
    context.network(Head::Cam {
        classes: context.classes(),
    })
}

/// Fresh parameters of `network`, with the pretrained weights that the recipe names for it.
///
/// # Errors
/// Where it names none and the network cannot do without, and where they cannot be had, read or do not fit.
fn initial(context: &Context, network: &Network, salt: u64) -> Result<Parameters> {
    let backbone = context.recipe.backbone(Part::of(network.head));
    ensure!(
        backbone.weights.is_some() || network.backbone.from_scratch(),
        "{} has levels that stay as pretrained: give weights with --set backbone.weights=FILE, or the NAME of published ones (`weakseg weights list`)",
        network.backbone.name()
    );
    let mut parameters = network.init(context.seed.wrapping_add(salt), &context.device)?;
    if let Some(weights) = &backbone.weights {
        let path = &fetch::file(weights)?;
        let pretrained = pretrained(network, &parameters, path, &context.device)?;
        let taken = train::warm_start(&mut parameters, &pretrained);
        ensure!(
            taken > 0,
            "{}: no parameter fits {}: give weights of this backbone",
            path.display(),
            network.architecture()
        );
        log::info!(
            "{taken} of {} parameters from {}",
            parameters.0.len(),
            path.display()
        );
    }
    Ok(parameters)
}

/// As [`initial`], and of a run that has a classifier on the same backbone, what it has learnt: the tags have taught it
/// about the classes already.
///
/// # Errors
/// As [`initial`], and where the classifier's checkpoint is damaged.
pub fn warm_start(context: &Context, network: &Network, salt: u64) -> Result<Parameters> {
    let mut parameters = initial(context, network, salt)?;
    let checkpoint = context.folder(Stage::Classify).join(train::CHECKPOINT);
    let recipe = &context.recipe;
    let is_like = recipe
        .backbone(Part::of(network.head))
        .is_like(recipe.backbone(Part::Cam));
    if is_like && checkpoint.exists() {
        let classifier = train::load(&self::network(context)?, &checkpoint, &context.device)?;
        train::warm_start(&mut parameters, &classifier);
    }
    Ok(parameters)
}

/// What a weight file, of this program or published, holds of `parameters`.
fn pretrained(
    network: &Network,
    parameters: &Parameters,
    path: &Path,
    device: &Device,
) -> Result<Parameters> {
    let checkpoint = weights::Checkpoint::open(path)?;
    let declared: Vec<_> = network
        .declare()
        .0
        .into_iter()
        .map(|p| (p.name, p.shape))
        .collect();
    let plan = weights::load::plan(&checkpoint, network.published_name(), &declared)?;
    let mut found = Parameters::default();
    for value in plan.values(&checkpoint) {
        let (name, values) = value?;
        if let Some(declared) = parameters.0.get(name) {
            let mut p = declared.clone();
            p.value = Value::from_slice(&values, &p.value.shape(), device)?;
            found.0.insert(name.to_string(), p);
        }
    }
    Ok(found)
}

/// Trains it on the tags.
pub fn train(context: &Context) -> Result<()> {
    let folder = context.folder(Stage::Classify);
    fit(
        context,
        "classify",
        &folder,
        &context.recipe.classify,
        || (),
    )
}

/// Seconds that a training of it takes per image, from a few steps whose result is thrown away.
///
/// # Errors
/// As [`train`].
pub fn trial(context: &Context) -> Result<f64> {
    let folder = tempfile::tempdir().context("no place for temporary files")?;
    let mut training = context.recipe.classify.clone();
    let images = context.data.train.len().max(1);
    training.least_steps = 0;
    training.epochs = TRIAL as f32 * training.batch as f32 / images as f32;
    let starts = RefCell::new(Vec::new());
    fit(context, "trial", folder.path(), &training, || {
        starts.borrow_mut().push(Instant::now());
    })?;
    // The first step compiles and tunes the kernels.
    let starts = starts.into_inner();
    let seconds = match starts[..] {
        [_, second, .., last] => last.duration_since(second).as_secs_f64(),
        _ => 0.0,
    };
    let steps = starts.len().saturating_sub(2).max(1);
    Ok(seconds / (steps * training.batch.max(1)) as f64)
}

fn fit(
    context: &Context,
    label: &str,
    folder: &Path,
    training: &Training,
    step: impl Fn(),
) -> Result<()> {
    let network = network(context)?;
    let classes = context.classes();
    Fit {
        label,
        folder,
        network,
        initial: initial(context, &network, 1)?,
        training,
        input: context.input(&network)?,
        split: &context.data.train,
        classes,
        labels: None,
        order: Order::Epochs,
        seed: context.seed.wrapping_add(1),
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        step();
        let device = images.device();
        let targets = TensorData::new(batch.tags.clone(), [batch.indices.len(), classes]);
        let targets = Tensor::from_data(targets, &device);
        let logits = network.classifier()?.logits(forward, images);
        Ok(vec![(
            "classification",
            multilabel_soft_margin(logits, targets),
        )])
    })
    .context("training the classifier")?;
    Ok(())
}
