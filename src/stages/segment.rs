//! Training the segmentation network on the pseudo-labels (Sec. 4.3), or on true masks where the method makes no
//! labels.

use anyhow::{Context as _, Result};
use burn::tensor::Tensor;

use crate::data::Order;
use crate::losses::cross_entropy::cross_entropy;
use crate::models::Head;
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Task, Trains};
use crate::recipe::Part;
use crate::train::{Fit, labels, sample};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "segment",
    folder: "segment",
    command: Some("Stage 6: train the segmentation network on the pseudo-labels"),
    product: Product::Network(Trains {
        part: Part::Segment,
        purpose: Purpose::Masks,
        head,
        salt: 3,
        keeps_labels: false,
    }),
    follows_objective: false,
    cost: |on| 2.0 * on.training(&on.recipe.segment),
    work: train,
});

fn head(task: &Task) -> Head {
    task.recipe.segment_head(task.classes)
}

fn train(context: &Context) -> Result<()> {
    let (split, masks) = context.labels(STAGE)?;
    let network = context.network(STAGE)?;
    let initial = context.warm_start(STAGE)?;
    Fit {
        label: STAGE.name(),
        folder: &context.folder(STAGE),
        network,
        initial,
        training: &context.recipe.segment,
        input: context.input(&network)?,
        split: &split,
        classes: context.classes(),
        labels: Some(masks),
        order: Order::Epochs,
        seed: context.seed_of(STAGE)?,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let scores = network.segmenter()?.all_scores(forward, images);
        let labels = labels(batch)?;
        let loss = |scores: Tensor<4>| {
            let [_, _, h, w] = scores.dims();
            cross_entropy(scores, &sample(labels, batch.size, [h, w]))
        };
        let fused = loss(scores.fused);
        if scores.parts.is_empty() {
            return Ok(vec![("cross_entropy", fused)]);
        }
        // DeepLab-v2's released train.prototxt: each size's loss counts as much as that of the fused scores.
        let total = scores
            .parts
            .into_iter()
            .map(loss)
            .fold(fused.clone(), |sum, part| sum + part);
        Ok(vec![("total", total), ("cross_entropy", fused)])
    })
    .context("training the segmentation network")?;
    Ok(())
}
