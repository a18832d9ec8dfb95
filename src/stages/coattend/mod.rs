//! Training the classifier with co-attention and contrastive co-attention on pairs of images that share a class: MCIS
//! (Sun et al. 2020, Sec. 3.1).

pub mod localize;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use burn::tensor::{Tensor, TensorData};

use super::{Context, Stage, classify};
use crate::data::{Order, Pairs, Relation, Split};
use crate::losses::multilabel_soft_margin::{
    multilabel_soft_margin, multilabel_soft_margin_where_any,
};
use crate::models::heads::co_attention::{Form, Origin, Pairing, pair};
use crate::models::{Head, Network};
use crate::recipe::Classifier;
use crate::train::{self, Fit};

/// The classifier's head, as recipe and data set ask for it.
fn form(context: &Context) -> Form {
    let split = &context.data.train;
    Form {
        shared: context.recipe.mcis.classifier == Classifier::Shared,
        origins: split.indices().any(|i| split.is_extra(i)),
    }
}

/// The classifier with co-attention for this data set.
pub fn network(context: &Context) -> Result<Network> {
    context.network(Head::CoAttention {
        classes: context.classes(),
        form: form(context),
    })
}

/// The index of a split's pairs; classes with one image are counted and named.
pub fn pairs(context: &Context, split: &Split, relation: Relation, seed: u64) -> Result<Pairs> {
    let pairs = Pairs::new(split.indices().map(|i| split.tags(i)), relation, seed)?;
    if relation == Relation::Common && !pairs.single().is_empty() {
        let names: Vec<&str> = pairs
            .single()
            .iter()
            .filter_map(|c| context.data.classes.get(*c).map(String::as_str))
            .collect();
        log::warn!(
            "classes with a single image, which is then its own partner: {} ({})",
            names.len(),
            names.join(", ")
        );
    }
    Ok(pairs)
}

/// Trains it, starting from the basic classifier.
pub fn train(context: &Context) -> Result<()> {
    let network = network(context)?;
    let settings = &context.recipe.mcis;
    let classes = context.classes();
    let split = &context.data.train;
    let seed = context.seed.wrapping_add(5);
    let initial = classify::warm_start(context, &network, 5)?;
    let mut training = settings.training.clone();
    training.batch -= training.batch % 2;
    let total = train::steps(&training, split.len());
    let contrastive_from = train::step_after(settings.contrastive_after, total);
    let form = form(context);
    let backbone = network.backbone;
    Fit {
        label: "coattend",
        folder: &context.folder(Stage::Coattend),
        network,
        initial,
        training: &training,
        input: context.input(&network)?,
        split,
        classes,
        labels: None,
        order: Order::Groups {
            pairs: Arc::new(pairs(context, split, Relation::Common, seed)?),
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
            multilabel_soft_margin_where_any(m.exclusive, &targets.exclusive[0])
                + multilabel_soft_margin_where_any(n.exclusive, &targets.exclusive[1])
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
