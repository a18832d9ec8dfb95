//! Training the segmentation network with messages between related images: CIAN (Fan et al. 2020).

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result, anyhow, ensure};
use burn::tensor::Tensor;
use rand::SeedableRng;
use rand::seq::index::sample as choose;
use rand_chacha::ChaCha8Rng;

use crate::data::decode::write_mask;
use crate::data::{Batch, Labels, Order};
use crate::inference::{Predictor, each};
use crate::losses::cross_entropy::{IGNORE, cross_entropy};
use crate::maps::{Saliency, read_maps, seeds};
use crate::models::Head;
use crate::models::heads::cross_affinity::CrossAffinity;
use crate::pipeline::{Context, Definition, OWN_LABELS, Product, Purpose, Stage, Task, Trains, label_in};
use crate::recipe::{CompletionClasses, Part, Retraining};
use crate::train::{self, Fit, Losses, sample};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "cross",
    folder: "cross",
    command: Some("CIAN's stage 3: train the segmentation network with messages between related images"),
    product: Product::Network(Trains {
        part: Part::Cross,
        purpose: Purpose::Masks,
        head,
        salt: 6,
        keeps_labels: true,
    }),
    follows_objective: false,
    cost: |on| {
        let settings = &on.recipe.cross;
        2.5 * settings.rounds.max(1) as f64 * on.training(&settings.training)
    },
    work: train,
});

/// In a batch: a pixel of the image without a label, as [`IGNORE`] is one of the padding.
const UNLABELLED: u8 = 254;
/// Added to the seed in round r: this, and r times the next. Rounds differ, so that the second does not see the same
/// crops in the same pairs.
const ROUNDS_SALT: u64 = 7;
const ROUND_SALT: u64 = 100;

fn head(task: &Task) -> Head {
    Head::CrossAffinity { classes: task.classes }
}

/// The folder of round `round`, from 1: that of the stage for the last one.
fn folder(context: &Context, round: usize) -> PathBuf {
    let folder = context.folder(STAGE);
    match round < context.recipe.cross.rounds {
        true => folder.join(format!("round{round}")),
        false => folder,
    }
}

/// The folder with the labels that round `round` learns from; for the last one, where [`Context::file`] is.
fn labels_of(context: &Context, round: usize) -> PathBuf {
    folder(context, round).join(OWN_LABELS)
}

fn label_file(context: &Context, round: usize, image: &str) -> PathBuf {
    label_in(&labels_of(context, round), image)
}

/// Trains it, first on the seeds, then as often as the recipe says on its own predictions of the training images'
/// classes, refined by a CRF.
fn train(context: &Context) -> Result<()> {
    ensure!(
        context.classes() < usize::from(UNLABELLED),
        "CIAN takes at most {} classes, and the data set has {}: merge some",
        UNLABELLED - 1,
        context.classes()
    );
    for round in 1..=context.recipe.cross.rounds {
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
    let maps = context.class_maps(STAGE)?;
    let split = &context.data.train;
    let settings = &context.recipe.seeds;
    let saliency = Saliency::open(settings.saliency.as_deref(), split)?;
    let thresholds = settings.thresholds();
    let masked = masked(context)?;
    let missing = context.missing(maps, |image| label_file(context, 1, image));
    each(&context.device, &missing, "seeds", |i| {
        let name = split.name(i);
        let truth = match masked.get(i) {
            Some(true) => split.mask(i)?,
            _ => None,
        };
        let label = match truth {
            Some(mask) => mask,
            None => {
                let maps = read_maps(&context.file(maps, name))?;
                let map = saliency.map(name, split.size(i)?)?;
                seeds(&maps, map.as_ref(), &thresholds)
            }
        };
        write_mask(label_file(context, 1, name), &label)
    })
}

/// Which training images have their mask for a seed (Table 4).
fn masked(context: &Context) -> Result<Vec<bool>> {
    let split = &context.data.train;
    let share = context.recipe.cross.truth;
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
    let mut rng = ChaCha8Rng::seed_from_u64(context.seed_of(STAGE)?);
    for place in choose(&mut rng, having.len(), wanted) {
        masked[having[place]] = true;
    }
    Ok(masked)
}

/// Writes what the network of the round before predicts of the training images, of their own classes or of any.
fn write_predictions(context: &Context, round: usize) -> Result<()> {
    let predictor = Predictor {
        trained: context.trained_in(STAGE, &folder(context, round - 1))?,
        settings: &context.recipe.predict,
    };
    let file = |image: &str| label_file(context, round, image);
    let crf = context.recipe.label_crf(Part::Cross);
    match context.recipe.cross.retrain {
        Retraining::Afresh => predictor.write_labels(&context.data.train, context.data.train.indices(), crf, file),
        Retraining::Released => predictor.write_masks(&context.data.train, context.data.train.indices(), crf, file),
    }
}

fn fit(context: &Context, round: usize) -> Result<()> {
    let network = context.network(STAGE)?;
    let settings = &context.recipe.cross;
    let classes = context.classes();
    let (split, read) = context.labels_in(&labels_of(context, round))?;
    let labels: Labels = Arc::new(move |i| {
        let mut mask = read(i)?;
        for value in mask.iter_mut().filter(|v| i32::from(**v) == IGNORE) {
            *value = UNLABELLED;
        }
        Ok(mask)
    });
    let salt = ROUNDS_SALT + ROUND_SALT * round as u64;
    let seed = context.seed.wrapping_add(salt);
    let initial = match settings.retrain {
        Retraining::Released if round > 1 => {
            let before = folder(context, round - 1);
            context.trained_in(STAGE, &before)?.parameters
        }
        _ => context.warm_start(STAGE)?,
    };
    let group = settings.references + 1;
    let mut training = settings.training.clone();
    training.batch -= training.batch % group;
    let total = train::steps(&training, split.len());
    let completion_from = train::step_after(settings.completion_after, total);
    let pairs = context.pairs(&split, settings.pairs, seed)?;
    Fit {
        label: STAGE.name(),
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
        let out = network.cross_affinity()?.scores(forward, images, group, settings.merge);
        let completion = match batch.step < completion_from {
            true => 0.0,
            false => settings.completion,
        };
        let named = settings.completion_classes;
        losses(out, batch, classes, group, (completion, named))
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
    (completion, named): (f32, CompletionClasses),
) -> Result<Losses> {
    let [_, _, h, w] = out.own.dims();
    let labels = sample(train::labels(batch)?, batch.size, [h, w]);
    let best = out.cross.clone().inner().argmax(1).into_data();
    let best: Vec<i32> = best
        .convert::<i32>()
        .try_to_vec()
        .map_err(|e| anyhow!("the device gave no labels: {e:?}"))?;
    let completed = match named {
        CompletionClasses::Tags => complete(&best, &labels, &batch.tags, classes),
        CompletionClasses::Seeds => complete_within(&best, &labels, h * w),
    };
    let share = completed.iter().filter(|l| **l != IGNORE).count() as f32 / completed.len().max(1) as f32;
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

/// The online labels of the released code: the class of the best score where the image's seeds have it too, background
/// included, 255 elsewhere and in the padding. `best` and `labels` `[B, h, w]`, an image of `pixels` pixels.
fn complete_within(best: &[i32], labels: &[i32], pixels: usize) -> Vec<i32> {
    let images = best.chunks(pixels.max(1)).zip(labels.chunks(pixels.max(1)));
    images
        .flat_map(|(best, labels)| {
            let complete = |(best, label): (&i32, &i32)| match *label != IGNORE && labels.contains(best) {
                true => *best,
                false => IGNORE,
            };
            best.iter().zip(labels).map(complete).collect::<Vec<i32>>()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completion_may_keep_to_the_classes_of_the_seeds() {
        // Two images of four pixels; the first has seeds of 0 and 2, the second of 1 alone.
        let best = [0, 1, 2, 2, 0, 1, 2, 1];
        let labels = [0, 254, 254, 2, 254, 1, 254, 255];
        let expected = [0, 255, 2, 2, 255, 1, 255, 255];
        assert_eq!(complete_within(&best, &labels, 4), expected);
    }

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
