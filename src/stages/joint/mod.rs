//! Training classification and segmentation in one network on labels that it finds itself: RRM (Zhang et al. 2020)
//! and AALR (Zhang et al. 2021).

pub mod dense;
pub mod mining;
mod reliable;

use std::sync::Arc;

use anyhow::{Context as _, Result};
use burn::tensor::activation::{sigmoid, softmax};
use burn::tensor::{Tensor, TensorData};
use image::GrayImage;

use self::dense::energy;
use self::mining::{Crops, Mined, Miner};
use crate::data::{Batch, Labels, Order};
use crate::device::download;
use crate::losses::adaptive_affinity::{AdaptiveAffinity, adaptive_affinity};
use crate::losses::cross_entropy::balanced_cross_entropy;
use crate::losses::label_reassign::{LabelReassign, label_reassign};
use crate::losses::multilabel_soft_margin::multilabel_soft_margin;
use crate::models::resize::resize;
use crate::models::{self, Head, Network};
use crate::pipeline::{Context, Definition, Objective, Product, Purpose, Stage, Task, Trains, Workload};
use crate::recipe::{Joint, Part};
use crate::train::{self, Fit, Losses, sample};

/// The stage.
pub const STAGE: Stage = Stage::new(&Definition {
    name: "joint",
    folder: "joint",
    command: Some("RRM's and AALR's stage 2: train classification and segmentation in one network"),
    product: Product::Network(Trains {
        part: Part::Joint,
        purpose: Purpose::Masks,
        head,
        salt: 4,
        keeps_labels: false,
    }),
    follows_objective: true,
    // Maps at every scale, a CRF on each image, and the lattice of the loss.
    cost: |on| {
        let settings = &on.recipe.joint;
        (2.0 + Workload::passes_in_step(&settings.scales)) * on.training(&settings.training)
    },
    work: train,
});

fn head(task: &Task) -> Head {
    Head::Joint { classes: task.classes }
}

/// Trains it, starting from the classifier: the phase in which classification is learnt alone.
fn train(context: &Context) -> Result<()> {
    let network = context.network(STAGE)?;
    let settings = &context.recipe.joint;
    let classes = context.classes();
    let split = &context.data.train;
    let initial = context.warm_start(STAGE)?;
    // Label maps that say nothing but where a crop shows the image: the loader fills its padding with 255.
    let sizes = split.clone();
    let inside: Labels = Arc::new(move |i| {
        let (w, h) = sizes.size(i)?;
        Ok(GrayImage::new(w, h))
    });
    let total = train::steps(&settings.training, split.len());
    let reassigned = settings.reassign.epochs / settings.training.epochs * total as f32;
    let step = Step {
        settings,
        miner: Miner {
            settings,
            crf: settings.crf.build(),
            device: context.device.clone(),
            classes,
        },
        energy_from: train::step_after(settings.energy.after, total),
        affinity_from: train::step_after(settings.affinity.after, total),
        reassign_from: total.saturating_sub(reassigned.ceil() as usize),
        context,
    };
    Fit {
        label: STAGE.name(),
        folder: &context.folder(STAGE),
        network,
        initial,
        training: &settings.training,
        input: context.input(&network)?,
        split,
        classes,
        labels: Some(inside),
        order: Order::Epochs,
        seed: context.seed_of(STAGE)?,
        device: &context.device,
    }
    .run(|network, forward, images, batch| {
        let out = network.joint()?.outputs(forward, images.clone());
        step.losses(network, &forward.constants(), out, images, batch)
    })
    .context("training the joint network")?;
    Ok(())
}

/// What a training step computes its losses with.
struct Step<'a> {
    settings: &'a Joint,
    miner: Miner<'a>,
    /// First step with the dense energy loss.
    energy_from: usize,
    /// First step with the affinity loss.
    affinity_from: usize,
    /// First step with the label reassign loss.
    reassign_from: usize,
    context: &'a Context,
}

impl Step<'_> {
    fn losses(
        &self,
        network: &Network,
        constants: &models::params::Parameters,
        out: models::Joint,
        images: Tensor<4>,
        batch: &Batch,
    ) -> Result<Losses> {
        let (device, size) = (images.device(), [batch.size; 2]);
        let inside = train::labels(batch)?;
        let crops = Crops {
            batch,
            images: batch.crops(),
            inside: inside.iter().map(|l| *l == 0).collect(),
        };
        let targets = TensorData::new(batch.tags.clone(), [batch.indices.len(), self.miner.classes]);
        let probability = download(sigmoid(out.logits.clone().inner()))?;
        let classification = multilabel_soft_margin(out.logits, Tensor::from_data(targets, &device));
        let mined = self
            .miner
            .mine(network, constants, images.inner(), &crops, &probability)?;

        let scores = resize(out.scores.clone(), size);
        let pixels = balanced_cross_entropy(scores.clone(), &mined.labels);
        let mut total = classification.clone() + pixels.total;
        let mut parts = vec![
            ("classification", classification),
            ("background", pixels.background),
            ("foreground", pixels.foreground),
        ];
        let objective = self.context.objective;
        if objective == Objective::Energy && self.settings.energy.weight > 0.0 {
            // The column is there from the first step.
            let energy = if batch.step < self.energy_from {
                Tensor::zeros([1], &device)
            } else {
                energy(&self.settings.energy, scores, &mined, &crops)?
            };
            total = total + energy.clone() * self.settings.energy.weight;
            parts.push(("dense_energy", energy));
        }
        if objective == Objective::Affinity && self.settings.affinity.weight > 0.0 {
            let affinity = if batch.step < self.affinity_from {
                Tensor::zeros([1], &device)
            } else {
                self.affinity(out.scores.clone(), &mined, batch.size)
            };
            total = total + affinity.clone() * self.settings.affinity.weight;
            parts.push(("adaptive_affinity", affinity));
        }
        if objective == Objective::Affinity && self.settings.reassign.weight > 0.0 {
            let reassign = if batch.step < self.reassign_from {
                Tensor::zeros([1], &device)
            } else {
                self.reassign(out.embedding, out.scores, &mined, batch.size)
            };
            total = total + reassign.clone() * self.settings.reassign.weight;
            parts.push(("label_reassign", reassign));
        }
        parts.insert(0, ("total", total));
        let labelled = mined.labels.iter().filter(|l| **l != 255).count();
        let share = labelled as f32 / mined.labels.len().max(1) as f32;
        parts.push(("labelled_share", Tensor::from_data([share], &device)));
        Ok(parts)
    }

    fn affinity(&self, scores: Tensor<4>, mined: &Mined, size: usize) -> Tensor<1> {
        let [_, _, h, w] = scores.dims();
        let settings = &self.settings.affinity;
        let settings = AdaptiveAffinity {
            dilations: settings.kernels(),
            margin: settings.margin,
            weight: settings.pair,
            ..AdaptiveAffinity::default()
        };
        let labels = sample(&mined.labels, size, [h, w]);
        let confidence = sample(&mined.confidence, size, [h, w]);
        adaptive_affinity(scores, &labels, &confidence, &settings).total
    }

    /// β of Eq. 13 is the network's own probability.
    fn reassign(&self, embedding: Tensor<4>, scores: Tensor<4>, mined: &Mined, size: usize) -> Tensor<1> {
        let [_, classes, h, w] = scores.dims();
        let settings = LabelReassign {
            margin: self.settings.reassign.margin,
            gamma: self.settings.reassign.gamma,
        };
        let confidence = softmax(scores.detach(), 1).max_dim(1);
        let labels = sample(&mined.labels, size, [h, w]);
        label_reassign(embedding, &labels, confidence, classes, settings)
    }
}
