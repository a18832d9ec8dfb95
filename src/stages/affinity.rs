//! Training AffinityNet on the labels that the class activation maps are sure of (Sec. 3.2).

use std::sync::Arc;

use anyhow::{Context as _, Result, bail};

use super::{Context, Stage, affinity_labels, classify};
use crate::data::Order;
use crate::data::decode::read_mask;
use crate::kernels::Distance;
use crate::losses::affinity::{EPSILON, affinity_loss};
use crate::models::{Head, Network};
use crate::train::Fit;

/// AffinityNet for this recipe.
pub fn network(context: &Context) -> Result<Network> {
    context.network(Head::Affinity {
        channels: context.recipe.affinity.channels,
    })
}

/// How the recipe measures feature distances.
pub fn distance(context: &Context) -> Distance {
    context.recipe.affinity.distance
}

/// Trains it, starting from the classifier's backbone.
pub fn train(context: &Context) -> Result<()> {
    let network = network(context)?;
    let settings = &context.recipe.affinity;
    let initial = classify::warm_start(context, &network, 2)?;
    let split = context.data.train.clone();
    affinity_labels::write(context)?;
    let folder = context.folder(Stage::Affinity).join("labels");
    let (names, classes) = (split.clone(), context.classes());
    let labels = Arc::new(move |i: usize| {
        let size = names.size(i)?;
        read_mask(folder.join(format!("{}.png", names.name(i))), classes, size)
    });
    let (radius, distance) = (settings.radius as usize, distance(context));
    Fit {
        label: "affinity",
        folder: &context.folder(Stage::Affinity),
        network,
        initial,
        training: &settings.training,
        input: context.input(&network)?,
        split: &split,
        classes: context.classes(),
        labels: Some(labels),
        order: Order::Epochs,
        seed: context.seed.wrapping_add(2),
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let features = network.affinity_net()?.features(forward, images);
        let [_, _, h, w] = features.dims();
        let Some(labels) = &batch.labels else {
            bail!("a batch without labels: this is a bug in weakseg, please report it");
        };
        let labels = sample(labels, batch.size, [h, w]);
        let loss = affinity_loss(features, &labels, radius, distance, EPSILON);
        Ok(vec![
            ("affinity", loss.total),
            ("foreground", loss.foreground),
            ("background", loss.background),
            ("negative", loss.negative),
        ])
    })
    .context("training AffinityNet")?;
    Ok(())
}

/// Maps `[B, S, S]`, of labels or anything else, at the resolution of a feature map `[B, h, w]`: the value at the
/// centre of every cell.
pub fn sample<T: Copy>(maps: &[T], size: usize, [h, w]: [usize; 2]) -> Vec<T> {
    let centre = |i: usize, n: usize| ((2 * i + 1) * size / (2 * n)).min(size - 1);
    let mut out = Vec::with_capacity(maps.len() / (size * size).max(1) * h * w);
    for map in maps.chunks_exact((size * size).max(1)) {
        for y in 0..h {
            for x in 0..w {
                out.push(map[centre(y, h) * size + centre(x, w)]);
            }
        }
    }
    out
}
