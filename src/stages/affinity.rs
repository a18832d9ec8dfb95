//! Training AffinityNet on the labels that the class activation maps are sure of (Sec. 3.2).

use anyhow::{Context as _, Result};

use crate::data::Order;
use crate::data::decode::write_mask;
use crate::inference::{Refine, each};
use crate::losses::affinity::{EPSILON, affinity_loss};
use crate::maps::{confident, over_cells, read_maps};
use crate::models::Head;
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Task, Trains};
use crate::recipe::{AffinityTotal, Part};
use crate::train::{Fit, labels, sample};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "affinity",
    folder: "affinity",
    command: Some("Stage 3: train AffinityNet on what the maps are sure of"),
    product: Product::Network(Trains {
        part: Part::Affinity,
        purpose: Purpose::Affinities,
        head,
        salt: 2,
        keeps_labels: true,
    }),
    follows_objective: false,
    cost: |on| {
        let training = &on.recipe.affinity.training;
        let is_of_head = training.is_of_head(on.load.images);
        let factor = if is_of_head { 0.8 } else { 1.6 };
        factor * on.training(training)
    },
    work: train,
});

fn head(task: &Task) -> Head {
    Head::Affinity {
        channels: task.recipe.affinity.channels,
    }
}

/// Trains it, starting from the classifier's backbone.
fn train(context: &Context) -> Result<()> {
    let network = context.network(STAGE)?;
    let settings = &context.recipe.affinity;
    let initial = context.warm_start(STAGE)?;
    let split = &context.data.train;
    write_labels(context)?;
    let (radius, distance) = (settings.radius as usize, settings.distance);
    Fit {
        label: STAGE.name(),
        folder: &context.folder(STAGE),
        network,
        initial,
        training: &settings.training,
        input: context.input(&network)?,
        split,
        classes: context.classes(),
        labels: Some(context.own_labels(STAGE, split)),
        order: Order::Epochs,
        seed: context.seed_of(STAGE)?,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let features = network.affinity_net()?.features(forward, images);
        let [_, _, h, w] = features.dims();
        let labels = sample(labels(batch)?, batch.size, [h, w]);
        let loss = affinity_loss(features, &labels, radius, distance, EPSILON);
        let total = match settings.loss {
            AffinityTotal::Paper => loss.total.clone(),
            AffinityTotal::Released => loss.released(),
        };
        Ok(vec![
            ("affinity", total),
            ("foreground", loss.foreground),
            ("background", loss.background),
            ("negative", loss.negative),
        ])
    })
    .context("training AffinityNet")?;
    Ok(())
}

/// Writes a label map, of what the class activation maps are sure of (Sec. 3.2.1), for every image that has some.
/// Images whose file exists are kept.
fn write_labels(context: &Context) -> Result<()> {
    let maps = context.class_maps(STAGE)?;
    let split = &context.data.train;
    let settings = &context.recipe.affinity;
    let missing = context.missing(maps, |image| context.file(STAGE, image));
    let crf = settings.crf.build();
    each(&context.device, split, &missing, "affinity labels", |i| {
        let name = split.name(i);
        let maps = read_maps(&context.file(maps, name))?;
        let refine = Refine::new(crf.as_ref(), || split.image(i), &context.device)?;
        let label = confident(
            &maps,
            settings.alpha_low,
            settings.alpha_high,
            settings.min_foreground,
            |scores| Ok(over_cells(refine.apply(scores)?, settings.cell)),
        )?;
        write_mask(context.file(STAGE, name), &label)
    })
}
