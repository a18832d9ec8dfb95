//! Training the segmentation network on the pseudo-labels (Sec. 4.3), or on true masks where the method makes no
//! labels.

use anyhow::{Context as _, Result};

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
    Head::Segmentation { classes: task.classes }
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
        let scores = network.segmenter()?.scores(forward, images);
        let [_, _, h, w] = scores.dims();
        let labels = sample(labels(batch)?, batch.size, [h, w]);
        Ok(vec![("cross_entropy", cross_entropy(scores, &labels))])
    })
    .context("training the segmentation network")?;
    Ok(())
}
