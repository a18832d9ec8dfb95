//! Training the classifier with co-attention and contrastive co-attention on pairs of images that share a class: MCIS
//! (Sun et al. 2020, Sec. 3.1).

use std::sync::Arc;

use anyhow::{Context as _, Result};
use burn::tensor::{Tensor, TensorData};

use crate::data::{Draw, Order, Relation};
use crate::losses::multilabel_soft_margin::{multilabel_soft_margin, multilabel_soft_margin_where_any};
use crate::models::forward::Forward;
use crate::models::heads::co_attention::{Form, Origin, Pairing, Side, pair};
use crate::models::heads::self_pairs;
use crate::models::{Head, Network};
use crate::pipeline::{Context, Definition, Product, Purpose, Stage, Task, Trains};
use crate::recipe::{Classifier, Part, Queries};
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
    cost: |on| {
        let settings = &on.recipe.coattend;
        // The views of the first image of every pair, for two images.
        let views = if settings.self_pairs {
            self_pairs::COST / 2.0
        } else {
            0.0
        };
        (1.5 + views) * on.training(&settings.training)
    },
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
    let draw = match settings.queries {
        Queries::Balanced => Draw::Balanced,
        Queries::Once => Draw::First,
    };
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
            pairs: Arc::new(context.pairs(split, (Relation::Common, draw), seed)?),
            size: 2,
        },
        seed,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let device = images.device();
        let half = batch.indices.len() / 2;
        let is_extra = |place: usize| split.is_extra(batch.indices[place]);
        let pairing = |partner: usize| Pairing {
            form,
            temperature: settings.temperature,
            origins: (0..half)
                .map(|i| Origin::of([is_extra(i), is_extra(i + partner)]))
                .collect(),
        };
        let views = match settings.self_pairs {
            true => Some(images.clone().narrow(0, 0, half)),
            false => None,
        };
        let features = network.levels(forward, images).high;
        let [m, n] = [0, half].map(|start| features.clone().narrow(0, start, half));
        let targets = PairTags::new(&batch.tags, half * classes);
        let upload = |tags: &[f32]| {
            let data = TensorData::new(tags.to_vec(), [half, classes]);
            Tensor::<2>::from_data(data, &device)
        };
        let selves = views.map(|images| {
            let sides = with_itself(network, forward, m.clone(), &images, &pairing(0));
            self_loss(sides, settings.common, upload(&targets.own[0]))
        });
        let [m, n] = pair(forward, network.backbone, m, n, &pairing(half));
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
        let mut losses = vec![
            ("total", total),
            ("classification", classification),
            ("common", common),
            ("contrastive", contrastive),
        ];
        if let Some(selves) = selves {
            losses[0].1 = losses[0].1.clone() + selves.clone();
            losses.push(("self_pairs", selves));
        }
        Ok(losses)
    })
    .context("training the classifier with co-attention")?;
    Ok(())
}

/// Pairs of images, whose features are `own` `[P, D, h, w]`, with their mirrored, reduced and enlarged selves.
fn with_itself(
    network: &Network,
    forward: &Forward,
    own: Tensor<4>,
    images: &Tensor<4>,
    pairing: &Pairing,
) -> Vec<[Side; 2]> {
    let [reduced, enlarged] = self_pairs::scaled(images);
    let views = [self_pairs::mirrored(images), reduced, enlarged];
    let pairs = views.map(|view| {
        let view = network.levels(forward, view).high;
        pair(forward, network.backbone, own.clone(), view, pairing)
    });
    pairs.into()
}

/// The losses of pairs of an image with itself, which shares all of its `tags` `[P, C]` (released `train.py`): of either
/// side, what it shows (Eq. 1) and, `common` times, what both share (Eq. 5).
fn self_loss(pairs: Vec<[Side; 2]>, common: f32, tags: Tensor<2>) -> Tensor<1> {
    let loss = |logits: Tensor<2>| multilabel_soft_margin(logits, tags.clone());
    let mut sum = Tensor::zeros([1], &tags.device());
    for side in pairs.into_iter().flatten() {
        sum = sum + loss(side.logits);
        if common > 0.0 {
            sum = sum + loss(side.common) * common;
        }
    }
    sum
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
    use burn::tensor::Device;

    #[test]
    fn an_image_shares_all_of_its_tags_with_itself() {
        let device = Device::flex();
        let logits = |values: [f32; 2]| Tensor::<2>::from_data([values], &device);
        let map = || Tensor::<4>::zeros([1, 2, 1, 1], &device);
        let side = |own, common| Side {
            features: map(),
            map: map(),
            logits: logits(own),
            coattentive: map(),
            common_map: map(),
            common: logits(common),
            exclusive_map: map(),
            exclusive: logits([7.0, 7.0]),
        };
        let pairs = || vec![[side([0.5, -1.0], [2.0, 0.0]), side([1.0, 1.0], [-3.0, 0.1])]];
        // log(1 + exp(-x)) for the tag, the same of -x for the class that is none; the mean over classes.
        let of = |x: [f32; 2]| ((1.0 + (-x[0]).exp()).ln() + (1.0 + x[1].exp()).ln()) / 2.0;
        let own = of([0.5, -1.0]) + of([1.0, 1.0]);
        let common = of([2.0, 0.0]) + of([-3.0, 0.1]);
        for factor in [0.0, 1.0, 0.5] {
            let loss = self_loss(pairs(), factor, logits([1.0, 0.0])).into_scalar::<f32>();
            assert!((loss - own - factor * common).abs() < 1e-5, "{factor}: {loss}");
        }
    }

    #[test]
    fn pairs_have_what_they_share_and_what_they_do_not() {
        let tags = PairTags::new(&[1.0, 1.0, 0.0, 0.0, 1.0, 1.0], 3);
        assert_eq!(tags.common, [0.0, 1.0, 0.0]);
        assert_eq!(tags.exclusive, [vec![1.0, 0.0, 0.0], vec![0.0, 0.0, 1.0]]);
        assert_eq!(tags.own[1], [0.0, 1.0, 1.0]);
    }
}
