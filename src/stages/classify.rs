//! Training the classifier that class activation maps are read from.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use burn::tensor::{Tensor, TensorData};

use crate::data::Order;
use crate::losses::multilabel_soft_margin::multilabel_soft_margin;
use crate::models::Head;
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Task, Trains};
use crate::recipe::{Part, Training};
use crate::train::Fit;

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "classify",
    folder: "classify",
    command: Some("Stage 1: train the classifier on the tags"),
    product: Product::Network(Trains {
        part: Part::Classify,
        purpose: Purpose::ClassMaps,
        head,
        salt: 1,
        keeps_labels: false,
    }),
    follows_objective: false,
    cost: |on| on.training(&on.recipe.classify),
    work: train,
});

/// Steps of a trial.
const TRIAL: usize = 4;
/// Seconds from which on a recorded time is a better estimate than a trial.
const TELLING: f64 = 60.0;

fn head(task: &Task) -> Head {
    Head::Cam { classes: task.classes }
}

fn train(context: &Context) -> Result<()> {
    let folder = context.folder(STAGE);
    fit(context, STAGE.name(), &folder, &context.recipe.classify, || ())
}

/// Seconds that the classifier takes to learn from an image: as it did in this run, or does in a few steps.
///
/// # Errors
/// Where it cannot be trained for a moment to see how fast it is.
pub fn seconds_per_image(context: &Context) -> Result<f64> {
    let recorded = context.run.stages();
    let recorded = recorded.iter().find(|stage| {
        // Where it was continued, the time is that of its last part.
        stage.name == STAGE.name() && stage.finished && stage.seconds > TELLING
    });
    match recorded {
        Some(stage) => {
            let cost = STAGE.cost(&context.recipe, context.load()?);
            Ok(stage.seconds / cost.max(1.0))
        }
        None => trial(context),
    }
}

/// Seconds that a training takes per image, from a few steps whose result is thrown away.
fn trial(context: &Context) -> Result<f64> {
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

fn fit(context: &Context, label: &str, folder: &Path, training: &Training, step: impl Fn()) -> Result<()> {
    let network = context.network(STAGE)?;
    let classes = context.classes();
    ensure!(
        !training.is_of_head(context.data.train.len()) || context.recipe.backbone(Part::Classify).weights.is_some(),
        "the classifier's head alone would learn, on features of {} that nothing has taught: give weights with --set backbone.weights=FILE, or set classify.head_alone=false and classify.head_alone_below=0",
        network.backbone.name()
    );
    Fit {
        label,
        folder,
        network,
        initial: context.pretrained(STAGE)?,
        training,
        input: context.input(&network)?,
        split: &context.data.train,
        classes,
        labels: None,
        order: Order::Epochs,
        seed: context.seed_of(STAGE)?,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        step();
        let device = images.device();
        let targets = TensorData::new(batch.tags.clone(), [batch.indices.len(), classes]);
        let targets = Tensor::from_data(targets, &device);
        let logits = network.classifier()?.logits(forward, images);
        Ok(vec![("classification", multilabel_soft_margin(logits, targets))])
    })
    .context("training the classifier")?;
    Ok(())
}
