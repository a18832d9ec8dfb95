//! Training the segmentation network on the pseudo-labels (Sec. 4.3).

use std::sync::Arc;

use anyhow::{Context as _, Result, bail, ensure};

use super::affinity::sample;
use super::{Context, Stage, classify};
use crate::data::decode::read_mask;
use crate::data::{Labels, Order, Split};
use crate::losses::cross_entropy::cross_entropy;
use crate::models::{Head, Network};
use crate::train::Fit;

/// The segmentation network for this data set.
pub fn network(context: &Context) -> Result<Network> {
    context.network(Head::Segmentation {
        classes: context.classes(),
    })
}

/// Trains it on `labels/`.
pub fn train(context: &Context) -> Result<()> {
    let split = context.data.train.clone();
    let classes = context.classes();
    let labelled: Vec<usize> = (0..split.len())
        .filter(|&i| context.file(Stage::Label, split.name(i), "png").exists())
        .collect();
    ensure!(
        !labelled.is_empty(),
        "no labels in {}",
        context.folder(Stage::Label).display()
    );
    let split = split.select(&labelled);
    let folder = context.folder(Stage::Label);
    let names = split.clone();
    let labels: Labels = Arc::new(move |i| {
        let size = names.size(i)?;
        read_mask(folder.join(format!("{}.png", names.name(i))), classes, size)
    });
    fit(context, &split, labels)
}

/// Trains it on the data set's own masks: the fully supervised bound.
pub fn train_supervised(context: &Context) -> Result<()> {
    let split = context.data.train.clone();
    let masked: Vec<usize> = (0..split.len()).filter(|&i| split.has_mask(i)).collect();
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
    fit(context, &split, labels)
}

fn fit(context: &Context, split: &Split, labels: Labels) -> Result<()> {
    let network = network(context)?;
    let folder = context.folder(Stage::Segment);
    let initial = classify::warm_start(context, &network, 3)?;
    Fit {
        label: "segment",
        folder: &folder,
        network,
        initial,
        training: &context.recipe.segment,
        input: context.input(&network)?,
        split,
        classes: context.classes(),
        labels: Some(labels),
        order: Order::Epochs,
        seed: context.seed.wrapping_add(3),
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let scores = network.segmenter()?.scores(forward, images);
        let [_, _, h, w] = scores.dims();
        let Some(labels) = &batch.labels else {
            bail!("a batch without labels: this is a bug in weakseg, please report it");
        };
        let labels = sample(labels, batch.size, [h, w]);
        Ok(vec![("cross_entropy", cross_entropy(scores, &labels))])
    })
    .context("training the segmentation network")?;
    Ok(())
}
