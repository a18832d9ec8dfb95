//! Training the segmentation network with messages between related images: CIAN (Fan et al. 2020).

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand::seq::index::sample as choose;
use rand_chacha::ChaCha8Rng;

use super::affinity::sample;
use super::predict::Predictor;
use super::refine::each;
use super::seeds::{Saliency, seeds};
use super::{Context, Stage, classify, coattend, label};
use crate::data::decode::{read_mask, write_mask};
use crate::data::{Batch, Labels, Order};
use crate::losses::cross_entropy::{IGNORE, cross_entropy};
use crate::models::heads::cross_affinity::CrossAffinity;
use crate::models::{Head, Network};
use crate::run::files::read_maps;
use crate::train::{self, Fit, Losses};

/// In a batch: a pixel of the image without a label, as [`IGNORE`] is one of the padding.
const UNLABELLED: u8 = 254;

/// The segmentation network for this data set.
pub fn network(context: &Context) -> Result<Network> {
    context.network(Head::CrossAffinity {
        classes: context.classes(),
    })
}

/// The folder of round `round`, from 1: that of the stage for the last one.
fn folder(context: &Context, round: usize) -> PathBuf {
    let folder = context.folder(Stage::Cross);
    match round < context.recipe.cian.rounds {
        true => folder.join(format!("round{round}")),
        false => folder,
    }
}

/// The label file of one image that round `round` learns from.
pub fn label_file(context: &Context, round: usize, image: &str) -> PathBuf {
    let labels = folder(context, round).join("labels");
    labels.join(format!("{image}.png"))
}

/// Trains it, first on the seeds, then as often as the recipe says on its own predictions of the training images'
/// classes, refined by a CRF.
pub fn train(context: &Context) -> Result<()> {
    ensure!(
        context.classes() < usize::from(UNLABELLED),
        "CIAN takes at most {} classes, and the data set has {}: merge some",
        UNLABELLED - 1,
        context.classes()
    );
    for round in 1..=context.recipe.cian.rounds {
        match round {
            1 => write_seeds(context)?,
            _ => write_predictions(context, round)?,
        }
        fit(context, round)?;
    }
    Ok(())
}

/// Writes the seeds of every training image that has class activation maps. Images whose file exists are kept.
fn write_seeds(context: &Context) -> Result<()> {
    let split = &context.data.train;
    let settings = &context.recipe.seeds;
    let saliency = Saliency::open(context)?;
    let masked = masked(context)?;
    let missing: Vec<usize> = split
        .indices()
        .filter(|&i| context.file(Stage::Cam, split.name(i), "npz").exists())
        .filter(|&i| !label_file(context, 1, split.name(i)).exists())
        .collect();
    each(context, &missing, "seeds", |i| {
        let name = split.name(i);
        let truth = match masked.get(i) {
            Some(true) => split.mask(i)?,
            _ => None,
        };
        let label = match truth {
            Some(mask) => mask,
            None => {
                let maps = read_maps(&context.file(Stage::Cam, name, "npz"))?;
                let map = saliency.map(name, split.size(i)?)?;
                seeds(&maps, map.as_ref(), settings)
            }
        };
        write_mask(label_file(context, 1, name), &label)
    })
}

/// Which training images have their mask for a seed (Table 4).
fn masked(context: &Context) -> Result<Vec<bool>> {
    let split = &context.data.train;
    let share = context.recipe.cian.truth;
    let mut masked = vec![false; split.len()];
    if share <= 0.0 {
        return Ok(masked);
    }
    let having: Vec<usize> = split.indices().filter(|i| split.has_mask(*i)).collect();
    let wanted = (share * split.len() as f32).round() as usize;
    ensure!(
        wanted <= having.len(),
        "cian.truth={share} takes the masks of {wanted} training images, and {} have one: lower it",
        having.len()
    );
    let mut rng = ChaCha8Rng::seed_from_u64(context.seed.wrapping_add(6));
    for place in choose(&mut rng, having.len(), wanted) {
        masked[having[place]] = true;
    }
    Ok(masked)
}

/// Writes what the network of the round before predicts of the training images' own classes.
fn write_predictions(context: &Context, round: usize) -> Result<()> {
    let network = network(context)?;
    let checkpoint = folder(context, round - 1).join(train::CHECKPOINT);
    let predictor = Predictor {
        parameters: train::load(&network, &checkpoint, &context.device)?,
        network,
        input: context.input(&network)?,
        settings: &context.recipe.predict,
        device: context.device.clone(),
    };
    let file = |image: &str| label_file(context, round, image);
    label::predicted(context, &predictor, &context.recipe.cian.crf, file)
}

fn fit(context: &Context, round: usize) -> Result<()> {
    let network = network(context)?;
    let settings = &context.recipe.cian;
    let split = &context.data.train;
    let labelled: Vec<usize> = split
        .indices()
        .filter(|&i| label_file(context, round, split.name(i)).exists())
        .collect();
    ensure!(
        !labelled.is_empty(),
        "no labels in {}",
        folder(context, round).join("labels").display()
    );
    let split = split.select(&labelled);
    let labels = folder(context, round).join("labels");
    let (names, classes) = (split.clone(), context.classes());
    let labels: Labels = Arc::new(move |i| {
        let size = names.size(i)?;
        let path = labels.join(format!("{}.png", names.name(i)));
        let mut mask = read_mask(path, classes, size)?;
        for value in mask.iter_mut().filter(|v| i32::from(**v) == IGNORE) {
            *value = UNLABELLED;
        }
        Ok(mask)
    });
    // Rounds differ in their seeds, so that the second does not see the same crops in the same pairs.
    let seed = context.seed.wrapping_add(7 + 100 * round as u64);
    let initial = classify::warm_start(context, &network, 6)?;
    let group = settings.references + 1;
    let mut training = settings.training.clone();
    training.batch -= training.batch % group;
    let total = train::steps(&training, split.len());
    let completion_from = train::step_after(settings.completion_after, total);
    let pairs = coattend::pairs(context, &split, settings.pairs, seed)?;
    Fit {
        label: "cross",
        folder: &folder(context, round),
        network,
        initial,
        training: &training,
        input: context.input(&network)?,
        split: &split,
        classes,
        labels: Some(labels),
        order: Order::Groups {
            pairs: Arc::new(pairs),
            size: group,
        },
        seed,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let out = network
            .cross_affinity()?
            .scores(forward, images, group, settings.merge);
        let completion = match batch.step < completion_from {
            true => 0.0,
            false => settings.completion,
        };
        losses(out, batch, classes, group, completion)
    })
    .context("training the segmentation network with cross-image affinity")?;
    Ok(())
}

/// Cross entropy and completion losses on the scores with messages from related images and from the image itself
/// (Eq. 6–9); with groups of one, which have no related images, on the latter.
fn losses(
    out: CrossAffinity,
    batch: &Batch,
    classes: usize,
    group: usize,
    completion: f32,
) -> Result<Losses> {
    let [_, _, h, w] = out.own.dims();
    let Some(labels) = &batch.labels else {
        bail!("a batch without labels: this is a bug in weakseg, please report it");
    };
    let labels = sample(labels, batch.size, [h, w]);
    let best = out.cross.clone().inner().argmax(1).into_data();
    let best: Vec<i32> = best
        .convert::<i32>()
        .try_to_vec()
        .map_err(|e| anyhow!("the device gave no labels: {e:?}"))?;
    let completed = complete(&best, &labels, &batch.tags, classes);
    let share =
        completed.iter().filter(|l| **l != IGNORE).count() as f32 / completed.len().max(1) as f32;
    let device = out.own.device();
    // 254 is no class, and so not looked at.
    let own = cross_entropy(out.own.clone(), &labels);
    let own_completion = cross_entropy(out.own, &completed);
    let [cross, cross_completion] = if group > 1 {
        [
            cross_entropy(out.cross.clone(), &labels),
            cross_entropy(out.cross, &completed),
        ]
    } else {
        [Tensor::zeros([1], &device), Tensor::zeros([1], &device)]
    };
    let mut total = own.clone() + cross.clone();
    if completion > 0.0 {
        total = total + (own_completion.clone() + cross_completion.clone()) * completion;
    }
    Ok(vec![
        ("total", total),
        ("cross_entropy_self", own),
        ("cross_entropy_cross", cross),
        ("completion_self", own_completion),
        ("completion_cross", cross_completion),
        ("completed_share", Tensor::from_data([share], &device)),
    ])
}

/// The online labels (Eq. 7): the class of the best score where it is the background or one of the image's tags, 255
/// elsewhere and in the padding. `best` and `labels` `[B, h, w]`, `tags` `[B, C]`.
fn complete(best: &[i32], labels: &[i32], tags: &[f32], classes: usize) -> Vec<i32> {
    let pixels = (best.len() * classes) / tags.len().max(1);
    let is_own = |image: usize, label: i32| match usize::try_from(label - 1) {
        Ok(class) => tags.get(image * classes + class).is_some_and(|t| *t > 0.0),
        Err(_) => label == 0,
    };
    best.iter()
        .zip(labels)
        .enumerate()
        .map(|(i, (best, label))| {
            if *label != IGNORE && is_own(i / pixels.max(1), *best) {
                *best
            } else {
                IGNORE
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_keeps_to_the_tags_and_the_image() {
        // Two images of four pixels, classes 1 and 2; the second is tagged with 2 alone.
        let best = [0, 1, 2, 1, 0, 1, 2, 2];
        let labels = [0, 254, 255, 2, 255, 0, 254, 254];
        let tags = [1.0, 1.0, 0.0, 1.0];
        let expected = [0, 1, 255, 1, 255, 255, 2, 2];
        assert_eq!(complete(&best, &labels, &tags, 2), expected);
    }
}
