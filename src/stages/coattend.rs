//! Training the classifier with co-attention and contrastive co-attention on pairs of images that share a class: MCIS
//! (Sun et al. 2020, Sec. 3.1).

use std::sync::Arc;

use anyhow::{Context as _, Result};
use burn::tensor::{Tensor, TensorData};

use crate::data::{Order, Relation};
use crate::losses::multilabel_soft_margin::{multilabel_soft_margin, multilabel_soft_margin_where_any};
use crate::models::Head;
use crate::models::heads::co_attention::{Form, Origin, Pairing, pair};
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Task, Trains};
use crate::recipe::{Classifier, Part};
use crate::train::{self, Fit};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "coattend",
    folder: "coattend",
    command: Some("MCIS's stage 2: train the classifier with co-attention, on pairs of images that share a class"),
    product: Product::Network(Trains {
        part: Part::Coattend,
        purpose: Purpose::ClassMaps,
        head,
        salt: 5,
        keeps_labels: false,
    }),
    follows_objective: false,
    cost: |on| 1.5 * on.training(&on.recipe.coattend.training),
    work: train,
});

/// Its classifiers and affinities, as recipe and data set ask for them.
fn form(task: &Task) -> Form {
    Form {
        shared: task.recipe.coattend.classifier == Classifier::Shared,
        origins: task.has_extra,
    }
}

fn head(task: &Task) -> Head {
    Head::CoAttention {
        classes: task.classes,
        form: form(task),
    }
}

/// Trains it, starting from the basic classifier.
fn train(context: &Context) -> Result<()> {
    let network = context.network(STAGE)?;
    let settings = &context.recipe.coattend;
    let classes = context.classes();
    let split = &context.data.train;
    let seed = context.seed_of(STAGE)?;
    let initial = context.warm_start(STAGE)?;
    let mut training = settings.training.clone();
    training.batch -= training.batch % 2;
    let total = train::steps(&training, split.len());
    let contrastive_from = train::step_after(settings.contrastive_after, total);
    let form = form(&context.task());
    let backbone = network.backbone;
    Fit {
        label: STAGE.name(),
        folder: &context.folder(STAGE),
        network,
        initial,
        training: &training,
        input: context.input(&network)?,
        split,
        classes,
        labels: None,
        order: Order::Groups {
            pairs: Arc::new(context.pairs(split, Relation::Common, seed)?),
            size: 2,
        },
        seed,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let device = images.device();
        let half = batch.indices.len() / 2;
        let features = network.levels(forward, images).high;
        let [m, n] = [0, half].map(|start| features.clone().narrow(0, start, half));
        let origins = (0..half).map(|i| {
            let [m, n] = [i, i + half].map(|place| split.is_extra(batch.indices[place]));
            Origin::of([m, n])
        });
        let pairing = Pairing {
            form,
            temperature: settings.temperature,
            origins: origins.collect(),
        };
        let [m, n] = pair(forward, backbone, m, n, &pairing);
        let targets = PairTags::new(&batch.tags, half * classes);
        let upload = |tags: &[f32]| {
            let data = TensorData::new(tags.to_vec(), [half, classes]);
            Tensor::<2>::from_data(data, &device)
        };
        // The sum over both images of either one's mean over the pairs (Eq. 1, 5 and 9).
        let classification = multilabel_soft_margin(m.logits, upload(&targets.own[0]))
            + multilabel_soft_margin(n.logits, upload(&targets.own[1]));
        let common = multilabel_soft_margin_where_any(m.common, &targets.common)
            + multilabel_soft_margin_where_any(n.common, &targets.common);
        let contrastive = if batch.step < contrastive_from {
            // The column is there from the first step.
            Tensor::zeros([1], &device)
        } else {
            let [of_m, of_n] = &targets.exclusive;
            if settings.empty_sets {
                multilabel_soft_margin(m.exclusive, upload(of_m)) + multilabel_soft_margin(n.exclusive, upload(of_n))
            } else {
                multilabel_soft_margin_where_any(m.exclusive, of_m)
                    + multilabel_soft_margin_where_any(n.exclusive, of_n)
            }
        };
        let mut total = classification.clone();
        if settings.common > 0.0 {
            total = total + common.clone() * settings.common;
        }
        if settings.contrastive > 0.0 {
            total = total + contrastive.clone() * settings.contrastive;
        }
        Ok(vec![
            ("total", total),
            ("classification", classification),
            ("common", common),
            ("contrastive", contrastive),
        ])
    })
    .context("training the classifier with co-attention")?;
    Ok(())
}

/// The tags of a batch of pairs `[P, C]` each, 0 or 1.
struct PairTags {
    /// Of either image.
    own: [Vec<f32>; 2],
    /// l_m ∩ l_n
    common: Vec<f32>,
    /// l_m \ l_n and l_n \ l_m
    exclusive: [Vec<f32>; 2],
}

impl PairTags {
    /// From the tags of all first images, then of all second ones, `size` values each.
    fn new(tags: &[f32], size: usize) -> PairTags {
        let (m, n) = tags.split_at(size.min(tags.len()));
        let zip = |a: &[f32], b: &[f32], f: fn(f32, f32) -> f32| -> Vec<f32> {
            a.iter().zip(b).map(|(a, b)| f(*a, *b)).collect()
        };
        let common = zip(m, n, |m, n| m * n);
        PairTags {
            own: [m.to_vec(), n.to_vec()],
            exclusive: [m, n].map(|own| zip(own, &common, |own, shared| own - shared)),
            common,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_have_what_they_share_and_what_they_do_not() {
        let tags = PairTags::new(&[1.0, 1.0, 0.0, 0.0, 1.0, 1.0], 3);
        assert_eq!(tags.common, [0.0, 1.0, 0.0]);
        assert_eq!(tags.exclusive, [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]]);
        assert_eq!(tags.own[1], [0.0, 1.0, 1.0]);
    }
}
